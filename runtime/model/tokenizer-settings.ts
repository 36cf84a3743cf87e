// Settings of a tokenizer outside of tokenizer.json, which overrule it as they do in transformers and sentence-transformers. Pure.
import { isRecord } from '../../common/util/text.ts';
import { ModelError } from '../../hub/files.ts';
import { classNameOf, classOf, listOf, placeOf, sameParts, sequence } from './tokenizer-classes.ts';
import type { ClassFiles, TokenizerClass } from './tokenizer-classes.ts';

/** A tokenizer.json, or its beginning: all but the vocabulary. */
export type TokenizerJson = Readonly<Record<string, unknown>>;

export interface TokenizerFiles extends ClassFiles {
  /** Whether texts are put into lower case whatever these say: `do_lower_case` of sentence_bert_config.json or its kin. */
  readonly lowerCase: boolean;
}

/** A word that is matched whole, wherever it stands. As tokenizer.json lists them. */
export interface AddedToken {
  readonly id: number | undefined;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

export interface TokenizerSettings {
  /** What of tokenizer.json is to be replaced; undefined where nothing is. */
  readonly changes: TokenizerJson | undefined;
  /** Words that tokenizer.json does not list. Those without an id get one by the vocabulary, or behind it. */
  readonly added: readonly AddedToken[];
  /** Which part of a text that is too long is left. */
  readonly keeps: 'beginning' | 'end';
}

const CONFIG = 'tokenizer_config.json';

const refuse = (setting: string, value: unknown, says: string): ModelError =>
  new ModelError(
    'UnsupportedFiles',
    `${CONFIG} sets ${setting} to ${JSON.stringify(value)}, ${says}. Save the tokenizer again with transformers, so that its tokenizer.json says the same.`,
  );

const flagOf = (config: TokenizerFiles['config'], name: string, fallback: boolean): boolean => {
  const value = config[name] ?? fallback;
  if (typeof value === 'boolean') return value;
  throw refuse(name, value, 'which is neither true nor false');
};

const isLowercase = (part: unknown): boolean => isRecord(part) && part['type'] === 'Lowercase';

/** It puts the special token that ends a text behind it, where that is asked for. Copies name the repository whose code it is. */
const GTE_QWEN = 'tokenization_qwen.Qwen2TokenizerFast';
const GTE_QWEN_COPY = /^Alibaba-NLP\/gte-Qwen2-(?:1\.5B|7B)-instruct--tokenization_qwen\.Qwen2TokenizerFast$/;

/** Code of the repository's own that makes the tokenizer; undefined where there is none, or where it is not run. */
function ownCodeOf({ config, codeOf }: TokenizerFiles): string | undefined {
  const map = config['auto_map'];
  const named = isRecord(map) ? map['AutoTokenizer'] : map;
  // Of the two that are named the second is the one that transformers prefers.
  const classes = [named].flat().filter((name) => typeof name === 'string');
  const name = codeOf === undefined ? undefined : classes.at(-1);
  if (name === undefined) return undefined;
  // A file of the repository's own is known where the model's code there is.
  if (GTE_QWEN_COPY.test(name) || (name === GTE_QWEN && codeOf === '')) return GTE_QWEN;
  throw new ModelError(
    'UnsupportedFiles',
    `The tokenizer is ${name}, code of a repository's own (auto_map in ${CONFIG}), which kubembed does not run. Where tokenizer.json is right without it, a copy of the repository without that auto_map can be served.`,
  );
}

/** How the class reads the files; undefined where it takes tokenizer.json as it is. */
function readerOf(files: TokenizerFiles): TokenizerClass | undefined {
  const name = ownCodeOf(files) === undefined ? classNameOf(files) : '';
  if (name === '') return undefined;
  const reader = classOf(name);
  if (reader === undefined) {
    throw new ModelError(
      'UnsupportedFiles',
      `The tokenizer's class is ${name}Tokenizer, which makes parts of the tokenizer itself, and kubembed does not know how. Where tokenizer.json is right as it is, a copy of the repository whose tokenizer_config.json says "tokenizer_class": "PreTrainedTokenizerFast" can be served.`,
    );
  }
  const model = files.tokenizer['model'];
  const found = isRecord(model) ? model['type'] : undefined;
  if (typeof found !== 'string' || found === reader.model) return reader;
  throw new ModelError(
    'UnsupportedFiles',
    `The tokenizer's class is ${name}Tokenizer, which is a ${reader.model}, and the model in tokenizer.json is a ${found}. Save the tokenizer again with transformers.`,
  );
}

// Normalizers, and how texts are split.

const precompiledIn = (part: unknown): readonly unknown[] =>
  listOf(part)
    .filter((one) => isRecord(one) && one['type'] === 'Precompiled')
    .slice(0, 1);

function requireStrip({ config }: TokenizerFiles): void {
  const strip = config['strip_accents'] ?? null;
  if (strip === null || typeof strip === 'boolean') return;
  throw refuse('strip_accents', strip, 'which is neither true nor false');
}

function normalizerOf(files: TokenizerFiles, reader: TokenizerClass | undefined): unknown {
  const { tokenizer, config } = files;
  const own = tokenizer['normalizer'];
  requireStrip(files);
  const found = listOf(own);
  const made = reader?.normalizer((name, fallback) => flagOf(config, name, fallback), config, precompiledIn(own));
  const parts = made ?? found;
  if (files.lowerCase && !parts.some(isLowercase)) return sequence('normalizers', [{ type: 'Lowercase' }, ...parts]);
  return made === undefined || sameParts(made, found) ? own : sequence('normalizers', made);
}

function preTokenizerOf({ tokenizer, config }: TokenizerFiles, reader: TokenizerClass | undefined): unknown {
  const own = tokenizer['pre_tokenizer'];
  const made = reader?.preTokenizer((name, fallback) => flagOf(config, name, fallback));
  return made === undefined || sameParts(made, listOf(own)) ? own : sequence('pretokenizers', made);
}

const unset = (value: unknown): unknown => (value === undefined || value === '' || value === false ? null : value);

/** Of the model, what the class sets. */
function modelOf(files: TokenizerFiles, reader: TokenizerClass | undefined): unknown {
  const { model } = files.tokenizer;
  const made = isRecord(model) ? reader?.settings(files) : undefined;
  if (made === undefined || !isRecord(model)) return model;
  const isSame = Object.entries(made).every(([name, value]) => unset(model[name]) === unset(value));
  return isSame ? model : { ...model, ...made };
}

// Added tokens.

const contentOf = (token: unknown): unknown => (isRecord(token) ? token['content'] : token);

function addedTokenOf([id, token]: readonly [string, unknown]): readonly AddedToken[] {
  if (!isRecord(token) || typeof token['content'] !== 'string') return [];
  const is = (name: string): boolean => token[name] === true;
  const special = is('special');
  return [
    {
      id: Number(id),
      content: token['content'],
      single_word: is('single_word'),
      lstrip: is('lstrip'),
      rstrip: is('rstrip'),
      normalized: typeof token['normalized'] === 'boolean' ? token['normalized'] : !special,
      special,
    },
  ];
}

const SPECIAL_NAMES = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];
const SPECIAL_LISTS = ['additional_special_tokens', 'extra_special_tokens'];

const specialToken = (content: string): AddedToken => ({
  id: undefined,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

function addedTokens({ tokenizer, config }: TokenizerFiles): readonly AddedToken[] {
  const listed = tokenizer['added_tokens'];
  const known = new Set((Array.isArray(listed) ? listed : []).map(contentOf));
  const decoder = config['added_tokens_decoder'];
  const given = isRecord(decoder) ? Object.entries(decoder).flatMap(addedTokenOf) : [];
  const lists = SPECIAL_LISTS.flatMap((name) => (Array.isArray(config[name]) ? config[name] : []) as unknown[]);
  const named = [...SPECIAL_NAMES.map((name) => config[name]), ...lists].map(contentOf);
  const special = named.filter((name) => typeof name === 'string').map(specialToken);
  const added = new Map<string, AddedToken>();
  for (const token of [...given, ...special]) {
    if (!known.has(token.content) && !added.has(token.content)) added.set(token.content, token);
  }
  return [...added.values()];
}

const FLAGS = ['single_word', 'lstrip', 'rstrip', 'normalized', 'special'] as const;

/** A class that makes the tokenizer itself takes the words of added_tokens_decoder, where there is one, and its own special ones. */
function listedTokens({ tokenizer, config }: TokenizerFiles, reader: TokenizerClass | undefined): unknown {
  const listed = tokenizer['added_tokens'];
  const decoder = config['added_tokens_decoder'];
  if (reader === undefined || !Array.isArray(listed) || !isRecord(decoder)) return listed;
  const given = new Map(
    Object.entries(decoder)
      .flatMap(addedTokenOf)
      .map((token) => [token.content, token]),
  );
  const changed = listed.filter(isRecord).map((token) => {
    const said = given.get(String(token['content']));
    return said === undefined || FLAGS.every((flag) => said[flag] === (token[flag] ?? false))
      ? token
      : { ...token, ...said, id: token['id'] };
  });
  return changed.every((token, at) => token === listed[at]) ? listed : changed;
}

// Which end of a text is left.

function keptEnd({ tokenizer, config }: TokenizerFiles): TokenizerSettings['keeps'] {
  const { truncation } = tokenizer;
  const saved = isRecord(truncation) && truncation['direction'] === 'Left' ? 'left' : 'right';
  const side = config['truncation_side'] ?? saved;
  if (side === 'left') return 'end';
  if (side === 'right') return 'beginning';
  throw refuse('truncation_side', side, 'which is neither left nor right');
}

// The frame: special tokens around a text.

interface Frame {
  readonly single: readonly unknown[];
  readonly items: readonly unknown[];
  readonly specials: Readonly<Record<string, unknown>>;
}

function framesOf(part: unknown): readonly Frame[] {
  if (!isRecord(part)) return [];
  const { type, processors, single, pair, special_tokens: specials } = part;
  if (type === 'Sequence' && Array.isArray(processors)) return processors.flatMap(framesOf);
  if (type !== 'TemplateProcessing') return [];
  const items = [single, pair].flatMap((list): unknown[] => (Array.isArray(list) ? list : []));
  return [{ single: Array.isArray(single) ? single : [], items, specials: isRecord(specials) ? specials : {} }];
}

const specialOf = (item: unknown): unknown => {
  const special = isRecord(item) ? item['SpecialToken'] : undefined;
  return isRecord(special) ? special['id'] : undefined;
};

/** A name without its ids would end the whole process in the Rust tokenizers. */
function requireKnownFrame({ tokenizer }: TokenizerFiles): void {
  for (const { single, items, specials } of framesOf(tokenizer['post_processor'])) {
    if (single.filter(isText).length !== 1) {
      throw new ModelError(
        'UnsupportedFiles',
        'tokenizer.json: the post_processor does not put the text between its special tokens once. Save the tokenizer again with transformers.',
      );
    }
    const missing = items.map(specialOf).find((name) => typeof name === 'string' && !Object.hasOwn(specials, name));
    if (missing === undefined) continue;
    throw new ModelError(
      'UnsupportedFiles',
      `tokenizer.json: the post_processor puts ${JSON.stringify(missing)} around texts, and its special_tokens do not say what that is. Save the tokenizer again with transformers.`,
    );
  }
}

/** Special tokens before and behind a text, by name and id. */
interface Ends {
  readonly before: readonly (readonly [name: unknown, id: unknown])[];
  readonly after: readonly (readonly [name: unknown, id: unknown])[];
}

const isText = (item: unknown): boolean => isRecord(item) && 'Sequence' in item;

/** Undefined where the frame is of another form. */
function endsOf(processor: unknown): Ends | undefined {
  if (!isRecord(processor)) return { before: [], after: [] };
  const { type, cls, sep, single, special_tokens: specials } = processor;
  const pair = (end: unknown) =>
    Array.isArray(end) ? ([end[0] as unknown, end[1] as unknown] as const) : ([end, end] as const);
  if (type === 'RobertaProcessing' || type === 'BertProcessing') return { before: [pair(cls)], after: [pair(sep)] };
  if (type !== 'TemplateProcessing' || !Array.isArray(single) || !isRecord(specials)) return undefined;
  const at = single.findIndex(isText);
  const known = (item: unknown) => {
    const name = specialOf(item);
    const special = typeof name === 'string' ? specials[name] : undefined;
    const ids: unknown = isRecord(special) ? special['ids'] : undefined;
    return [name, Array.isArray(ids) && ids.length === 1 ? (ids[0] as unknown) : ids] as const;
  };
  return { before: single.slice(0, at).map(known), after: single.slice(at + 1).map(known) };
}

function idOf({ tokenizer }: TokenizerFiles, content: unknown): number | undefined {
  const listed = tokenizer['added_tokens'];
  const added = (Array.isArray(listed) ? listed : []).filter(isRecord).find((token) => token['content'] === content);
  const model = tokenizer['model'];
  const vocabulary = isRecord(model) && isRecord(model['vocab']) ? model['vocab'] : {};
  const id = added?.['id'] ?? vocabulary[String(content)] ?? placeOf({ tokenizer }, content, -1);
  return typeof id === 'number' && id >= 0 ? id : undefined;
}

function template({ before, after }: Ends): unknown {
  const special = ([id]: readonly unknown[]) => ({ SpecialToken: { id, type_id: 0 } });
  const single = [...before.map(special), { Sequence: { id: 'A', type_id: 0 } }, ...after.map(special)];
  const known = ([id, at]: readonly unknown[]) => [String(id), { id, ids: [at], tokens: [id] }] as const;
  return {
    type: 'TemplateProcessing',
    single,
    pair: [...single, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: Object.fromEntries([...before, ...after].map(known)),
  };
}

/** A special token that a class puts around texts, with its id. */
function specialFor(files: TokenizerFiles, [name, fallback]: readonly [string, string]): readonly [unknown, number] {
  const content = contentOf(files.config[name]) ?? fallback;
  const id = idOf(files, content);
  if (id !== undefined) return [content, id];
  throw new ModelError(
    'UnsupportedFiles',
    `The tokenizer's class puts ${JSON.stringify(content)} around texts, and tokenizer.json has no such token. Save the tokenizer again with transformers.`,
  );
}

/** Special tokens around a text: tokenizer.json's, unless the class has its own. */
function frameOf(files: TokenizerFiles, reader: TokenizerClass | undefined): unknown {
  const found = files.tokenizer['post_processor'];
  if (ownCodeOf(files) === GTE_QWEN && flagOf(files.config, 'add_eos_token', false)) {
    return template({ before: [], after: [specialFor(files, ['eos_token', ''])] });
  }
  const frame = reader?.frame;
  if (frame === undefined || (frame.yields === true && isRecord(found))) return found;
  const [before, after] = [frame.before, frame.after].map((special) =>
    special === undefined ? [] : [specialFor(files, special)],
  );
  const ends = { before: before ?? [], after: after ?? [] };
  return same(endsOf(found), ends) ? found : template(ends);
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Whether more is needed of tokenizer.json than what stands before its vocabulary. */
export const needsVocabulary = (files: TokenizerFiles): boolean => readerOf(files) !== undefined;

/** @throws ModelError UnsupportedFiles: which setting is not obeyed */
export function tokenizerSettings(files: TokenizerFiles): TokenizerSettings {
  const { tokenizer, config } = files;
  if (config['split_special_tokens'] === true) {
    throw refuse('split_special_tokens', true, 'which kubembed does not do');
  }
  const reader = readerOf(files);
  requireKnownFrame(files);
  const parts = {
    normalizer: normalizerOf(files, reader),
    pre_tokenizer: preTokenizerOf(files, reader),
    post_processor: frameOf(files, reader),
    model: modelOf(files, reader),
    added_tokens: listedTokens(files, reader),
  };
  const changes = Object.entries(parts).filter(([name, part]) => (part ?? null) !== (tokenizer[name] ?? null));
  return {
    changes: changes.length === 0 ? undefined : Object.fromEntries(changes),
    added: addedTokens(files),
    keeps: keptEnd(files),
  };
}
