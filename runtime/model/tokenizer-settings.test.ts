// Which settings beside tokenizer.json overrule it, by the class of transformers that reads it.
import { describe, expect, it } from 'vitest';
import { tokenizerSettings } from './tokenizer-settings.ts';
import type { TokenizerFiles } from './tokenizer-settings.ts';

const BERT = {
  type: 'BertNormalizer',
  clean_text: true,
  handle_chinese_chars: true,
  strip_accents: null,
  lowercase: true,
};
const BYTES = { type: 'ByteLevel', add_prefix_space: false };
const NFC = { type: 'NFC' };
const LOWER = { type: 'Lowercase' };

const settingsOf = (files: Partial<TokenizerFiles>) =>
  tokenizerSettings({ tokenizer: {}, config: {}, modelType: '', lowerCase: false, ...files });
/** All that BertTokenizer makes itself. */
const BERT_FILE = {
  normalizer: BERT,
  pre_tokenizer: { type: 'BertPreTokenizer' },
  added_tokens: [
    { id: 2, content: '[CLS]' },
    { id: 3, content: '[SEP]' },
    { id: 4, content: '[MASK]' },
  ],
  post_processor: { type: 'BertProcessing', cls: ['[CLS]', 2], sep: ['[SEP]', 3] },
};
const bert = (config: TokenizerFiles['config'], tokenizer: TokenizerFiles['tokenizer'] = {}) =>
  settingsOf({
    tokenizer: { ...BERT_FILE, ...tokenizer },
    config: { tokenizer_class: 'BertTokenizer', ...config },
  }).changes;

describe('normalizers', () => {
  it.each([
    [{ do_lower_case: true }, undefined],
    [{}, undefined],
    [{ do_lower_case: false }, { lowercase: false }],
    [{ strip_accents: false }, { strip_accents: false }],
    [{ tokenize_chinese_chars: false, tokenizer_class: 'ElectraTokenizerFast' }, { handle_chinese_chars: false }],
    [{ do_lower_case: false, tokenizer_class: 'PreTrainedTokenizerFast' }, undefined],
  ])('of BERT with %j', (config, changes) => {
    expect(bert(config)).toEqual(changes && { normalizer: { ...BERT, ...changes } });
  });

  it('of BERT are lower-case where nothing is said, by the class that the type of the model has', () => {
    const tokenizer = { ...BERT_FILE, normalizer: { ...BERT, lowercase: false } };
    expect(settingsOf({ tokenizer, modelType: 'bert' }).changes).toEqual({ normalizer: BERT });
    expect(settingsOf({ tokenizer, modelType: 'new' }).changes).toBeUndefined();
  });

  it.each([
    [null, LOWER],
    [NFC, { type: 'Sequence', normalizers: [LOWER, NFC] }],
    [
      { type: 'Sequence', normalizers: [NFC] },
      { type: 'Sequence', normalizers: [LOWER, NFC] },
    ],
    [{ type: 'Sequence', normalizers: [NFC, LOWER] }, undefined],
  ])('%j lower-case first where sentence-transformers says so', (normalizer, changed) => {
    const { changes } = settingsOf({ tokenizer: { normalizer }, lowerCase: true });
    expect(changes).toEqual(changed && { normalizer: changed });
  });

  it.each([
    [{ do_lower_case: 'no' }, /do_lower_case/],
    [{ strip_accents: 'yes' }, /strip_accents/],
    [{ split_special_tokens: true }, /split_special_tokens/],
  ])('that cannot be obeyed are refused: %j', (config, message) => {
    expect(() => bert(config)).toThrow(expect.objectContaining({ reason: 'UnsupportedFiles' }));
    expect(() => bert(config)).toThrow(message);
  });
});

it('sets the space before a text by the class of byte-level tokenizers', () => {
  const added_tokens = [
    { id: 0, content: '<s>' },
    { id: 2, content: '</s>' },
  ];
  const post_processor = { type: 'RobertaProcessing', cls: ['<s>', 0], sep: ['</s>', 2] };
  const tokenizer = { pre_tokenizer: BYTES, added_tokens, post_processor };
  const roberta = (config: TokenizerFiles['config'], modelType = 'roberta') =>
    settingsOf({ tokenizer, config, modelType }).changes;
  const spaced = { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true };
  expect(roberta({ add_prefix_space: true })).toEqual({ pre_tokenizer: spaced });
  expect(roberta({})).toBeUndefined();
  expect(roberta({ add_prefix_space: true, tokenizer_class: 'RobertaTokenizer' }, 'modernbert')).toBeUndefined();
});

it('names the words that tokenizer.json does not list', () => {
  const plain = { single_word: false, lstrip: false, rstrip: false };
  const { added } = settingsOf({
    tokenizer: { added_tokens: [{ content: '[CLS]' }] },
    config: {
      cls_token: { content: '[CLS]' },
      mask_token: '[MASK]',
      additional_special_tokens: ['[Q]'],
      added_tokens_decoder: { 7: { content: 'word', lstrip: true, special: false } },
    },
  });
  expect(added).toEqual([
    { ...plain, id: 7, content: 'word', lstrip: true, normalized: true, special: false },
    { ...plain, id: undefined, content: '[MASK]', normalized: false, special: true },
    { ...plain, id: undefined, content: '[Q]', normalized: false, special: true },
  ]);
});

it.each([
  [{}, null, 'beginning'],
  [{ truncation_side: 'left' }, null, 'end'],
  [{}, { direction: 'Left' }, 'end'],
  [{ truncation_side: 'right' }, { direction: 'Left' }, 'beginning'],
])('keeps the part of a long text that %j and %j say', (config, truncation, keeps) => {
  expect(settingsOf({ tokenizer: { truncation }, config }).keeps).toBe(keeps);
});

const frame = (...single: readonly object[]) => ({
  type: 'TemplateProcessing',
  single,
  special_tokens: { '[CLS]': { id: '[CLS]', ids: [2] }, '[SEP]': { id: '[SEP]', ids: [3] } },
});
const [CLS, TEXT, SEP] = [
  { SpecialToken: { id: '[CLS]', type_id: 0 } },
  { Sequence: { id: 'A', type_id: 0 } },
  { SpecialToken: { id: '[SEP]', type_id: 0 } },
];

describe('what a class makes itself, whatever tokenizer.json says', () => {
  const around = (changes: unknown): unknown => (changes as { post_processor?: unknown } | undefined)?.post_processor;

  it('is the frame of BERT, of the special tokens that tokenizer_config.json names', () => {
    expect(bert({}, { post_processor: frame(CLS, TEXT, SEP) })).toBeUndefined();
    expect(() => bert({}, { post_processor: frame(CLS, SEP) })).toThrow(/does not put the text/);
    for (const post_processor of [frame(CLS, TEXT), frame(TEXT, SEP), null]) {
      expect(around(bert({}, { post_processor }))).toMatchObject({ single: [CLS, TEXT, SEP] });
      expect(bert({ tokenizer_class: 'PreTrainedTokenizerFast' }, { post_processor })).toBeUndefined();
    }
    const masked = around(bert({ cls_token: '[MASK]' }));
    expect(masked).toMatchObject({ special_tokens: { '[MASK]': { ids: [4] }, '[SEP]': { ids: [3] } } });
    expect(() => bert({ cls_token: 'none' })).toThrow(/puts "none" around texts/);
  });

  it('is the kind of the model: a class of another one is refused', () => {
    expect(() => bert({}, { model: { type: 'Unigram' } })).toThrow(/BertTokenizer, which is a WordPiece.*Unigram/);
  });

  it('are the words of added_tokens_decoder', () => {
    const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
    const added_tokens_decoder = { 4: { content: '[MASK]', ...plain, lstrip: true } };
    expect(bert({ added_tokens_decoder })).toMatchObject({
      added_tokens: [{ id: 2 }, { id: 3 }, { id: 4, lstrip: true }],
    });
    const known = { id: 4, content: '[MASK]', ...plain, lstrip: true };
    expect(
      bert({ added_tokens_decoder }, { added_tokens: [...BERT_FILE.added_tokens.slice(0, 2), known] }),
    ).toBeUndefined();
  });

  const map = { type: 'Precompiled', precompiled_charsmap: 'AAAA' };
  const spaces = { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' };
  const words = { type: 'WhitespaceSplit' };
  const xlmFile = {
    added_tokens: [
      { id: 0, content: '<s>' },
      { id: 2, content: '</s>' },
    ],
    post_processor: { type: 'RobertaProcessing', cls: ['<s>', 0], sep: ['</s>', 2] },
  };
  const xlm = (tokenizer: TokenizerFiles['tokenizer'], config: TokenizerFiles['config'] = {}) =>
    settingsOf({ tokenizer: { ...xlmFile, ...tokenizer }, config, modelType: 'xlm-roberta' }).changes;

  it('of pieces is how they split, and of the normalizer the map of characters alone', () => {
    const found = { type: 'Sequence', normalizers: [map, spaces] };
    const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true };
    expect(xlm({ normalizer: found, pre_tokenizer: metaspace })).toEqual({
      normalizer: map,
      pre_tokenizer: { type: 'Sequence', pretokenizers: [words, metaspace] },
    });
    const old = { type: 'Metaspace', str_rep: '▁', replacement: '▁', add_prefix_space: true };
    expect(xlm({ normalizer: map, pre_tokenizer: { type: 'Sequence', pretokenizers: [words, old] } })).toBeUndefined();
  });

  it.each([
    ['qwen2', 'PreTrainedTokenizerFast', 'Split'],
    ['qwen3', 'PreTrainedTokenizerFast', undefined],
    ['qwen3', 'Qwen2Tokenizer', 'Split'],
    ['mistral', 'LlamaTokenizer', undefined],
    ['llama', 'LlamaTokenizerFast', undefined],
    ['xlm-roberta', 'MT5Tokenizer', undefined],
    ['modernbert', 'RobertaTokenizer', undefined],
  ])('of %s with %s is nothing, or begins with %s', (modelType, tokenizer_class, first) => {
    const tokenizer = { normalizer: NFC, pre_tokenizer: BYTES, model: { type: 'BPE' } };
    const { changes } = settingsOf({ tokenizer, config: { tokenizer_class }, modelType });
    const made = changes?.['pre_tokenizer'] as { pretokenizers?: { type: string }[] } | undefined;
    expect(made?.pretokenizers?.[0]?.type).toBe(first);
  });

  it.each(['RemBertTokenizer', 'BertJapaneseTokenizer', 'LukeTokenizer'])('of %s is not known', (tokenizer_class) => {
    expect(() => bert({ tokenizer_class })).toThrow(/PreTrainedTokenizerFast/);
  });
});

describe('code of a repository’s own', () => {
  const END = '<|endoftext|>';
  const QWEN = {
    tokenizer: {
      added_tokens: [{ id: 7, content: END }],
      post_processor: { type: 'ByteLevel', trim_offsets: false },
    },
    modelType: 'qwen2',
  };
  const told = (AutoTokenizer: unknown, codeOf: string | undefined, more: TokenizerFiles['config'] = {}) =>
    settingsOf({
      ...QWEN,
      codeOf,
      config: { auto_map: { AutoTokenizer }, eos_token: END, add_eos_token: true, ...more },
    });
  const GTE = ['tokenization_qwen.Qwen2Tokenizer', 'tokenization_qwen.Qwen2TokenizerFast'];
  const elsewhere = (repository: string) => GTE.map((name) => `${repository}--${name}`);

  it.each([
    ['beside the model', GTE, ''],
    ['of gte-Qwen2, for a copy of it', elsewhere('Alibaba-NLP/gte-Qwen2-7B-instruct'), ''],
    [
      'of gte-Qwen2, as the model',
      elsewhere('Alibaba-NLP/gte-Qwen2-1.5B-instruct'),
      'Alibaba-NLP/gte-Qwen2-1.5B-instruct',
    ],
  ])('%s ends texts as it is told to', (_where, names, codeOf) => {
    const single = [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: END, type_id: 0 } }];
    expect(told(names, codeOf).changes?.['post_processor']).toMatchObject({ single });
    expect(told(names, codeOf, { add_eos_token: false }).changes).toBeUndefined();
  });

  it.each([
    ['another class', ['tokenization_own.OwnTokenizer'], ''],
    ['another repository', elsewhere('me/tuned'), ''],
    ['a file of the name, beside a model whose code lies elsewhere', GTE, 'Alibaba-NLP/gte-Qwen2-7B-instruct'],
  ])('of %s is refused', (_what, names, codeOf) => {
    expect(() => told(names, codeOf)).toThrow(/own \(auto_map in tokenizer_config.json\), which kubembed does not run/);
  });

  it('is not run where the model’s is not', () => {
    expect(
      told(['tokenization_own.OwnTokenizer'], undefined, { tokenizer_class: 'PreTrainedTokenizerFast' }).added,
    ).toEqual([]);
  });
});
