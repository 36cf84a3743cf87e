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
      lowerCase: false,
      vocabularySize: 9,
      hiddenSize: 8,
      input: { kind: 'Transformer', path: '' },
      pooling: undefined,
      steps: [],
      truncateDim: undefined,
      prompts: { texts: new Map<string, string>(), declared: new Set<string>(), standard: '' },
      config: {},
    } as const;
    expect(fetchedFacts({ files, description })).toEqual({
      revision: 'r',
      dimensions: 8,
      maxTokens: 5,
      architecture: 'A',
    });
    const pooling = { modes: ['cls', 'mean'], includePrompt: true } as const;
    const doubled = { ...description, pooling };
    expect(fetchedFacts({ files, description: doubled })).toMatchObject({
      dimensions: 8,
      declaredDimensions: 16,
      pooling: 'cls+mean',
    });
    const step = { kind: 'dense', path: '2_Dense', inputs: 16, outputs: 4, bias: true, activation: undefined } as const;
    const dense = { ...doubled, steps: [{ ...step, residual: false }] };
    expect(fetchedFacts({ files, description: dense })).toMatchObject({ dimensions: 4 });
    const cut = { ...dense, truncateDim: 3 };
    expect(fetchedFacts({ files, description: cut })).toMatchObject({ dimensions: 3 });
  });
});

describe('chooseWeights', () => {
  const bert = { model_type: 'bert', vocab_size: 9, hidden_size: 8, max_position_embeddings: 5 };
  const alien = { ...bert, model_type: 'alien' };

  it('reads safetensors where a builder serves, else the graph of the repository', () => {
    expect(chooseWeights(bert, { safetensors: true, onnx: true, bin: false }, 'org/model')).toBe('safetensors');
    expect(chooseWeights(bert, { safetensors: false, onnx: true, bin: false }, 'org/model')).toBe('onnx');
    expect(chooseWeights(alien, { safetensors: true, onnx: true, bin: false }, 'org/model')).toBe('onnx');
  });

  it('refuses before anything big is fetched', () => {
    expect(() => chooseWeights(alien, { safetensors: true, onnx: false, bin: false }, 'org/model')).toThrow(
      expect.objectContaining({ reason: 'UnsupportedArchitecture' }),
    );
    expect(() => chooseWeights(bert, { safetensors: false, onnx: false, bin: false }, 'org/model')).toThrow(ModelError);
  });

  const all = { safetensors: true, onnx: false, bin: false };
  const gte = { ...bert, model_type: 'new', architectures: ['NewModel'] };
  const own = (config: object, reference: string, modelId: string) =>
    chooseWeights({ ...config, auto_map: { AutoModel: reference } }, all, modelId);

  it("takes a class of a repository's own where its code is known, by the repository that holds it", () => {
    expect(own(gte, 'Alibaba-NLP/new-impl--modeling.NewModel', 'me/tuned')).toBe('safetensors');
    expect(own(gte, 'modeling.NewModel', 'Alibaba-NLP/gte-base-en-v1.5')).toBe('safetensors');
    const qwen = { ...bert, model_type: 'qwen2' };
    expect(own(qwen, 'modeling_qwen.Qwen2Model', 'Alibaba-NLP/gte-Qwen2-1.5B-instruct')).toBe('safetensors');
    expect(() => own(qwen, 'modeling_qwen.Qwen2Model', 'me/tuned')).toThrow(/does not know.*copy.*without auto_map/);
    expect(() => own(gte, 'me/other--modeling.NewModel', 'Alibaba-NLP/gte-base-en-v1.5')).toThrow(/me\/other/);
    expect(() => own(gte, 'modeling.Other', 'Alibaba-NLP/gte-base-en-v1.5')).toThrow(/own classes/);
    const settings = { ...bert, auto_map: { AutoConfig: 'configuration.Config' } };
    expect(() => chooseWeights(settings, all, 'me/tuned')).toThrow(/auto_map/);
    expect(chooseWeights(settings, { ...all, onnx: true }, 'me/tuned')).toBe('onnx');
  });
});
