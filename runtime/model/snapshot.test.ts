// Which weights of a repository are used, and what a fetch reports of it.
import { describe, expect, it } from 'vitest';
import { ModelError } from '../../hub/files.ts';
import { chooseWeights, fetchedFacts } from './snapshot.ts';

describe('fetchedFacts', () => {
  it('tells the dimensions after the last dense layer', () => {
    const files = { modelId: 'm', revision: 'r', snapshotDir: '', weights: new Map<string, string>() };
    const description = {
      architecture: 'A',
      modelType: 'a',
      maxTokens: 5,
      vocabularySize: 9,
      hiddenSize: 8,
      declaredPooling: undefined,
      denseLayers: [],
      unsupportedModules: [],
      config: {},
    };
    expect(fetchedFacts({ files, description })).toEqual({
      revision: 'r',
      dimensions: 8,
      maxTokens: 5,
      architecture: 'A',
    });
    const dense = {
      ...description,
      declaredPooling: 'cls',
      denseLayers: [{ path: '2_Dense', outFeatures: 4, activation: undefined }],
    };
    expect(fetchedFacts({ files, description: dense })).toMatchObject({ dimensions: 4, pooling: 'cls' });
  });
});

describe('chooseWeights', () => {
  const bert = { model_type: 'bert', vocab_size: 9, hidden_size: 8, max_position_embeddings: 5 };
  const alien = { ...bert, model_type: 'alien' };

  it('reads safetensors where a builder serves, else the graph of the repository', () => {
    expect(chooseWeights(bert, { safetensors: true, onnx: true, bin: false })).toBe('safetensors');
    expect(chooseWeights(bert, { safetensors: false, onnx: true, bin: false })).toBe('onnx');
    expect(chooseWeights(alien, { safetensors: true, onnx: true, bin: false })).toBe('onnx');
  });

  it('refuses before anything big is fetched', () => {
    expect(() => chooseWeights(alien, { safetensors: true, onnx: false, bin: false })).toThrow(
      expect.objectContaining({ reason: 'UnsupportedArchitecture' }),
    );
    expect(() => chooseWeights(bert, { safetensors: false, onnx: false, bin: false })).toThrow(ModelError);
  });
});
