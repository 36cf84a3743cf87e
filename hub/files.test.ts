import { expect, test } from 'vitest';
import { isModelError } from './files.ts';
import {
  descriptiveFiles,
  isSelfEvident,
  moduleFolders,
  moduleWeights,
  offeredWeights,
  preferSafetensors,
  requireUsable,
  shardsOf,
  weightFiles,
} from './files.ts';

test('a name that a hub made up is never chosen', () => {
  const hostile = ['../config.json', '/etc/passwd', '1_Pooling/../../config.json', '..', 'sentence_../x_config.json'];
  const modules = ['..', '../x', '/etc', '1_Pooling/../..', '', 'a//b', 3].map((path) => ({ path }));
  expect(moduleFolders(modules)).toEqual([]);
  expect(descriptiveFiles(hostile, modules)).toEqual([]);
  expect(weightFiles(['../model.safetensors', 'x/model-00001-of-00002.safetensors'], 'safetensors')).toEqual([]);
});

test('the sentence configuration of every family', () => {
  const names = ['sentence_bert_config.json', 'sentence_xlm-roberta_config.json', 'sentence_distilbert_config.json'];
  expect(descriptiveFiles(names, undefined)).toEqual(names);
});

test('the folders of modules by the names that modules.json gives them, and no others', () => {
  const modules = [{ path: '' }, { path: 'pool' }, { path: '2_Dense_24' }, { path: 'heads/3-dense' }];
  const names = [
    'pool/config.json',
    '2_Dense_24/config.json',
    '2_Dense_24/model.safetensors',
    'heads/3-dense/pytorch_model.bin',
  ];
  const others = ['2_Dense_48/config.json', '2_Dense_48/model.safetensors', '2_Dense_24/pytorch_model.bin'];
  expect(moduleFolders(modules)).toEqual(['pool', '2_Dense_24', 'heads/3-dense']);
  expect(descriptiveFiles([...names, ...others], modules)).toEqual(['pool/config.json', '2_Dense_24/config.json']);
  expect(moduleWeights([...names, ...others], modules)).toEqual([names[2], names[3]]);
  expect(moduleFolders('nonsense')).toEqual([]);
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
