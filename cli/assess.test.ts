import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { specFaults } from '../api/validation.ts';
import { precisionFault } from '../runtime/model/precision.ts';
import { readHeader } from '../runtime/model/safetensors.ts';
import { assess } from './assess.ts';
import type { Choices } from './assess.ts';
import type { Repository } from './repository.ts';

const BERT = new URL('../tests/fixtures/architectures/bert/', import.meta.url);
const config = JSON.parse(readFileSync(new URL('config.json', BERT), 'utf8')) as Record<string, unknown>;
const tensors = await readHeader(new URL('model.safetensors', BERT).pathname, 'model.safetensors');
const MODULES = [
  { path: '', type: 'sentence_transformers.models.Transformer' },
  { path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
];
const choices: Choices = { device: 'cpu', precision: 'float32', pooling: 'mean', cpus: 4 };

const repository = (more: Partial<Repository> = {}, json: Readonly<Record<string, unknown>> = {}): Repository => ({
  modelId: 'org/tiny',
  source: 'hub',
  revision: 'a'.repeat(40),
  files: new Map([
    ['config.json', 700],
    ['tokenizer.json', 3000],
    ['model.safetensors', 100_000],
  ]),
  json: new Map(
    Object.entries({ 'config.json': config, 'modules.json': MODULES, '1_Pooling/config.json': {}, ...json }),
  ),
  plan: { format: 'safetensors', weights: ['model.safetensors'], onnxModel: undefined, onnxData: new Map() },
  tensors,
  onnx: undefined,
  ...more,
});

describe('assess', () => {
  it('tells what serving takes', () => {
    const found = assess(repository(), choices);
    expect(found).toMatchObject({
      architecture: 'BertModel',
      dimensions: 32,
      weights: { format: 'safetensors', bytes: 100_000, dtypes: ['F32'] },
      warnings: [],
    });
    expect(found.memory.bytes).toBeGreaterThan(found.memory.minBytes);
    expect(found.weights.parameters).toBe(
      [...tensors.values()]
        .filter(({ dtype }) => dtype === 'F32')
        .reduce((sum, { byteLength }) => sum + byteLength / 4, 0),
    );
  });

  it('needs less memory at a lower precision, and estimates without headers', () => {
    const at = (precision: Choices['precision']): number =>
      assess(repository({ tensors: undefined }), { ...choices, precision }).memory.minBytes;
    expect(at('float16')).toBeLessThan(at('float32'));
    expect(assess(repository({ tensors: undefined }), choices).warnings.join()).toContain('estimates');
  });

  it('computes a repository’s own ONNX file as it is, and never in int8', () => {
    const onnx = { inputs: ['input_ids', 'attention_mask'], outputs: ['last_hidden_state'] } as const;
    const plan = { format: 'onnx', weights: [], onnxModel: 'onnx/model.onnx', onnxData: new Map() } as const;
    const at = (more: Partial<Choices>) => assess(repository({ plan, onnx } as never), { ...choices, ...more });
    expect(at({ device: 'gpu', precision: 'float16' }).memory.precision).toBe('float32');
    expect(() => at({ precision: 'int8' })).toThrow(/no int8 of it. Set precision to float32/);
  });

  it('takes the precisions that an EmbeddingModel of the device may name', () => {
    for (const device of ['cpu', 'gpu'] as const) {
      for (const precision of ['float32', 'float16', 'int8'] as const) {
        const fault = precisionFault(device, precision);
        const expected = fault === undefined ? [] : [expect.stringContaining(fault) as string];
        expect(specFaults({ model: 'org/name', device, precision })).toEqual(expected);
      }
    }
  });

  it('warns of another pooling, of prompts, and of a model that is no sentence-transformer', () => {
    const pooled = (mode: string) =>
      assess(
        repository(
          {},
          {
            '1_Pooling/config.json': { pooling_mode: mode },
            'config_sentence_transformers.json': { prompts: { query: 'query: ', document: '' } },
          },
        ),
        choices,
      );
    expect(pooled('cls').warnings.join()).toMatch(/declares cls pooling.*pooling=declared.*query: "query: "/s);
    expect(pooled('lasttoken').warnings.join()).toContain('declares lastToken pooling');
    expect(pooled('mean_sqrt_len_tokens').warnings.join()).not.toContain('declares');
    expect(assess({ ...repository(), json: new Map([['config.json', config]]) }, choices).warnings.join()).toContain(
      'says nothing of sentence-transformers',
    );
  });

  it.each([
    [
      'an unknown architecture',
      { json: new Map([['config.json', { ...config, architectures: ['Funnel'], model_type: 'funnel' }]]) },
      /not supported/,
    ],
    ['a tensor that is missing', { tensors: new Map([...tensors].filter(([name]) => !name.includes('query'))) }, /./],
  ] as const)('refuses %s', (_, more, message) => {
    expect(() => assess(repository(more as Partial<Repository>), choices)).toThrow(message);
  });
});
