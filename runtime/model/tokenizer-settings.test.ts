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
const bert = (config: TokenizerFiles['config'], normalizer: unknown = BERT) =>
  settingsOf({ tokenizer: { normalizer }, config: { tokenizer_class: 'BertTokenizer', ...config } }).changes;

describe('normalizers', () => {
  it.each([
    [{ do_lower_case: true }, undefined],
    [{}, undefined],
    [{ do_lower_case: false }, { lowercase: false }],
    [{ strip_accents: false }, { strip_accents: false }],
    [{ tokenize_chinese_chars: false, tokenizer_class: 'MPNetTokenizerFast' }, { handle_chinese_chars: false }],
    [{ do_lower_case: false, tokenizer_class: 'PreTrainedTokenizerFast' }, undefined],
  ])('of BERT with %j', (config, changes) => {
    expect(bert(config)).toEqual(changes && { normalizer: { ...BERT, ...changes } });
  });

  it('of BERT are lower-case where nothing is said, by the class that the type of the model has', () => {
    const cased = { ...BERT, lowercase: false };
    expect(settingsOf({ tokenizer: { normalizer: cased }, modelType: 'bert' }).changes).toEqual({ normalizer: BERT });
    expect(settingsOf({ tokenizer: { normalizer: cased }, modelType: 'new' }).changes).toBeUndefined();
  });

  it.each([
    [null, { type: 'Sequence', normalizers: [LOWER] }],
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
    [{ do_lower_case: false }, NFC, /do_lower_case/],
    [{ strip_accents: 'yes' }, BERT, /strip_accents/],
    [{ tokenizer_class: 'AlbertTokenizer' }, NFC, /do_lower_case/],
    [{ tokenizer_class: 'DebertaV2Tokenizer', do_lower_case: true }, NFC, /do_lower_case/],
    [{ split_special_tokens: true }, BERT, /split_special_tokens/],
  ])('that cannot be obeyed are refused: %j', (config, normalizer, message) => {
    expect(() => bert(config, normalizer)).toThrow(expect.objectContaining({ reason: 'UnsupportedFiles' }));
    expect(() => bert(config, normalizer)).toThrow(message);
  });
});

it('sets the space before a text by the class of byte-level tokenizers', () => {
  const tokenizer = { pre_tokenizer: BYTES };
  const roberta = (config: TokenizerFiles['config'], modelType = 'roberta') =>
    settingsOf({ tokenizer, config, modelType }).changes;
  expect(roberta({ add_prefix_space: true })).toEqual({ pre_tokenizer: { ...BYTES, add_prefix_space: true } });
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

describe('what a class makes itself', () => {
  const framed = (single: readonly object[], sep = 3) => ({
    model: { type: 'WordPiece' },
    added_tokens: [
      { id: 2, content: '[CLS]' },
      { id: 3, content: '[SEP]' },
    ],
    post_processor: {
      type: 'TemplateProcessing',
      single,
      special_tokens: { '[CLS]': { id: '[CLS]', ids: [2] }, '[SEP]': { id: '[SEP]', ids: [sep] } },
    },
  });
  const [cls, text, sep] = [
    { SpecialToken: { id: '[CLS]', type_id: 0 } },
    { Sequence: { id: 'A', type_id: 0 } },
    { SpecialToken: { id: '[SEP]', type_id: 0 } },
  ];
  const config = { tokenizer_class: 'BertTokenizer' };

  it('is the frame of BERT: another one is refused', () => {
    expect(settingsOf({ tokenizer: framed([cls, text, sep]), config }).changes).toBeUndefined();
    for (const tokenizer of [framed([cls, text]), framed([text, sep]), framed([cls, text, sep], 6)]) {
      expect(() => settingsOf({ tokenizer, config })).toThrow(/not the frame of BertTokenizer/);
      expect(settingsOf({ tokenizer, config: { tokenizer_class: 'PreTrainedTokenizerFast' } }).changes).toBeUndefined();
    }
  });

  it('is the kind of the model: a class of another one is refused', () => {
    const tokenizer = { model: { type: 'Unigram' } };
    expect(() => settingsOf({ tokenizer, config })).toThrow(/BertTokenizer, which is a WordPiece.*Unigram/);
    expect(settingsOf({ tokenizer, config: { tokenizer_class: 'XLMRobertaTokenizer' } }).changes).toBeUndefined();
  });
});
