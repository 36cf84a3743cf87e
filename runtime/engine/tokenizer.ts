// Owns the tokenizer packages: text → token ids exactly as the Rust tokenizers give them, cut to the model's limit.
import { existsSync } from 'node:fs';
import { open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import pLimit from 'p-limit';
import type { Tokenizer as NativeTokenizer } from 'tokenizers';
import { errorText } from '../../common/util/text.ts';
import { isModelError } from '../../hub/files.ts';
import { EngineStartError } from './contract.ts';
import type { TokenIds } from '../../common/openai/request.ts';
import type { EngineInput } from './contract.ts';
import { readTokenizerFiles } from '../model/tokenizer-files.ts';
import type { ReadText, TokenizerFiles as Overruled } from '../model/tokenizer-files.ts';
import { lookingAtBeginning, oneLargeAtATime, partOf } from './long-texts.ts';
import type { CutAt, Encode, Tokens } from './long-texts.ts';
import { createPlainEncode } from './word-pieces.ts';
import type { Frame, IdOf, PlainEncode, TokenizerFile } from './word-pieces.ts';

export interface Tokenizer {
  readonly implementation: 'native' | 'javascript';
  /** `cutAt` is what the tokenizer's own settings say where none is given. */
  encode(text: string, cutAt?: CutAt): Promise<Tokens>;
  /** Texts, and lists of token ids, which are taken as they are and cut. */
  encodeAll(inputs: readonly EngineInput[], cutAt?: CutAt): Promise<Tokens[]>;
  /** Tokens that a prompt takes at the beginning of a text: as sentence-transformers counts them, without a special token at its end. */
  promptTokens(prompt: string): Promise<number>;
}

/** Token ids as given, cut to the limit; a special token at the end that is lost stays there. */
export function cutTokenList(ids: TokenIds, limits: CutLimits, cutAt: CutAt = 'end'): Tokens {
  const { maxTokens, firstToken, finalToken } = limits;
  if (ids.length <= maxTokens) return { ids: Int32Array.from(ids), untruncated: ids.length };
  const cut = Int32Array.from(cutAt === 'end' ? ids.slice(0, maxTokens) : ids.slice(-maxTokens));
  if (cutAt === 'end' && finalToken !== undefined && ids.at(-1) === finalToken) cut[maxTokens - 1] = finalToken;
  if (cutAt === 'start' && firstToken !== undefined && ids[0] === firstToken) cut[0] = firstToken;
  return { ids: cut, untruncated: ids.length };
}

interface CutLimits {
  readonly maxTokens: number;
  /** Special token that ends every text, when there is one: kept where a list ends with it. */
  readonly finalToken: number | undefined;
  /** Likewise, of the one that begins every text. */
  readonly firstToken?: number | undefined;
}

interface EncoderParts extends CutLimits {
  /** For texts that need no thread: undefined for all others. */
  readonly encodeHere: (text: string, cutAt: CutAt) => Tokens | undefined;
  readonly encodeElsewhere: Encode;
  /** Where texts are cut unless a request says otherwise. */
  readonly cutAt: CutAt;
  /** Of one text that are looked at; default: those that the limit of tokens allows. */
  readonly maxCharacters?: number | undefined;
}

function encoders(parts: EncoderParts): Omit<Tokenizer, 'implementation'> {
  const { encodeHere } = parts;
  const encodeElsewhere = lookingAtBeginning(
    oneLargeAtATime(parts.encodeElsewhere),
    parts.maxTokens,
    parts.maxCharacters,
  );
  const encode: Tokenizer['encode'] = async (text, cutAt = parts.cutAt) =>
    encodeHere(text, cutAt) ?? (await encodeElsewhere(text, cutAt));
  return {
    encode,
    promptTokens: async (prompt) => {
      const { ids } = await encode(prompt);
      return parts.finalToken !== undefined && ids.at(-1) === parts.finalToken ? ids.length - 1 : ids.length;
    },
    async encodeAll(inputs, cutAt = parts.cutAt) {
      const all: Tokens[] = [];
      const elsewhere: Promise<void>[] = [];
      const encodeInto = async (text: string, index: number): Promise<void> => {
        all[index] = await encodeElsewhere(text, cutAt);
      };
      for (const [index, input] of inputs.entries()) {
        const here = typeof input === 'string' ? encodeHere(input, cutAt) : cutTokenList(input, parts, cutAt);
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

interface TokenizerFiles extends Overruled {
  /** Path of tokenizer.json. */
  readonly path: string;
}

const inFolder =
  (folder: string): ReadText =>
  async (name, bytes) => {
    const path = join(folder, name);
    if (bytes === undefined) return await readFile(path, 'utf8').catch(() => undefined);
    await using file = await open(path);
    const { bytesRead, buffer } = await file.read(Buffer.alloc(bytes), 0, bytes, 0);
    return buffer.toString('utf8', 0, bytesRead);
  };

const cutAtOf = ({ keeps }: TokenizerFiles): CutAt => (keeps === 'end' ? 'start' : 'end');

/** Vocabularies of several megabytes are of other kinds, and take long to read. */
const MAX_READ_BYTES = 4_000_000;

async function plainEncodeOf(
  { path, changed }: TokenizerFiles,
  frame: Frame,
  idOf: IdOf,
): Promise<PlainEncode | undefined> {
  const { size } = await stat(path);
  if (size > MAX_READ_BYTES) return undefined;
  return createPlainEncode((changed ?? JSON.parse(await readFile(path, 'utf8'))) as TokenizerFile, frame, idOf);
}

/** Throws in words of the Rust tokenizers where they do not read it. */
async function openNative(
  {
    changed,
    unchanged,
  }: Pick<Overruled, 'changed'> & { readonly unchanged: (native: typeof NativeTokenizer) => NativeTokenizer },
  { maxTokens, isBare = false }: Pick<TokenizerOptions, 'maxTokens' | 'isBare'>,
) {
  const { Tokenizer: Native } = await import('tokenizers');
  const tokenizer = changed ? Native.fromString(JSON.stringify(changed)) : unchanged(Native);
  // tokenizer.json carries the settings of some training run: all-MiniLM-L6-v2 would pad to and cut at 128.
  tokenizer.disablePadding();
  tokenizer.disableTruncation();
  const sample = await tokenizer.encode('a', null, { addSpecialTokens: !isBare });
  const mask = sample.getSpecialTokensMask();
  requireRoom(maxTokens, mask.filter((special) => special === 1).length);
  return { tokenizer, ids: sample.getIds(), mask };
}

async function nativeTokenizer(
  files: TokenizerFiles,
  { maxTokens, isBare = false }: TokenizerOptions,
): Promise<Tokenizer> {
  const unchanged = (native: typeof NativeTokenizer): NativeTokenizer => native.fromFile(files.path);
  const { tokenizer, ids, mask } = await openNative({ ...files, unchanged }, { maxTokens, isBare });
  const encodeNative = (text: string) => tokenizer.encode(text, null, { addSpecialTokens: !isBare });
  const prefix = isBare ? [] : ids.slice(0, mask.indexOf(0));
  const suffix = isBare ? [] : ids.slice(mask.lastIndexOf(0) + 1);
  const encodePlain = await plainEncodeOf(files, { prefix, suffix }, (piece) => tokenizer.tokenToId(piece));
  const cut = (ids: Int32Array, cutAt: CutAt): Tokens => {
    if (ids.length <= maxTokens) return { ids, untruncated: ids.length };
    if (cutAt === 'start') {
      const end = ids.slice(-maxTokens);
      end.set(prefix, 0);
      return { ids: end, untruncated: ids.length };
    }
    // What comes before the suffix is kept as far as there is room: the Rust tokenizers cut before they add it.
    const kept = ids.slice(0, maxTokens);
    kept.set(suffix, maxTokens - suffix.length);
    return { ids: kept, untruncated: ids.length };
  };
  return {
    implementation: 'native',
    ...encoders({
      encodeHere: (text, cutAt) => {
        const ids = encodePlain?.(text);
        return ids && cut(ids, cutAt);
      },
      // Runs on libuv's pool.
      encodeElsewhere: async (text, cutAt) => cut(new Int32Array((await encodeNative(text)).getIds()), cutAt),
      maxTokens,
      cutAt: cutAtOf(files),
      firstToken: prefix[0],
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

/** Characters that the tokenizer in JavaScript looks at beyond what the limit of tokens needs: it holds the event loop for as long as they take. */
const MAX_CHARACTERS_HERE = 1 << 15;
/** A character can stand for eighteen. */
const MAX_NORMALIZED = 4 * MAX_CHARACTERS_HERE;

function boundedWhenNormalized(text: string, cutAt: CutAt): string {
  let part = text.replaceAll(MANY_MARKS, '$1');
  while (
    part.length > MAX_CHARACTERS_HERE / 4 &&
    part.normalize('NFKC').length > Math.max(MAX_NORMALIZED, 2 * text.length)
  ) {
    part = partOf(part, part.length >>> 1, cutAt);
  }
  return part;
}

/** V8 normalises a run of combining marks in time that goes with its square; what is beyond 64 changes no text that is read. */
const MANY_MARKS = /(\p{M}{64})\p{M}+/gu;

/** It spreads the tokens of a word over arguments of a call, and there are words of more tokens than the stack holds. */
export function withinStack(
  encode: (text: string) => readonly number[],
  text: string,
  cutAt: CutAt = 'end',
): readonly number[] {
  try {
    return encode(text);
  } catch (error) {
    if (!(error instanceof RangeError) || text.length < 2) throw error;
    return withinStack(encode, partOf(text, text.length >>> 1, cutAt), cutAt);
  }
}

/** Characters tokenised before others have the event loop. */
const CHARACTERS_A_TURN = 8192;

function takingTurns(encode: (text: string, cutAt: CutAt) => Tokens): Encode {
  const oneByOne = pLimit(1);
  let characters = 0;
  return (text, cutAt) =>
    oneByOne(async () => {
      characters += text.length;
      if (characters > CHARACTERS_A_TURN) {
        characters = 0;
        await setImmediate();
      }
      return encode(text, cutAt);
    });
}

/** What is used of `@huggingface/tokenizers`, whose own types name files that TypeScript does not find. */
interface ScriptTokenizers {
  readonly Tokenizer: new (
    file: object,
    settings: object,
  ) => { encode(text: string, options: { readonly add_special_tokens: boolean }): { readonly ids: number[] } };
}

/** Hugging Face's own in JavaScript, for platforms without a native binary. It does not cut, so that is done here. */
async function javascriptTokenizer(
  files: TokenizerFiles,
  { folder, maxTokens, isBare = false }: TokenizerOptions,
): Promise<Tokenizer> {
  const { Tokenizer: Script } = (await import('@huggingface/tokenizers')) as unknown as ScriptTokenizers;
  const read = async (name: string): Promise<object> =>
    JSON.parse(await readFile(join(folder, name), 'utf8')) as object;
  const settings =
    !isBare && existsSync(join(folder, 'tokenizer_config.json')) ? await read('tokenizer_config.json') : {};
  const tokenizer = new Script(files.changed ?? (await read('tokenizer.json')), settings);
  const idsOf = (text: string, add_special_tokens: boolean): number[] =>
    tokenizer.encode(text, { add_special_tokens }).ids;
  const bare = idsOf('a', false);
  const framed = idsOf('a', !isBare);
  // Compared by their ends, because a text may itself begin with the special token's id.
  const other = idsOf('b', !isBare);
  const suffix = framed.slice(framed.length - commonEnd(framed, other));
  const prefix = framed.slice(0, framed.length - suffix.length - bare.length);
  const room = maxTokens - prefix.length - suffix.length;
  requireRoom(maxTokens, maxTokens - room);
  const encodeBare = (text: string): readonly number[] => idsOf(text, false);
  const encodeNow = (text: string, cutAt: CutAt): Tokens => {
    const ids = withinStack(encodeBare, boundedWhenNormalized(text, cutAt), cutAt);
    const bareKept = cutAt === 'end' || ids.length <= room ? ids.slice(0, room) : ids.slice(-room);
    const kept = [...prefix, ...bareKept, ...suffix];
    return { ids: Int32Array.from(kept), untruncated: kept.length + Math.max(0, ids.length - room) };
  };
  const encode = takingTurns(encodeNow);
  const finalToken = suffix.at(-1);
  return {
    implementation: 'javascript',
    ...encoders({
      encodeHere: () => undefined,
      encodeElsewhere: encode,
      maxTokens,
      cutAt: cutAtOf(files),
      finalToken,
      firstToken: prefix[0],
      maxCharacters: MAX_CHARACTERS_HERE,
    }),
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
  /** Whether no special tokens are added. Default false. */
  readonly isBare?: boolean;
  /** Whether texts are put into lower case whatever the tokenizer's files say. Default false. */
  readonly lowerCase?: boolean;
  /** Default: native where it can be. */
  readonly implementation?: 'native' | 'javascript';
}

async function orUnusable<T>(open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    if (isModelError(error)) throw error;
    throw new EngineStartError('TokenizerUnusable', `The tokenizer cannot be used: ${errorText(error)}`, {
      cause: error,
    });
  }
}

export async function loadTokenizer(options: TokenizerOptions): Promise<Tokenizer> {
  const { folder, implementation, isBare = false, lowerCase = false } = options;
  const path = join(folder, 'tokenizer.json');
  return await orUnusable(async () => {
    const files: TokenizerFiles = isBare
      ? { path, changed: undefined, keeps: 'beginning' }
      : { path, ...(await readTokenizerFiles(inFolder(folder), lowerCase)) };
    const native = implementation ? implementation === 'native' : await nativeIsLoadable();
    return await (native ? nativeTokenizer(files, options) : javascriptTokenizer(files, options));
  });
}

/** Rejects as `loadTokenizer` would, of files wherever they lie. */
export async function requireTokenizer(
  read: ReadText,
  options: Omit<TokenizerOptions, 'folder' | 'implementation'>,
): Promise<void> {
  const { isBare = false, lowerCase = false } = options;
  await orUnusable(async () => {
    const { changed } = isBare ? { changed: undefined } : await readTokenizerFiles(read, lowerCase);
    if (!(await nativeIsLoadable())) return;
    const text = changed ? '' : ((await read('tokenizer.json')) ?? '');
    await openNative({ changed, unchanged: (native) => native.fromString(text) }, options);
  });
}
