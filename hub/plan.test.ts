import { expect, test } from 'vitest';
import { preferSafetensors } from './files.ts';
import { planSnapshot } from './plan.ts';
import type { RepositoryView } from './plan.ts';

const view = (files: Readonly<Record<string, unknown>>, onnxData: readonly string[] = []): RepositoryView => ({
  modelId: 'acme/x',
  names: Object.keys(files),
  json: (name) => Promise.resolve(files[name]),
  onnxData: () => Promise.resolve(onnxData),
});
const planned = async (...given: Parameters<typeof view>) => await planSnapshot(view(...given), preferSafetensors);
const plan = async (...given: Parameters<typeof view>) => (await planned(...given)).plan;
const DESCRIBED = { 'config.json': {}, 'tokenizer.json': {} };

test.each([
  [
    'a missing tokenizer',
    { 'config.json': {}, 'model.safetensors': 0 },
    /acme\/x has no tokenizer\.json: make it with/,
  ],
  [
    'an adapter alone',
    { 'adapter_config.json': { base_model_name_or_path: 'acme/base' } },
    /adapts acme\/base\. Merge/,
  ],
  ['an adapter beside', { ...DESCRIBED, 'model.safetensors': 0, 'adapter_config.json': {} }, /adapter beside/],
  ['GGUF files', { 'a-Q4.gguf': 0, 'a-Q8.gguf': 0, 'README.md': 0 }, /a-Q4\.gguf, a-Q8\.gguf.*made from.*refs\/pr\/N/],
  ['quantised ONNX files', { ...DESCRIBED, 'onnx/model_quantized.onnx': 0 }, /onnx\/model_quantized\.onnx/],
  ['other names', { ...DESCRIBED, 'weights.safetensors': 0 }, /weights\.safetensors.*save_pretrained/],
  [
    'TensorFlow',
    { ...DESCRIBED, 'tf_model.h5': 0, 'flax_model.msgpack': 0 },
    /tf_model\.h5, flax_model\.msgpack.*from_tf/,
  ],
])('%s is refused in words', async (_, files, words) => {
  await expect(plan(files)).rejects.toMatchObject({
    reason: 'UnsupportedFiles',
    message: expect.stringMatching(words) as string,
  });
});

test('what may only be incomplete is not refused', async () => {
  const missing = async (files: Readonly<Record<string, unknown>>) => (await planned(files)).missing;
  expect(await missing({})).toEqual(['config.json', 'tokenizer.json', 'model.safetensors']);
  expect(await missing(DESCRIBED)).toEqual(['model.safetensors']);
  expect(await missing({ 'tokenizer.json': {}, 'model.safetensors': 0 })).toEqual(['config.json']);
  const index = { weight_map: { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' } };
  const one = { ...DESCRIBED, 'model.safetensors.index.json': index, 'model-00001-of-00002.safetensors': 0 };
  expect(await missing(one)).toEqual(['model-00002-of-00002.safetensors']);
  expect(await missing({ ...one, 'model.safetensors.index.json': {} })).toEqual([
    'the shards of model.safetensors.index.json',
  ]);
});

test('shards of an index alone are read', async () => {
  const shard = 'pytorch_model-00001-of-00001.bin';
  const index = { weight_map: { a: shard } };
  const files = {
    ...DESCRIBED,
    'pytorch_model.bin.index.json': index,
    [shard]: 0,
    'pytorch_model-00009-of-00009.bin': 0,
  };
  expect(await plan(files)).toMatchObject({
    format: 'bin',
    weights: [shard],
    indexes: ['pytorch_model.bin.index.json'],
  });
});

test('a graph is told the files beside it, and none outside of its folder', async () => {
  const files = { ...DESCRIBED, 'onnx/model.onnx': 0, 'onnx/model.onnx_data': 0 };
  expect(await plan({ ...files, 'onnx/Constant_7': 0 }, ['model.onnx_data', 'Constant_7'])).toMatchObject({
    format: 'onnx',
    weights: [],
    onnxModel: 'onnx/model.onnx',
    onnxData: new Map([
      ['model.onnx_data', 'onnx/model.onnx_data'],
      ['Constant_7', 'onnx/Constant_7'],
    ]),
  });
  expect((await planned(files, ['model.onnx_data', 'Constant_7'])).missing).toEqual(['onnx/Constant_7']);
  await expect(plan(files, ['../secret'])).rejects.toThrow(/outside of its folder/);
});

test('token vectors need no config.json', async () => {
  const modules = [{ path: '0_StaticEmbedding', type: 'sentence_transformers.models.StaticEmbedding' }];
  const files = {
    'modules.json': modules,
    '0_StaticEmbedding/tokenizer.json': 0,
    '0_StaticEmbedding/model.safetensors': 0,
  };
  expect(await plan(files)).toMatchObject({ format: 'safetensors', weights: ['0_StaticEmbedding/model.safetensors'] });
});
