// A whole BERT repository of a few kilobytes: the random-weight fixture with a tokenizer of single letters.
import { readFile } from 'node:fs/promises';

const BERT = new URL('../fixtures/architectures/bert/', import.meta.url);
const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];

const letters = 'abcdefghijklmnopqrstuvwxyz0123456789'.split('');
const PUNCTUATION = '.,!?-()[]:;/'.split('');
/** 5 + 36 + 36 + 32 tokens: within the fixture's vocabulary of 120. */
const TOKENS = [...SPECIAL, ...letters, ...letters.map((letter) => `##${letter}`), ...PUNCTUATION];

const special = (name: string) => ({ id: name, ids: [TOKENS.indexOf(name)], tokens: [name] });

/** WordPiece over single letters, digits and punctuation: each is a token. As `tokenizer.json` holds it. */
export const letterTokenizer = {
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: SPECIAL.map((content, id) => ({
    id,
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  })),
  normalizer: {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
  },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: {
    type: 'TemplateProcessing',
    single: [
      { SpecialToken: { id: '[CLS]', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: '[SEP]', type_id: 0 } },
    ],
    pair: [
      { SpecialToken: { id: '[CLS]', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: '[SEP]', type_id: 0 } },
      { Sequence: { id: 'B', type_id: 1 } },
      { SpecialToken: { id: '[SEP]', type_id: 1 } },
    ],
    special_tokens: { '[CLS]': special('[CLS]'), '[SEP]': special('[SEP]') },
  },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(TOKENS.map((token, id) => [token, id])),
  },
};

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

/** File name → content, as a repository on the hub holds it. 32 dimensions, at most 128 tokens, a token per letter. */
export async function tinyModel(): Promise<Readonly<Record<string, Buffer>>> {
  return Object.fromEntries([
    ['config.json', await readFile(new URL('config.json', BERT))],
    ['model.safetensors', await readFile(new URL('model.safetensors', BERT))],
    ['tokenizer.json', json(letterTokenizer)],
    ['tokenizer_config.json', json({ tokenizer_class: 'BertTokenizer', model_max_length: 128, do_lower_case: true })],
    ['sentence_bert_config.json', json({ max_seq_length: 128, do_lower_case: false })],
    [
      '1_Pooling/config.json',
      json({ word_embedding_dimension: 32, pooling_mode_mean_tokens: true, pooling_mode_cls_token: false }),
    ],
    [
      'modules.json',
      json([
        { idx: 0, name: '0', path: '', type: 'sentence_transformers.models.Transformer' },
        { idx: 1, name: '1', path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
      ]),
    ],
  ]);
}
