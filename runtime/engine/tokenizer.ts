// Owns the tokenizer packages: text → token ids exactly as the Rust tokenizers give them, cut to the model's limit.
import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Tokenizer as NativeTokenizer } from 'tokenizers';
import { errorText } from '../../common/util/text.ts';
import { EngineStartError } from './contract.ts';
import type { EngineInput } from './contract.ts';
import { createPlainEncode } from './word-pieces.ts';
import type { Frame, IdOf, PlainEncode, TokenizerFile } from './word-pieces.ts';

export interface Tokens {
  readonly ids: Int32Array;
  /** Tokens before the cut; a lower bound for texts too long to be read to their end. */
  readonly untruncated: number;
}

export interface Tokenizer {
  readonly implementation: 'native' | 'javascript';
  encode(text: string): Promise<Tokens>;
  /** Texts, and lists of token ids, which are taken as they are and cut. */
  encodeAll(inputs: readonly EngineInput[]): Promise<Tokens[]>;
}

/** Tokens of a text, or of the beginning of one, with the cut applied. */
type Encode = (text: string) => Promise<Tokens>;

/** Characters looked at first, per token of the limit: four times what English needs. */
const FIRST_LOOK = 16;
/** Characters looked at in all, per token of the limit. */
const MAX_LOOK = 256;
/** Tokens beyond the limit that the part looked at must give: the cut may change the last word of that part. */
const MARGIN = 64;

const isHighSurrogate = (unit: number): boolean => (unit & 0xfc00) === 0xd800;

/** The first `length` units of a text, never half a character. */
const beginning = (text: string, length: number): string =>
  text.slice(0, isHighSurrogate(text.charCodeAt(length - 1)) ? length - 1 : length);

/**
 * Looks at a growing beginning of the text until it gives clearly more tokens than the model takes: what follows can then
 * not change the result, and a megabyte costs no more than a page. Words of thousands of characters are looked at up to
 * `MAX_LOOK`; what is beyond that is ignored.
 */
export function lookingAtBeginning(encode: Encode, maxTokens: number): Encode {
  return async (text) => {
    const last = maxTokens * MAX_LOOK;
    for (let length = maxTokens * FIRST_LOOK; length < text.length; length *= 4) {
      const tokens = await encode(beginning(text, Math.min(length, last)));
      if (tokens.untruncated >= maxTokens + MARGIN || length >= last) return tokens;
    }
    return await encode(text.length > last ? beginning(text, last) : text);
  };
}

/** Token ids as given, cut to the limit; a final special token stays final. */
export function cutTokenList(ids: readonly number[], { maxTokens, finalToken }: CutLimits): Tokens {
  const cut = Int32Array.from(ids.slice(0, maxTokens));
  if (ids.length > maxTokens && finalToken !== undefined && ids.at(-1) === finalToken) cut[maxTokens - 1] = finalToken;
  return { ids: cut, untruncated: ids.length };
}

interface CutLimits {
  readonly maxTokens: number;
  /** Special token that ends every text, when there is one: kept where a list ends with it. */
  readonly finalToken: number | undefined;
}

interface EncoderParts extends CutLimits {
  /** For texts that need no thread: undefined for all others. */
  readonly encodeHere: (text: string) => Tokens | undefined;
  readonly encodeElsewhere: Encode;
}

function encoders(parts: EncoderParts): Pick<Tokenizer, 'encode' | 'encodeAll'> {
  const { encodeHere } = parts;
  const encodeElsewhere = lookingAtBeginning(parts.encodeElsewhere, parts.maxTokens);
  return {
    encode: async (text) => encodeHere(text) ?? (await encodeElsewhere(text)),
    async encodeAll(inputs) {
      const all: Tokens[] = [];
      const elsewhere: Promise<void>[] = [];
      const encodeInto = async (text: string, index: number): Promise<void> => {
        all[index] = await encodeElsewhere(text);
      };
      for (const [index, input] of inputs.entries()) {
        const here = typeof input === 'string' ? encodeHere(input) : cutTokenList(input, parts);
        if (here !== undefined) all[index] = here;
        else if (typeof input === 'string') elsewhere.push(encodeInto(input, index));
      }
      await Promise.all(elsewhere);
      return all;
    },
  };
}

function requireRoom(maxTokens: number, specialTokens: number): void {
  if (maxTokens > specialTokens) return;
  throw new RangeError(`a limit of ${maxTokens} tokens leaves no room beside ${specialTokens} special tokens`);
}

/** Vocabularies of several megabytes are of other kinds, and take long to read. */
const MAX_READ_BYTES = 4_000_000;

async function plainEncodeOf(file: string, frame: Frame, idOf: IdOf): Promise<PlainEncode | undefined> {
  const { size } = await stat(file);
  if (size > MAX_READ_BYTES) return undefined;
  return createPlainEncode(JSON.parse(await readFile(file, 'utf8')) as TokenizerFile, frame, idOf);
}

async function nativeTokenizer(file: string, maxTokens: number): Promise<Tokenizer> {
  const { Tokenizer: Native } = await import('tokenizers');
  const tokenizer: NativeTokenizer = Native.fromFile(file);
  // tokenizer.json carries the settings of some training run: all-MiniLM-L6-v2 would pad to and cut at 128.
  tokenizer.disablePadding();
  tokenizer.disableTruncation();
  const sample = await tokenizer.encode('a');
  const mask = sample.getSpecialTokensMask();
  const prefix = sample.getIds().slice(0, mask.indexOf(0));
  const suffix = sample.getIds().slice(mask.lastIndexOf(0) + 1);
  requireRoom(maxTokens, mask.filter((special) => special === 1).length);
  const encodePlain = await plainEncodeOf(file, { prefix, suffix }, (piece) => tokenizer.tokenToId(piece));
  const cut = (ids: Int32Array): Tokens => {
    if (ids.length <= maxTokens) return { ids, untruncated: ids.length };
    // What comes before the suffix is kept as far as there is room: the Rust tokenizers cut before they add it.
    const kept = ids.slice(0, maxTokens);
    kept.set(suffix, maxTokens - suffix.length);
    return { ids: kept, untruncated: ids.length };
  };
  return {
    implementation: 'native',
    ...encoders({
      encodeHere: (text) => {
        const ids = encodePlain?.(text);
        return ids && cut(ids);
      },
      // Runs on libuv's pool.
      encodeElsewhere: async (text) => cut(new Int32Array((await tokenizer.encode(text)).getIds())),
      maxTokens,
      finalToken: suffix.at(-1),
    }),
  };
}

/** Length of the longest common end of two lists. */
function commonEnd(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < Math.min(a.length, b.length) && a.at(-1 - length) === b.at(-1 - length)) length++;
  return length;
}

/** What is used of `@huggingface/tokenizers`, whose own types name files that TypeScript does not find. */
interface ScriptTokenizers {
  readonly Tokenizer: new (
    file: object,
    settings: object,
  ) => { encode(text: string, options: { readonly add_special_tokens: boolean }): { readonly ids: number[] } };
}

/** Hugging Face's own in JavaScript, for platforms without a native binary. It does not cut, so that is done here. */
async function javascriptTokenizer(folder: string, maxTokens: number): Promise<Tokenizer> {
  const { Tokenizer: Script } = (await import('@huggingface/tokenizers')) as unknown as ScriptTokenizers;
  const read = async (name: string): Promise<object> =>
    JSON.parse(await readFile(join(folder, name), 'utf8')) as object;
  const settings = existsSync(join(folder, 'tokenizer_config.json')) ? await read('tokenizer_config.json') : {};
  const tokenizer = new Script(await read('tokenizer.json'), settings);
  const idsOf = (text: string, add_special_tokens: boolean): number[] =>
    tokenizer.encode(text, { add_special_tokens }).ids;
  const bare = idsOf('a', false);
  const framed = idsOf('a', true);
  // Compared by their ends, because a text may itself begin with the special token's id.
  const other = idsOf('b', true);
  const suffix = framed.slice(framed.length - commonEnd(framed, other));
  const prefix = framed.slice(0, framed.length - suffix.length - bare.length);
  const room = maxTokens - prefix.length - suffix.length;
  requireRoom(maxTokens, maxTokens - room);
  const encode: Encode = (text) => {
    const ids = idsOf(text, false);
    const kept = [...prefix, ...ids.slice(0, room), ...suffix];
    return Promise.resolve({ ids: Int32Array.from(kept), untruncated: kept.length + Math.max(0, ids.length - room) });
  };
  const finalToken = suffix.at(-1);
  return {
    implementation: 'javascript',
    ...encoders({ encodeHere: () => undefined, encodeElsewhere: encode, maxTokens, finalToken }),
  };
}

const nativeIsLoadable = (): Promise<boolean> =>
  import('tokenizers').then(
    () => true,
    () => false,
  );

export interface TokenizerOptions {
  /** Folder of the model's own files. */
  readonly folder: string;
  /** Longest result, special tokens included. */
  readonly maxTokens: number;
  /** Default: native where it can be. */
  readonly implementation?: 'native' | 'javascript';
}

export async function loadTokenizer({ folder, maxTokens, implementation }: TokenizerOptions): Promise<Tokenizer> {
  const file = join(folder, 'tokenizer.json');
  try {
    const native = implementation ? implementation === 'native' : existsSync(file) && (await nativeIsLoadable());
    return await (native ? nativeTokenizer(file, maxTokens) : javascriptTokenizer(folder, maxTokens));
  } catch (error) {
    throw new EngineStartError('TokenizerUnusable', `The tokenizer of ${folder} cannot be used: ${errorText(error)}`, {
      cause: error,
    });
  }
}
