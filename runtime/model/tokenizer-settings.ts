// Settings of a tokenizer outside of tokenizer.json, which overrule it as they do in transformers and sentence-transformers. Pure.
import { isRecord } from '../../common/util/text.ts';
import { ModelError } from '../../hub/files.ts';

/** A tokenizer.json, or its beginning: all but the vocabulary. */
export type TokenizerJson = Readonly<Record<string, unknown>>;

export interface TokenizerFiles {
  readonly tokenizer: TokenizerJson;
  /** tokenizer_config.json; empty where there is none. */
  readonly config: Readonly<Record<string, unknown>>;
  /** config.json's. */
  readonly modelType: string;
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

// Which class of transformers reads the files decides which settings it obeys.

const BERT_CLASSES = ['Bert', 'DistilBert', 'Electra', 'MPNet', 'ConvBert', 'MobileBert', 'SqueezeBert', 'Funnel'];
const BYTE_CLASSES = ['Roberta', 'GPT2', 'Bart', 'Longformer', 'Deberta', 'GPTNeoX'];
/** Classes that lower-case, and whether they do so where nothing is said. */
const LOWERING_CLASSES: Readonly<Record<string, boolean>> = { Albert: true, DebertaV2: false };

const CLASS_BY_TYPE: Readonly<Record<string, string>> = {
  bert: 'Bert',
  distilbert: 'Bert',
  electra: 'Bert',
  ernie: 'Bert',
  convbert: 'Bert',
  'megatron-bert': 'Bert',
  nomic_bert: 'Bert',
  mpnet: 'MPNet',
  funnel: 'Funnel',
  roberta: 'Roberta',
  gpt2: 'GPT2',
  gpt_neox: 'GPTNeoX',
  deberta: 'Deberta',
  albert: 'Albert',
  'deberta-v2': 'DebertaV2',
};

/** Of these transformers takes tokenizer.json as it is, whatever class is named. */
const AS_IT_IS = new Set(['modernbert', 'modernbert-decoder', 'qwen2', 'phi3']);

/** `Bert` of `BertTokenizerFast`. */
function classOf({ config, modelType }: TokenizerFiles): string {
  if (AS_IT_IS.has(modelType)) return '';
  const said = config['tokenizer_class'];
  return typeof said === 'string' ? said.replace(/Tokenizer(Fast)?$/, '') : (CLASS_BY_TYPE[modelType] ?? '');
}

const flagOf = (config: TokenizerFiles['config'], name: string, fallback: boolean): boolean => {
  const value = config[name] ?? fallback;
  if (typeof value === 'boolean') return value;
  throw refuse(name, value, 'which is neither true nor false');
};

const typeOf = (part: unknown): unknown => (isRecord(part) ? part['type'] : undefined);

/** The parts of a sequence, or the one there is. */
const partsOf = (part: unknown): readonly unknown[] => {
  const parts = isRecord(part) && part['type'] === 'Sequence' ? part['normalizers'] : undefined;
  return Array.isArray(parts) ? parts : [part];
};

const isLowercase = (part: unknown): boolean => typeOf(part) === 'Lowercase';

/** What tokenizer.json's model is for the classes that make it themselves. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  WordPiece: BERT_CLASSES,
  BPE: [...BYTE_CLASSES, 'Qwen2', 'Llama', 'Gemma', 'CodeGen', 'CLIP', 'XLM'],
  Unigram: ['XLMRoberta', 'T5', 'Albert', 'Camembert', 'DebertaV2', 'MBart', 'Pegasus', 'XLNet'],
};

function requireKind(files: TokenizerFiles): void {
  const name = classOf(files);
  const expected = Object.keys(KINDS).find((kind) => KINDS[kind]?.includes(name));
  const found = typeOf(files.tokenizer['model']);
  if (expected === undefined || typeof found !== 'string' || found === expected) return;
  throw new ModelError(
    'UnsupportedFiles',
    `The tokenizer's class is ${name}Tokenizer, which is a ${expected}, and the model in tokenizer.json is a ${found}. Save the tokenizer again with transformers.`,
  );
}

// Normalizers.

/** Cases, accents and Chinese characters by the class's own arguments, whatever tokenizer.json was saved with. */
function bertNormalizer({ tokenizer, config }: TokenizerFiles): unknown {
  const normalizer = tokenizer['normalizer'];
  const strip = config['strip_accents'] ?? null;
  if (!isRecord(normalizer) || normalizer['type'] !== 'BertNormalizer') {
    const names = ['do_lower_case', 'strip_accents', 'tokenize_chinese_chars'];
    const said = names.find((name) => (config[name] ?? null) !== null);
    if (said === undefined) return normalizer;
    throw refuse(said, config[said], 'and tokenizer.json normalises texts in another way than BERT does');
  }
  if (strip !== null && typeof strip !== 'boolean')
    throw refuse('strip_accents', strip, 'which is neither true nor false');
  return {
    ...normalizer,
    lowercase: flagOf(config, 'do_lower_case', true),
    strip_accents: strip,
    handle_chinese_chars: flagOf(config, 'tokenize_chinese_chars', true),
  };
}

function requireSameCase({ tokenizer, config }: TokenizerFiles, fallback: boolean): void {
  const lowers = partsOf(tokenizer['normalizer']).some(isLowercase);
  if (flagOf(config, 'do_lower_case', fallback) === lowers) return;
  throw refuse(
    'do_lower_case',
    config['do_lower_case'] ?? fallback,
    `and tokenizer.json does ${lowers ? '' : 'not '}lower-case`,
  );
}

function normalizerOf(files: TokenizerFiles): unknown {
  const name = classOf(files);
  const fallback = LOWERING_CLASSES[name];
  if (fallback !== undefined) requireSameCase(files, fallback);
  const normalizer = BERT_CLASSES.includes(name) ? bertNormalizer(files) : files.tokenizer['normalizer'];
  const parts = partsOf(normalizer).filter((part) => part !== null && part !== undefined);
  if (!files.lowerCase || parts.some(isLowercase)) return normalizer;
  return { type: 'Sequence', normalizers: [{ type: 'Lowercase' }, ...parts] };
}

function preTokenizerOf(files: TokenizerFiles): unknown {
  const words = files.tokenizer['pre_tokenizer'];
  if (!BYTE_CLASSES.includes(classOf(files)) || !isRecord(words) || words['type'] !== 'ByteLevel') return words;
  return { ...words, add_prefix_space: flagOf(files.config, 'add_prefix_space', false) };
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

/** BERT's classes frame a text by their own two words, whatever tokenizer.json says. */
function requireOwnFrame(files: TokenizerFiles): void {
  const { tokenizer } = files;
  const processor = tokenizer['post_processor'];
  if (!BERT_CLASSES.includes(classOf(files)) || !isRecord(processor) || processor['type'] !== 'TemplateProcessing')
    return;
  const listed = tokenizer['added_tokens'];
  const idOf = (content: unknown): unknown =>
    (Array.isArray(listed) ? listed : []).filter(isRecord).find((token) => token['content'] === content)?.['id'];
  const { single, special_tokens: specials } = processor;
  const items: readonly unknown[] = Array.isArray(single) ? single : [];
  const words = [items[0], items[2]].map(specialOf);
  const isOwn = words.every((word) => {
    const special = isRecord(specials) && typeof word === 'string' ? specials[word] : undefined;
    return isRecord(special) && same(special['ids'], [idOf(word)]);
  });
  if (items.length === 3 && isOwn && isRecord(items[1]) && 'Sequence' in items[1]) return;
  throw new ModelError(
    'UnsupportedFiles',
    `tokenizer.json: the post_processor is not the frame of ${classOf(files)}Tokenizer, a special token on either side. Save the tokenizer again with transformers.`,
  );
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** @throws ModelError UnsupportedFiles: which setting is not obeyed */
export function tokenizerSettings(files: TokenizerFiles): TokenizerSettings {
  const { tokenizer, config } = files;
  if (config['split_special_tokens'] === true) {
    throw refuse('split_special_tokens', true, 'which kubembed does not do');
  }
  requireKind(files);
  requireKnownFrame(files);
  requireOwnFrame(files);
  const parts = { normalizer: normalizerOf(files), pre_tokenizer: preTokenizerOf(files) };
  const changes = Object.entries(parts).filter(([name, part]) => !same(part ?? null, tokenizer[name] ?? null));
  return {
    changes: changes.length === 0 ? undefined : Object.fromEntries(changes),
    added: addedTokens(files),
    keeps: keptEnd(files),
  };
}
