// What is read out of a repository's JSON files.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { positionTableOf } from '../graph/build.ts';
import { describeModel, moduleConfigPaths } from './description.ts';
import { declaredPooling } from './modules.ts';

const MINILM = join(import.meta.dirname, '../../tests/fixtures/minilm');
const readFixture = (...names: string[]) =>
  new Map<string, unknown>(names.map((name) => [name, JSON.parse(readFileSync(join(MINILM, name), 'utf8'))]));

const BERT = {
  architectures: ['BertModel'],
  model_type: 'bert',
  vocab_size: 100,
  hidden_size: 8,
  max_position_embeddings: 512,
};
const describeWith = (files: Readonly<Record<string, unknown>>) =>
  describeModel(new Map(Object.entries({ 'config.json': BERT, ...files })), positionTableOf);
const module = (path: string, kind: string) => ({ path, type: `sentence_transformers.models.${kind}` });

describe('describeModel', () => {
  it('merges the files of all-MiniLM-L6-v2', () => {
    const files = readFixture(
      'config.json',
      'sentence_bert_config.json',
      'tokenizer_config.json',
      'modules.json',
      '1_Pooling/config.json',
    );
    expect(describeModel(files)).toMatchObject({
      architecture: 'BertModel',
      modelType: 'bert',
      maxTokens: 256,
      lowerCase: false,
      vocabularySize: 30522,
      hiddenSize: 384,
      pooling: { modes: ['mean'], includePrompt: true },
      steps: [],
    });
  });

  it.each([
    ['the position table alone', {}, 512],
    [
      'sentence-transformers over the tokenizer',
      { 'sentence_bert_config.json': { max_seq_length: 384 }, 'tokenizer_config.json': { model_max_length: 128 } },
      384,
    ],
    ['the other names of its file', { 'sentence_roberta_config.json': { max_seq_length: 75 } }, 75],
    [
      'the first of them that says anything',
      { 'sentence_bert_config.json': {}, 'sentence_roberta_config.json': { max_seq_length: 75 } },
      75,
    ],
    ['the table over sentence-transformers', { 'sentence_bert_config.json': { max_seq_length: 8192 } }, 512],
    [
      'a null of sentence-transformers as silence',
      { 'sentence_bert_config.json': { max_seq_length: null }, 'tokenizer_config.json': { model_max_length: 128 } },
      128,
    ],
    ['10³⁰ of the tokenizer as silence', { 'tokenizer_config.json': { model_max_length: 1e30 } }, 512],
    [
      'the padding offset of RoBERTa',
      {
        'config.json': {
          ...BERT,
          architectures: ['XLMRobertaModel'],
          model_type: 'xlm-roberta',
          max_position_embeddings: 514,
          pad_token_id: 1,
        },
      },
      512,
    ],
    [
      'the names of GPT-2',
      { 'config.json': { model_type: 'nomic_bert', vocab_size: 9, n_embd: 4, n_positions: 8192 } },
      8192,
    ],
    [
      'what sentence-transformers says where positions have no table',
      {
        'config.json': { model_type: 't5', vocab_size: 9, hidden_size: 4, n_positions: 512 },
        'sentence_bert_config.json': { max_seq_length: 1024 },
      },
      1024,
    ],
    ['no limit at all', { 'config.json': { model_type: 't5', vocab_size: 9, hidden_size: 4 } }, 512],
  ])('takes as the longest input: %s', (_what, files, maxTokens) => {
    expect(describeWith(files).maxTokens).toBe(maxTokens);
  });

  it.each([
    ['plain encoders', {}, 'BertModel', undefined],
    ['models made to continue texts', {}, 'Qwen3ForCausalLM', 'lastToken'],
    ['those of them that attend both ways', { is_causal: false }, 'Qwen3ForCausalLM', undefined],
  ])('without modules.json takes the pooling that sentence-transformers has for %s', (_what, more, name, pooling) => {
    const description = describeWith({ 'config.json': { ...BERT, architectures: [name], ...more } });
    expect(declaredPooling(description)).toBe(pooling);
  });

  it('reads what the repository leaves of each vector', () => {
    const truncated = (truncate_dim: unknown) =>
      describeWith({ 'config_sentence_transformers.json': { truncate_dim } }).truncateDim;
    expect([truncated(undefined), truncated(null), truncated(4)]).toEqual([undefined, undefined, 4]);
    for (const wrong of [0, -1, 1.5, '4']) expect(() => truncated(wrong)).toThrow('truncate_dim');
  });

  it('refuses a model of sentence-transformers that gives no vector for each text', () => {
    const files = { 'config_sentence_transformers.json': { model_type: 'SparseEncoder' } };
    expect(() => describeWith(files)).toThrow(/model_type.*SparseEncoder/);
  });

  const LAST = { method: 'forward', method_output_name: 'last_hidden_state' };
  it.each([
    ['sentence_bert_config.json', { transformer_task: 'feature-extraction', modality_config: { text: LAST } }],
    ['sentence_bert_config.json', { modality_config: { text: LAST, 'image+text': { ...LAST, method: 'see' } } }],
    ['sentence_bert_config.json', { module_output_name: 'token_embeddings', unpad_inputs: false, query_length: null }],
  ])('takes of sentence-transformers’ own %s %j', (file, settings) => {
    expect(describeWith({ [file]: settings }).maxTokens).toBe(512);
  });

  it.each([
    ['transformer_task', 'fill-mask'],
    ['modality_config', { text: { ...LAST, method_output_name: 'pooler_output' } }],
    ['modality_config', { text: { ...LAST, method: 'get_text_features' } }],
    ['modality_config', { message: LAST }],
    ['module_output_name', 'sentence_embedding'],
    ['tokenizer_name_or_path', 'bert-base-uncased'],
    ['query_length', 32],
    ['document_length', 180],
    ['query_expansion', { strategy: 'pad', length: 32 }],
  ])('refuses a first module whose %s is %j', (name, value) => {
    for (const file of ['sentence_bert_config.json', 'sentence_xlnet_config.json']) {
      expect(() => describeWith({ [file]: { [name]: value } })).toThrow(`${file}: ${name} is`);
    }
  });

  it('refuses what it cannot read', () => {
    expect(() => describeModel(new Map())).toThrow('no config.json');
    expect(() => describeWith({ 'config.json': { ...BERT, vocab_size: 'many' } })).toThrow('vocab_size');
  });
});

describe('moduleConfigPaths', () => {
  it('lists the configs of modules in folders', () => {
    expect(moduleConfigPaths([module('', 'Transformer'), module('1_Pooling', 'Pooling')])).toEqual([
      '1_Pooling/config.json',
    ]);
    expect(moduleConfigPaths('nonsense')).toEqual([]);
  });
});
