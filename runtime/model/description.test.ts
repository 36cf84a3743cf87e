// What is read out of a repository's JSON files.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describeModel, moduleConfigPaths } from './description.ts';

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
  describeModel(new Map(Object.entries({ 'config.json': BERT, ...files })));
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
      vocabularySize: 30522,
      hiddenSize: 384,
      declaredPooling: 'mean',
      denseLayers: [],
      unsupportedModules: [],
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
    ['the table over sentence-transformers', { 'sentence_bert_config.json': { max_seq_length: 8192 } }, 512],
    [
      'a null of sentence-transformers as silence',
      { 'sentence_bert_config.json': { max_seq_length: null }, 'tokenizer_config.json': { model_max_length: 128 } },
      128,
    ],
    ['10³⁰ of the tokenizer as silence', { 'tokenizer_config.json': { model_max_length: 1e30 } }, 512],
    [
      'the padding offset of RoBERTa',
      { 'config.json': { ...BERT, model_type: 'xlm-roberta', max_position_embeddings: 514, pad_token_id: 1 } },
      512,
    ],
    [
      'the names of GPT-2',
      { 'config.json': { model_type: 'nomic_bert', vocab_size: 9, n_embd: 4, n_positions: 8192 } },
      8192,
    ],
    ['no limit at all', { 'config.json': { model_type: 't5', vocab_size: 9, hidden_size: 4 } }, 512],
  ])('takes as the longest input: %s', (_what, files, maxTokens) => {
    expect(describeWith(files).maxTokens).toBe(maxTokens);
  });

  it.each([
    [{ pooling_mode_cls_token: true, pooling_mode_mean_tokens: false }, 'cls'],
    [{ pooling_mode_mean_tokens: true, pooling_mode_max_tokens: true }, 'mean+max'],
    [{ pooling_mode_lasttoken: true }, 'lasttoken'],
    [{ pooling_mode: 'weightedmean' }, 'weightedmean'],
    [{}, undefined],
  ])('reads the declared pooling out of %j', (config, pooling) => {
    const files = {
      'modules.json': [module('', 'Transformer'), module('pool', 'Pooling')],
      'pool/config.json': config,
    };
    expect(describeWith(files).declaredPooling).toBe(pooling);
  });

  it('lists Dense modules with their activation', () => {
    const description = describeWith({
      'modules.json': [
        module('', 'Transformer'),
        module('1_Pooling', 'Pooling'),
        module('2_Dense', 'Dense'),
        module('3_Dense', 'Dense'),
      ],
      '2_Dense/config.json': {
        in_features: 8,
        out_features: 4,
        activation_function: 'torch.nn.modules.activation.Tanh',
      },
      '3_Dense/config.json': {
        in_features: 4,
        out_features: 2,
        activation_function: 'torch.nn.modules.linear.Identity',
      },
    });
    expect(description.denseLayers).toEqual([
      { path: '2_Dense', outFeatures: 4, activation: 'tanh' },
      { path: '3_Dense', outFeatures: 2, activation: undefined },
    ]);
  });

  it('names modules that no graph computes', () => {
    const modules = [
      module('', 'Transformer'),
      module('1_WordWeights', 'WordWeights'),
      module('2_Normalize', 'Normalize'),
    ];
    expect(describeWith({ 'modules.json': modules }).unsupportedModules).toEqual(['WordWeights']);
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
