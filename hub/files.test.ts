import { expect, test } from 'vitest';
import { ModelError } from './files.ts';
import {
  descriptiveFiles,
  foldersOf,
  isSelfEvident,
  offeredWeights,
  preferSafetensors,
  shardsOf,
  weightFiles,
} from './files.ts';

const PLAIN = foldersOf(undefined);
const folders = (...paths: readonly string[]) =>
  foldersOf(paths.map((path) => ({ path, type: 'sentence_transformers.models.Any' })));

test('a name that a hub made up is never chosen', () => {
  const hostile = ['../config.json', '/etc/passwd', '1_Pooling/../../config.json', '..', 'sentence_../x_config.json'];
  expect(descriptiveFiles(hostile, PLAIN)).toEqual([]);
  expect(weightFiles(['../model.safetensors', 'x/model-00001-of-00002.safetensors'], PLAIN, 'safetensors')).toEqual([]);
  for (const path of ['..', '../x', '/etc', '1_Pooling/../..', 'a//b', 3, 'a/.git']) {
    expect(() => foldersOf([{ path: '' }, { path }]), String(path)).toThrow(ModelError);
  }
});

test('the sentence configuration of every family', () => {
  const names = ['sentence_bert_config.json', 'sentence_xlm-roberta_config.json', 'sentence_distilbert_config.json'];
  expect(descriptiveFiles(names, PLAIN)).toEqual(names);
});

test('the model itself in a folder of its own', () => {
  const below = folders('0_Transformer', '1_Pooling');
  const own = ['0_Transformer/config.json', '0_Transformer/tokenizer.json', '0_Transformer/sentence_bert_config.json'];
  const names = ['modules.json', ...own, '1_Pooling/config.json'];
  const weights = ['0_Transformer/pytorch_model.bin'];
  expect(descriptiveFiles([...names, ...weights, 'config.json', '0_Transformer/x/config.json'], below)).toEqual(names);
  expect(offeredWeights(weights, below)).toEqual({ safetensors: false, bin: true, onnx: false });
  expect(weightFiles([...weights, 'pytorch_model.bin'], below, 'bin')).toEqual(weights);
});

test('the folders of modules by the names that modules.json gives them, and no others', () => {
  const named = folders('', 'pool', '2_Dense_24', 'heads/3-dense');
  const weights = ['2_Dense_24/model.safetensors', 'heads/3-dense/pytorch_model.bin'];
  const names = ['model.safetensors', 'pool/config.json', '2_Dense_24/config.json', ...weights];
  const others = ['2_Dense_48/config.json', '2_Dense_48/model.safetensors', '2_Dense_24/pytorch_model.bin'];
  expect(descriptiveFiles([...names, ...others], named)).toEqual(['pool/config.json', '2_Dense_24/config.json']);
  expect(weightFiles([...names, ...others], named, 'safetensors')).toEqual(['model.safetensors', ...weights]);
});

test('exactly one copy of the weights', () => {
  const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  const index = 'model.safetensors.index.json';
  const of = (names: readonly string[], format: 'safetensors' | 'onnx') => weightFiles(names, PLAIN, format);
  expect(of(['model.safetensors', index, ...shards], 'safetensors')).toEqual(['model.safetensors']);
  expect(of([index, ...shards, 'pytorch_model.bin'], 'safetensors')).toEqual([index, ...shards]);
  expect(of(['onnx/model.onnx', 'onnx/model_int8.onnx', 'model.onnx'], 'onnx')).toEqual(['onnx/model.onnx']);
});

test('safetensors before a pickle before the own graph, and a word when there is none', () => {
  expect(preferSafetensors({}, { safetensors: true, bin: true, onnx: true })).toBe('safetensors');
  expect(preferSafetensors({}, offeredWeights(['pytorch_model.bin', 'onnx/model.onnx'], PLAIN))).toBe('bin');
  expect(preferSafetensors({}, offeredWeights(['onnx/model.onnx'], PLAIN))).toBe('onnx');
  expect(() => preferSafetensors({}, offeredWeights(['tf_model.h5'], PLAIN))).toThrow(/neither/);
});

test('an index that names files elsewhere has no shards', () => {
  const shards = (index: unknown) => shardsOf('a/model.safetensors.index.json', index);
  expect(shards({ weight_map: { a: '../../secret' } })).toEqual([]);
  expect(shards({ weight_map: { a: 3 } })).toEqual([]);
  expect(shards({})).toEqual([]);
  expect(shards(undefined)).toEqual([]);
  expect(
    shards({ weight_map: { b: 'model-00002-of-00002.safetensors', a: 'model-00001-of-00002.safetensors' } }),
  ).toEqual(['a/model-00001-of-00002.safetensors', 'a/model-00002-of-00002.safetensors']);
});

test('only a set with modules, length limit and pooling speaks for itself', () => {
  const whole = ['modules.json', 'sentence_bert_config.json', '1_Pooling/config.json'];
  const named = folders('', '1_Pooling');
  expect(isSelfEvident(whole, named)).toBe(true);
  for (const lost of whole)
    expect(
      isSelfEvident(
        whole.filter((name) => name !== lost),
        named,
      ),
    ).toBe(false);
});
