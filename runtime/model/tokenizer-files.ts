// A tokenizer's files as one: tokenizer.json, with what the settings beside it overrule.
import { parseJson, parseObject, ModelError } from '../../hub/files.ts';
import { isRecord } from '../../common/util/text.ts';
import { needsVocabulary, tokenizerSettings } from './tokenizer-settings.ts';
import type { AddedToken, TokenizerJson, TokenizerSettings } from './tokenizer-settings.ts';

export interface TokenizerFiles {
  /** What stands for tokenizer.json; undefined where that counts as it is. */
  readonly changed: TokenizerJson | undefined;
  readonly keeps: TokenizerSettings['keeps'];
}

/** A file of the model's own folder, or its first bytes; undefined where there is none. */
export type ReadText = (name: string, bytes?: number) => Promise<string | undefined>;

const TOKENIZER_FILE = 'tokenizer.json';

/** The Rust tokenizers write the vocabulary last, and it may take megabytes. */
const HEAD_BYTES = 1 << 21;
const VOCABULARY = /,\s*"model"\s*:\s*\{/;
/** Where one of them is missing it may follow the vocabulary. */
const BEFORE_VOCABULARY = ['truncation', 'added_tokens', 'normalizer', 'pre_tokenizer', 'post_processor'];

async function parseWhole(read: ReadText): Promise<TokenizerJson> {
  const whole = parseJson((await read(TOKENIZER_FILE)) ?? '');
  if (isRecord(whole)) return whole;
  throw new ModelError('UnsupportedFiles', 'tokenizer.json is no JSON object.');
}

/** Everything before the vocabulary, where the file is written in the usual order. */
async function readHead(read: ReadText): Promise<TokenizerJson> {
  const text = (await read(TOKENIZER_FILE, HEAD_BYTES)) ?? '';
  const end = VOCABULARY.exec(text)?.index;
  const head = end === undefined ? undefined : parseObject(`${text.slice(0, end)}}`);
  const isWhole = head !== undefined && BEFORE_VOCABULARY.every((name) => name in head);
  return isWhole ? head : await parseWhole(read);
}

const readObject = async (read: ReadText, name: string): Promise<Readonly<Record<string, unknown>>> =>
  parseObject((await read(name)) ?? '') ?? {};

/** Piece → id, of every kind of model that tokenizer.json knows. */
function vocabularyOf({ model }: TokenizerJson): ReadonlyMap<string, number> {
  const vocabulary = isRecord(model) ? model['vocab'] : undefined;
  if (isRecord(vocabulary)) return new Map(Object.entries(vocabulary) as [string, number][]);
  const pieces = Array.isArray(vocabulary) ? (vocabulary as readonly (readonly [string, number])[]) : [];
  return new Map(pieces.map(([piece], id) => [piece, id]));
}

function listedIn(tokenizer: TokenizerJson): readonly AddedToken[] {
  const listed = tokenizer['added_tokens'] ?? [];
  if (Array.isArray(listed) && listed.every(isRecord)) return listed as unknown as readonly AddedToken[];
  throw new ModelError('UnsupportedFiles', 'tokenizer.json: added_tokens is no list of tokens.');
}

/** With the ids that they get: those of words outside of the vocabulary follow it, as far as the model has rows for them. */
function withIds(tokenizer: TokenizerJson, added: readonly AddedToken[], rows: number): readonly AddedToken[] {
  const vocabulary = vocabularyOf(tokenizer);
  const listed = listedIn(tokenizer);
  let next = Math.max(vocabulary.size, ...listed.map(({ id = 0 }) => id + 1));
  return added.flatMap((token) => {
    const id = vocabulary.get(token.content) ?? next++;
    if (token.id === undefined || token.id === id) return id < rows ? [{ ...token, id }] : [];
    throw new ModelError(
      'UnsupportedFiles',
      `tokenizer_config.json gives ${JSON.stringify(token.content)} of its added_tokens_decoder the id ${token.id}, and by tokenizer.json it would be ${id}. Save the tokenizer again with transformers.`,
    );
  });
}

async function changedFile(
  read: ReadText,
  settings: TokenizerSettings,
  rows: number,
): Promise<TokenizerJson | undefined> {
  if (settings.changes === undefined && settings.added.length === 0) return undefined;
  const whole = await parseWhole(read);
  const added = withIds(whole, settings.added, rows);
  if (settings.changes === undefined && added.length === 0) return undefined;
  const listed = (settings.changes?.['added_tokens'] ?? whole['added_tokens'] ?? []) as readonly AddedToken[];
  return {
    ...whole,
    added_tokens: listed,
    ...settings.changes,
    ...(added.length > 0 && { added_tokens: [...listed, ...added] }),
  };
}

/** The repository whose code the model is, of `repository--file.Class`. */
function codeOf(map: unknown): string | undefined {
  const [reference] = isRecord(map) ? [map['AutoModel']].flat() : [];
  if (typeof reference !== 'string') return undefined;
  const at = reference.indexOf('--');
  return at < 0 ? '' : reference.slice(0, at);
}

/**
 * @param lowerCase whether texts are put into lower case whatever these files say
 * @throws ModelError UnsupportedFiles: which setting is not obeyed
 */
export async function readTokenizerFiles(read: ReadText, lowerCase: boolean): Promise<TokenizerFiles> {
  const [head, config, special, model] = await Promise.all([
    readHead(read),
    readObject(read, 'tokenizer_config.json'),
    readObject(read, 'special_tokens_map.json'),
    readObject(read, 'config.json'),
  ]);
  const about = {
    // Files with added_tokens_decoder are of a time when special_tokens_map.json had nothing more to say.
    config: 'added_tokens_decoder' in config ? config : { ...config, ...special },
    modelType: typeof model['model_type'] === 'string' ? model['model_type'] : '',
    modelTokenizer: model['tokenizer_class'],
    codeOf: codeOf(model['auto_map']),
    lowerCase,
  };
  const whole = needsVocabulary({ ...about, tokenizer: head }) ? await parseWhole(read) : head;
  const settings = tokenizerSettings({ ...about, tokenizer: whole });
  const rows = typeof model['vocab_size'] === 'number' ? model['vocab_size'] : Infinity;
  return { changed: await changedFile(read, settings, rows), keeps: settings.keeps };
}
