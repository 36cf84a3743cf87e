import { expect, test } from 'vitest';
import { isModelError } from './files.ts';
import {
  descriptiveFiles,
  isSelfEvident,
  offeredWeights,
  preferSafetensors,
  requireUsable,
  shardsOf,
  weightFiles,
} from './files.ts';

test('a name that a hub made up is never chosen', () => {
  const hostile = ['../config.json', '/etc/passwd', '1_Pooling/../../config.json', '..', 'sentence_../x_config.json'];
  expect(descriptiveFiles(hostile)).toEqual([]);
  expect(weightFiles(['../model.safetensors', 'x/model-00001-of-00002.safetensors'], 'safetensors')).toEqual([]);
});

test('the sentence configuration of every family', () => {
  const names = ['sentence_bert_config.json', 'sentence_xlm-roberta_config.json', 'sentence_distilbert_config.json'];
  expect(descriptiveFiles(names)).toEqual(names);
});

test('exactly one copy of the weights', () => {
  const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  const index = 'model.safetensors.index.json';
  expect(weightFiles(['model.safetensors', index, ...shards], 'safetensors')).toEqual(['model.safetensors']);
  expect(weightFiles([index, ...shards, 'pytorch_model.bin'], 'safetensors')).toEqual([index, ...shards]);
  expect(weightFiles(['onnx/model.onnx', 'onnx/model.onnx_data', 'onnx/model_int8.onnx'], 'onnx')).toEqual([
    'onnx/model.onnx',
    'onnx/model.onnx_data',
  ]);
});

test('safetensors before the own graph, and a word when there is neither', () => {
  expect(preferSafetensors({}, { safetensors: true, onnx: true })).toBe('safetensors');
  expect(preferSafetensors({}, offeredWeights(['onnx/model.onnx']))).toBe('onnx');
  expect(() => preferSafetensors({}, offeredWeights(['pytorch_model.bin']))).toThrow(/neither/);
});

test('what every model needs is named when it lacks', () => {
  try {
    requireUsable('acme/x', ['config.json', 'model.safetensors']);
    expect.unreachable();
  } catch (error) {
    expect(isModelError(error, 'UnsupportedFiles')).toBe(true);
    expect(String(error)).toContain('acme/x has no tokenizer.json');
  }
});

test('an index that names files elsewhere has no shards', () => {
  expect(shardsOf({ weight_map: { a: '../../secret' } })).toEqual([]);
  expect(shardsOf({ weight_map: { a: 3 } })).toEqual([]);
  expect(shardsOf({})).toEqual([]);
  expect(shardsOf(undefined)).toEqual([]);
  expect(
    shardsOf({ weight_map: { b: 'model-00002-of-00002.safetensors', a: 'model-00001-of-00002.safetensors' } }),
  ).toEqual(['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']);
});

test('only a set with modules, length limit and pooling speaks for itself', () => {
  const whole = ['modules.json', 'sentence_bert_config.json', '1_Pooling/config.json'];
  expect(isSelfEvident(whole)).toBe(true);
  for (const lost of whole) expect(isSelfEvident(whole.filter((name) => name !== lost))).toBe(false);
});
