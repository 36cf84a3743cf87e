// Which class of transformers reads a tokenizer, and what that makes itself whatever tokenizer.json says: its normalizer, how it splits, its model, its frame. Pure.
import { isRecord } from '../../common/util/text.ts';

export type Json = Readonly<Record<string, unknown>>;

/** What a class is asked with. */
export interface ClassFiles {
  /** tokenizer.json, or its beginning. */
  readonly tokenizer: Json;
  /** tokenizer_config.json and special_tokens_map.json; empty where there is none. */
  readonly config: Json;
  /** config.json's. */
  readonly modelType: string;
  /** config.json's, which counts where tokenizer_config.json names none. */
  readonly modelTokenizer?: unknown;
  /** Where the model is code of a repository's own, which it is: the tokenizer's is run then as well. `''` for the model's own repository. */
  readonly codeOf?: string | undefined;
}

/** A setting of tokenizer_config.json as a boolean. */
export type Flag = (name: string, fallback: boolean) => boolean;

/** By its name in tokenizer_config.json, and what it is where that says nothing. */
type Special = readonly [name: string, fallback: string];

interface ClassFrame {
  readonly before?: Special;
  readonly after?: Special;
  /** Whether tokenizer.json's counts where it has one. Default false. */
  readonly yields?: true;
}

export interface TokenizerClass {
  readonly model: 'WordPiece' | 'BPE' | 'Unigram';
  /** Of the model, beside its vocabulary. */
  readonly settings: (files: ClassFiles) => Json;
  /** `precompiled`: the character map in tokenizer.json's own normalizer, the one part of it that some classes take over. */
  readonly normalizer: (flag: Flag, config: Json, precompiled: readonly unknown[]) => readonly unknown[];
  readonly preTokenizer: (flag: Flag) => readonly unknown[];
  /** Special tokens that the class puts around a text itself; else tokenizer.json's stay. */
  readonly frame?: ClassFrame;
}

// Parts.

const BERT_WORDS = { type: 'BertPreTokenizer' };
const NFC = { type: 'NFC' };
const nothing = (): readonly unknown[] => [];
const precompiledAlone: TokenizerClass['normalizer'] = (_flag, _config, precompiled) => precompiled;
const replace = (from: Json, content: string): Json => ({ type: 'Replace', pattern: from, content });

const bytes = (flag: Flag): Json => ({
  type: 'ByteLevel',
  add_prefix_space: flag('add_prefix_space', false),
  trim_offsets: true,
  use_regex: true,
});

const metaspace = (prepend_scheme: string, split = true): Json => ({
  type: 'Metaspace',
  replacement: '▁',
  prepend_scheme,
  split,
});

const spacedWords = (flag: Flag): readonly unknown[] => [
  { type: 'WhitespaceSplit' },
  metaspace(flag('add_prefix_space', true) ? 'always' : 'never'),
];

const bertNormalizer: TokenizerClass['normalizer'] = (flag, config) => [
  {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: flag('tokenize_chinese_chars', true),
    strip_accents: config['strip_accents'] ?? null,
    lowercase: flag('do_lower_case', true),
  },
];

const MERGES = {
  dropout: null,
  unk_token: null,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: false,
  byte_fallback: false,
  ignore_merges: false,
};

const nameOf = (token: unknown): unknown => (isRecord(token) ? token['content'] : token);
const unknownOf = ({ config }: ClassFiles, fallback: string): unknown => nameOf(config['unk_token']) ?? fallback;

// Classes.

const ends = (cls: string, sep: string): ClassFrame => ({ before: ['cls_token', cls], after: ['sep_token', sep] });
const BEGIN_AND_END: ClassFrame = { before: ['bos_token', '<s>'], after: ['eos_token', '</s>'] };

const bertLike = (cls: string, sep: string): TokenizerClass => ({
  model: 'WordPiece',
  settings: (files) => ({
    unk_token: unknownOf(files, '[UNK]'),
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
  }),
  normalizer: bertNormalizer,
  preTokenizer: () => [BERT_WORDS],
  frame: ends(cls, sep),
});

const byteLevel = (more: Partial<TokenizerClass> = {}): TokenizerClass => ({
  model: 'BPE',
  settings: () => MERGES,
  normalizer: nothing,
  preTokenizer: (flag) => [bytes(flag)],
  ...more,
});

const pieces = (unk_id: number, more: Partial<TokenizerClass> = {}): TokenizerClass => ({
  model: 'Unigram',
  settings: () => ({ unk_id, byte_fallback: false }),
  normalizer: precompiledAlone,
  preTokenizer: spacedWords,
  ...more,
});

/** The place of a piece in a vocabulary of pieces and scores. */
export function placeOf({ tokenizer }: Pick<ClassFiles, 'tokenizer'>, piece: unknown, fallback: number): number {
  const model = tokenizer['model'];
  const vocabulary: unknown = isRecord(model) ? model['vocab'] : undefined;
  const at = Array.isArray(vocabulary)
    ? vocabulary.findIndex((entry) => Array.isArray(entry) && entry[0] === piece)
    : -1;
  return at < 0 ? fallback : at;
}

const QWEN_WORDS =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

const bert = bertLike('[CLS]', '[SEP]');
const roberta = byteLevel({ frame: ends('<s>', '</s>') });

/** By what comes before `Tokenizer` in a class's name. As transformers 5 has them. */
const CLASSES: Readonly<Record<string, TokenizerClass>> = {
  Bert: bert,
  DistilBert: bert,
  Electra: bert,
  MobileBert: bert,
  SqueezeBert: bert,
  MPNet: bertLike('<s>', '</s>'),
  Roberta: roberta,
  Bart: roberta,
  LED: roberta,
  Longformer: roberta,
  Deberta: byteLevel({ frame: ends('[CLS]', '[SEP]') }),
  GPT2: byteLevel(),
  // Its frame is made anew without what its own settings would add.
  GPTNeoX: byteLevel({ normalizer: () => [NFC], frame: {} }),
  Qwen2: byteLevel({
    normalizer: () => [NFC],
    preTokenizer: (flag) => [
      { type: 'Split', pattern: { Regex: QWEN_WORDS }, behavior: 'Isolated', invert: false },
      { ...bytes(flag), use_regex: false },
    ],
  }),
  Llama: byteLevel({
    settings: () => ({ ...MERGES, fuse_unk: true, byte_fallback: true }),
    preTokenizer: (flag) => {
      const isFirst = !flag('legacy', false);
      return [metaspace(flag('add_prefix_space', true) ? (isFirst ? 'first' : 'always') : 'never', false)];
    },
  }),
  Gemma: byteLevel({
    settings: (files) => ({ ...MERGES, unk_token: unknownOf(files, '<unk>'), fuse_unk: true, byte_fallback: true }),
    normalizer: () => [replace({ String: ' ' }, '▁')],
    preTokenizer: () => [{ type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithPrevious', invert: false }],
  }),
  XLMRoberta: pieces(3, { frame: BEGIN_AND_END }),
  T5: pieces(2, {
    preTokenizer: () => [{ type: 'WhitespaceSplit' }, metaspace('always')],
    frame: { after: ['eos_token', '</s>'] },
  }),
  Camembert: pieces(0, {
    frame: BEGIN_AND_END,
    settings: (files) => ({ unk_id: placeOf(files, unknownOf(files, '<unk>'), 0), byte_fallback: false }),
  }),
  Albert: pieces(1, {
    frame: { ...ends('[CLS]', '[SEP]'), yields: true },
    normalizer: (flag, _config, precompiled) => [
      replace({ String: '``' }, '"'),
      replace({ String: "''" }, '"'),
      ...(flag('keep_accents', false) ? [] : [{ type: 'NFKD' }, { type: 'StripAccents' }]),
      ...(flag('do_lower_case', true) ? [{ type: 'Lowercase' }] : []),
      ...precompiled,
    ],
  }),
  DebertaV2: pieces(1, {
    frame: ends('[CLS]', '[SEP]'),
    settings: (files) => ({ unk_id: placeOf(files, unknownOf(files, '[UNK]'), 1), byte_fallback: false }),
    normalizer: (flag) => [
      ...(flag('do_lower_case', false) ? [{ type: 'Lowercase' }] : []),
      replace({ Regex: '\\s{2,}|[\\n\\r\\t]' }, ' '),
      NFC,
      { type: 'Strip', strip_left: false, strip_right: true },
    ],
    preTokenizer: (flag) => [
      ...(flag('split_by_punct', false) ? [{ type: 'Punctuation', behavior: 'Isolated' }] : []),
      metaspace(flag('add_prefix_space', true) ? 'always' : 'first'),
    ],
  }),
};

/** Classes of transformers that make something else of the files, or are code in Python alone. Other names are none of its classes, and tokenizer.json counts. */
const FOREIGN = new Set(
  'Barthez Bartpho BertGeneration BertJapanese Bertweet BigBird BioGpt BlenderbotSmall Blenderbot ByT5 CLIP CTRL Canine Character Clvp CodeGen CodeLlama Cohere ConvBert CpmAnt Cpm DPRContextEncoder DPRQuestionEncoder DPRReader Dia Esm Esmc FNet FSMT FastSpeech2Conformer Flaubert Funnel GPTNeoXJapanese GPTSw3 Herbert Lasr LayoutLMv2 LayoutLMv3 LayoutXLM Luke Lxmert M2M100 MBart50 MBart MLuke Marian MarkupLM Mgpstr Mvp MyT5 Nllb Nougat OpenAIGPT PLBart Pegasus Perceiver Phobert Pop2Piano ProphetNet Qwen3_5 Rag Reformer RemBert RoCBert RoFormer SeamlessM4T Siglip2 Siglip Speech2Text SpeechT5 Splinter Tapas Tipsv2 Udop VideoPrism Vits Wav2Vec2CTC Wav2Vec2PhonemeCTC Whisper XGLM XLM XLNet'.split(
    ' ',
  ),
);

/** The class that transformers has for a `model_type`; `''` where it takes tokenizer.json as it is. */
const BY_TYPE: Readonly<Record<string, string>> = {
  albert: 'Albert',
  bert: 'Bert',
  camembert: 'Camembert',
  convbert: 'Bert',
  deberta: 'Deberta',
  'deberta-v2': 'DebertaV2',
  distilbert: 'Bert',
  electra: 'Bert',
  ernie: 'Bert',
  gemma: 'Gemma',
  gemma2: 'Gemma',
  gemma3_text: 'Gemma',
  gpt2: 'GPT2',
  gpt_neox: 'GPTNeoX',
  gte: 'XLMRoberta',
  'megatron-bert': 'Bert',
  mistral: '',
  modernbert: '',
  mpnet: 'MPNet',
  mt5: 'T5',
  nomic_bert: 'Bert',
  phi3: '',
  qwen2: 'Qwen2',
  qwen3: 'Qwen2',
  roberta: 'Roberta',
  roformer: 'RoFormer',
  t5: 'T5',
  umt5: '',
  'xlm-roberta': 'XLMRoberta',
  'xlm-roberta-xl': '',
};

/** Types whose repositories are known to name a wrong class: that of the type is taken. */
const MISNAMED = new Set(['modernbert', 'phi3', 'qwen2']);

const typesIn = (part: unknown): readonly unknown[] =>
  listOf(part).map((one) => (isRecord(one) ? one['type'] : undefined));

/** `Bert` of `BertTokenizerFast`; `''` for names that are none of transformers' classes. */
function knownName(given: string): string {
  const named = /^(.*)Tokenizer(?:Fast)?$/.exec(given)?.[1] ?? '';
  return Object.hasOwn(CLASSES, named) || FOREIGN.has(named) ? named : '';
}

/** The class that reads a tokenizer, as `Bert`; `''` where tokenizer.json is taken as it is. */
export function classNameOf({ tokenizer, config, modelType, modelTokenizer }: ClassFiles): string {
  const given = config['tokenizer_class'] ?? modelTokenizer;
  const typed = BY_TYPE[modelType];
  if (typeof given !== 'string') return typed ?? '';
  const named = knownName(given);
  if (typed === '' || typed === named) return typed;
  if (typed !== undefined && MISNAMED.has(modelType)) return typed;
  // Llama 3 and its kin name the class of Llama 2, which splits in another way.
  const isMisnamed = named === 'Llama' && typesIn(tokenizer['pre_tokenizer']).includes('ByteLevel');
  return isMisnamed ? '' : named;
}

/** Undefined for classes whose ways are not known here. */
export const classOf = (name: string): TokenizerClass | undefined =>
  Object.hasOwn(CLASSES, name) ? CLASSES[name] : undefined;

// Parts of tokenizer.json, in one form.

/** The parts of a sequence, or the one there is. */
export function listOf(part: unknown): readonly unknown[] {
  if (!isRecord(part)) return [];
  const inner = part['type'] === 'Sequence' ? (part['normalizers'] ?? part['pretokenizers']) : undefined;
  return Array.isArray(inner) ? inner.flatMap(listOf) : [part];
}

/** Files of older versions leave out what has a default, and say some of it in other words. */
function modern(part: unknown): unknown {
  if (!isRecord(part)) return part;
  if (part['type'] === 'Metaspace') {
    const { replacement = '▁', add_prefix_space: adds = true, prepend_scheme: scheme, split = true } = part;
    return { type: 'Metaspace', replacement, prepend_scheme: scheme ?? (adds === false ? 'never' : 'always'), split };
  }
  if (part['type'] === 'ByteLevel') {
    const { add_prefix_space = true, use_regex = true } = part;
    return { type: 'ByteLevel', add_prefix_space, use_regex };
  }
  return part;
}

const sorted = (value: unknown): unknown =>
  isRecord(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value;

/** Whether two lists of parts do the same. */
export const sameParts = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  JSON.stringify(a.map((part) => sorted(modern(part)))) === JSON.stringify(b.map((part) => sorted(modern(part))));

export const sequence = (kind: 'normalizers' | 'pretokenizers', parts: readonly unknown[]): unknown =>
  parts.length > 1 ? { type: 'Sequence', [kind]: parts } : (parts[0] ?? null);
