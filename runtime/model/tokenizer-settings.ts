// Settings of a tokenizer outside of tokenizer.json, which overrule it as they do in transformers and sentence-transformers. Pure.
import { isRecord } from '../../common/util/text.ts';
import { ModelError } from '../../hub/files.ts';
import { classNameOf, classOf, listOf, sameParts, sequence } from './tokenizer-classes.ts';
import type { ClassFiles, TokenizerClass } from './tokenizer-classes.ts';

/** A tokenizer.json, or its beginning: all but the vocabulary. */
export type TokenizerJson = Readonly<Record<string, unknown>>;

export interface TokenizerFiles extends ClassFiles {
  /** `do_lower_case` of sentence_bert_config.json or its kin. */
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

/** Of gte-Qwen2: it puts the special token that ends a text behind it, where that is asked for. */
const GTE_QWEN = 'tokenization_qwen.Qwen2TokenizerFast';

/** Code of the repository's own that makes the tokenizer; undefined where there is none, or where it is not run. */
function ownCodeOf({ config, runsOwnCode = false }: TokenizerFiles): string | undefined {
  const map = config['auto_map'];
  const named = isRecord(map) ? map['AutoTokenizer'] : map;
  // Of the two that are named the second is the one that transformers prefers.
  const classes = [named].flat().filter((name) => typeof name === 'string');
  const name = runsOwnCode ? classes.at(-1) : undefined;
  if (name === undefined || name === GTE_QWEN) return name;
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
  readonly items: readonly unknown[];
  readonly specials: Readonly<Record<string, unknown>>;
}

function framesOf(part: unknown): readonly Frame[] {
  if (!isRecord(part)) return [];
  const { type, processors, single, pair, special_tokens: specials } = part;
  if (type === 'Sequence' && Array.isArray(processors)) return processors.flatMap(framesOf);
  if (type !== 'TemplateProcessing') return [];
  const items = [single, pair].flatMap((list): unknown[] => (Array.isArray(list) ? list : []));
  return [{ items, specials: isRecord(specials) ? specials : {} }];
}

const specialOf = (item: unknown): unknown => {
  const special = isRecord(item) ? item['SpecialToken'] : undefined;
  return isRecord(special) ? special['id'] : undefined;
};

/** A name without its ids would end the whole process in the Rust tokenizers. */
function requireKnownFrame({ tokenizer }: TokenizerFiles): void {
  for (const { items, specials } of framesOf(tokenizer['post_processor'])) {
    const missing = items.map(specialOf).find((name) => typeof name === 'string' && !Object.hasOwn(specials, name));
    if (missing === undefined) continue;
    throw new ModelError(
      'UnsupportedFiles',
      `tokenizer.json: the post_processor puts ${JSON.stringify(missing)} around texts, and its special_tokens do not say what that is. Save the tokenizer again with transformers.`,
    );
  }
}

/** Special tokens at the two ends of a text, by name and id; undefined where the frame is of another form. */
function endsOf(processor: unknown): unknown {
  if (!isRecord(processor)) return undefined;
  const { type, cls, sep, single, special_tokens: specials } = processor;
  if (type === 'RobertaProcessing' || type === 'BertProcessing') return [cls, sep];
  if (type !== 'TemplateProcessing' || !Array.isArray(single) || !isRecord(specials)) return undefined;
  const [first, text, last, ...others] = single as readonly unknown[];
  if (others.length > 0 || !isRecord(text) || !('Sequence' in text)) return undefined;
  return [first, last].map((item) => {
    const name = specialOf(item);
    const special = typeof name === 'string' ? specials[name] : undefined;
    const ids: unknown = isRecord(special) ? special['ids'] : undefined;
    return [name, Array.isArray(ids) && ids.length === 1 ? (ids as readonly unknown[])[0] : undefined];
  });
}

function idOf({ tokenizer }: TokenizerFiles, content: unknown): unknown {
  const listed = tokenizer['added_tokens'];
  const added = (Array.isArray(listed) ? listed : []).filter(isRecord).find((token) => token['content'] === content);
  const model = tokenizer['model'];
  const vocabulary = isRecord(model) ? model['vocab'] : undefined;
  if (added !== undefined) return added['id'];
  return isRecord(vocabulary) && typeof content === 'string' ? vocabulary[content] : undefined;
}

const template = (cls: readonly unknown[], sep: readonly unknown[]): unknown => {
  const special = ([id]: readonly unknown[]) => ({ SpecialToken: { id, type_id: 0 } });
  const single = [special(cls), { Sequence: { id: 'A', type_id: 0 } }, special(sep)];
  const known = ([id, at]: readonly unknown[]) => [id, { id, ids: [at], tokens: [id] }] as const;
  return {
    type: 'TemplateProcessing',
    single,
    pair: [...single, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: Object.fromEntries([known(cls), known(sep)]),
  };
};

/** The special token that ends texts, behind each. */
function endedBy(files: TokenizerFiles): unknown {
  const end = contentOf(files.config['eos_token']);
  const at = idOf(files, end);
  if (typeof end !== 'string' || typeof at !== 'number') {
    throw refuse('eos_token', end, 'which is no token of tokenizer.json');
  }
  const text = (id: string): unknown => ({ Sequence: { id, type_id: 0 } });
  const special = { SpecialToken: { id: end, type_id: 0 } };
  return {
    type: 'TemplateProcessing',
    single: [text('A'), special],
    pair: [text('A'), special, text('B'), special],
    special_tokens: { [end]: { id: end, ids: [at], tokens: [end] } },
  };
}

/** Special tokens around a text: tokenizer.json's, unless the class has its own. */
function frameOf(files: TokenizerFiles, reader: TokenizerClass | undefined): unknown {
  const found = files.tokenizer['post_processor'];
  if (ownCodeOf(files) === GTE_QWEN && flagOf(files.config, 'add_eos_token', false)) return endedBy(files);
  if (reader?.frame === undefined) return found;
  const ends = Object.entries(reader.frame).map(([name, fallback]) => {
    const content = contentOf(files.config[name]) ?? fallback;
    return [content, idOf(files, content)] as const;
  });
  const [cls, sep] = ends;
  if (cls === undefined || sep === undefined) return null;
  if (same(endsOf(found), ends)) return found;
  const unknown = ends.find(([, id]) => typeof id !== 'number');
  if (unknown === undefined) return template(cls, sep);
  throw new ModelError(
    'UnsupportedFiles',
    `${classNameOf(files)}Tokenizer puts ${JSON.stringify(unknown[0])} around texts, and tokenizer.json has no such token. Save the tokenizer again with transformers.`,
  );
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
