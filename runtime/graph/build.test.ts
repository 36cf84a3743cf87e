// What graphs are built of and refused for: the cache's blobs, Dense modules, old tensor names, wrong or foreign models.
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { scratchFolder } from '../../tests/helpers/scratch.ts';
import { largestDifference, loadFolder, openGraph, readJson } from '../../tests/helpers/graph-session.ts';
import { readTensorIndex } from '../model/tensors.ts';
import { ModelError } from '../../hub/files.ts';
import type { ModelDescription } from '../model/description.ts';
import { buildGraph } from './build.ts';
import type { TensorEntry, TensorIndex } from './weights.ts';

const FIXTURES = join(import.meta.dirname, '../../tests/fixtures/architectures');
const OPTIONS = { pooling: 'mean', layout: 'flexible', precision: 'float32' } as const;
const bertFolder = join(FIXTURES, 'bert');
const bert = await loadFolder(bertFolder);
const reference = readJson(join(bertFolder, 'reference.json')) as { texts: number[][]; mean: number[][] };

const describedAs = (changes: Partial<ModelDescription>, config: Record<string, unknown> = {}): ModelDescription => ({
  ...bert.description,
  ...changes,
  config: { ...bert.description.config, ...config },
});
const renamed = (rename: (name: string) => string, tensors: TensorIndex = bert.tensors): TensorIndex =>
  new Map([...tensors].map(([name, entry]) => [rename(name), entry]));
const changed = (name: string, change: Partial<TensorEntry>): TensorIndex =>
  new Map(bert.tensors).set(name, { ...bert.tensors.get(name)!, ...change });

/** A safetensors file of float32 tensors. */
function writeTensors(path: string, tensors: Readonly<Record<string, { shape: number[]; data: readonly number[] }>>) {
  let end = 0;
  const header = Object.entries(tensors).map(([name, { shape, data }]) => {
    const start = end;
    end += data.length * 4;
    return [name, { dtype: 'F32', shape, data_offsets: [start, end] }];
  });
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const length = new Uint8Array(new BigUint64Array([BigInt(json.length)]).buffer);
  const data = Object.values(tensors).map((tensor) => new Uint8Array(Float32Array.from(tensor.data).buffer));
  writeFileSync(path, Buffer.concat([length, json, ...data]));
}

describe('weights', () => {
  it('are found in shards that lie under blob names in one folder', async () => {
    const source = join(FIXTURES, 'bert-sharded-tanh');
    const blobs = scratchFolder();
    const shards = readdirSync(source).filter((file) => file.endsWith('.safetensors'));
    const files = shards.map((file, index): [string, string] => [file, join(blobs, `${index}`.repeat(40))]);
    for (const [file, blob] of files) copyFileSync(join(source, file), blob);
    const { description } = await loadFolder(source);
    const tensors = await readTensorIndex(new Map(files), blobs);
    const blobNames = shards.map((_, index) => `${index}`.repeat(40));
    expect([...new Set([...tensors.values()].map(({ file }) => file))].sort()).toEqual(blobNames);
    const graph = buildGraph(description, tensors, OPTIONS);
    for (const name of blobNames) expect(Buffer.from(graph.bytes).includes(name)).toBe(true);
    const expected = readJson(join(source, 'reference.json')) as typeof reference;
    const run = await openGraph(graph, blobs);
    expect(largestDifference(await run([expected.texts[2]!]), [expected.mean[2]!])).toBeLessThan(1e-5);
  });

  it('are counted as a session holds them', () => {
    const { weightBytes } = buildGraph(bert.description, bert.tensors, OPTIONS);
    const pooler = 32 * 32 * 4 + 32 * 4;
    const all = [...bert.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
    expect(weightBytes).toBe(all - pooler);
    expect(buildGraph(bert.description, bert.tensors, { ...OPTIONS, precision: 'float16' }).weightBytes).toBe(
      weightBytes / 2,
    );
  });

  it('take a quarter of the room in linear layers of int8, and as much again while they are rearranged', () => {
    const linear = [...bert.tensors].filter(([name, { shape }]) => name.startsWith('encoder.') && shape.length === 2);
    const elements = linear.reduce((sum, [, { shape }]) => sum + shape[0]! * shape[1]!, 0);
    const bytesOf = (precision: 'float32' | 'int8') =>
      buildGraph(bert.description, bert.tensors, { ...OPTIONS, precision }).weightBytes;
    expect(bytesOf('float32') - bytesOf('int8')).toBe(2 * elements);
  });

  it('may have the old names of norms', async () => {
    const tensors = renamed((name) =>
      name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta'),
    );
    const run = await openGraph(buildGraph(bert.description, tensors, OPTIONS), bertFolder);
    expect(largestDifference(await run([reference.texts[2]!]), [reference.mean[2]!])).toBeLessThan(1e-5);
  });

  it.each([
    [
      'is missing',
      renamed((name) => name.replace('layer.1.output.dense.weight', 'gone')),
      'encoder.layer.1.output.dense.weight',
    ],
    ['has another shape', changed('encoder.layer.0.intermediate.dense.weight', { shape: [32, 48] }), '[48, 32]'],
  ])('are refused as corrupt when a tensor %s', (_what, tensors, message) => {
    const build = () => buildGraph(bert.description, tensors, OPTIONS);
    expect(build).toThrow(expect.objectContaining({ reason: 'CorruptWeights' }));
    expect(build).toThrow(message);
  });
});

const DENSE = {
  kind: 'dense',
  path: '2_Dense',
  inputs: 32,
  outputs: 5,
  bias: true,
  activation: undefined,
  residual: false,
} as const;

describe('Dense modules', () => {
  it('are applied to the pooled vector, before the norm', async () => {
    const folder = scratchFolder();
    const weight = Array.from({ length: 5 * 32 }, (_, index) => Math.sin(index));
    mkdirSync(join(folder, '2_Dense'));
    writeTensors(join(folder, '2_Dense', 'model.safetensors'), {
      'linear.weight': { shape: [5, 32], data: weight },
      'linear.bias': { shape: [5], data: [0, 0, 0, 0, 0] },
    });
    copyFileSync(join(bertFolder, 'model.safetensors'), join(folder, 'base'));
    const files = new Map([
      ['model.safetensors', join(folder, 'base')],
      ['2_Dense/model.safetensors', join(folder, '2_Dense', 'model.safetensors')],
    ]);
    const description = describedAs({ steps: [DENSE] });
    const graph = buildGraph(description, await readTensorIndex(files, folder), OPTIONS);
    expect(graph.dimensions).toBe(5);
    // Without bias and activation the norm of the pooled vector cancels out, so the unit vector can stand for it.
    const pooled = reference.mean[2]!;
    const projected = Array.from({ length: 5 }, (_, row) =>
      pooled.reduce((sum, value, column) => sum + value * weight[row * 32 + column]!, 0),
    );
    const norm = Math.hypot(...projected);
    const run = await openGraph(graph, folder);
    expect(largestDifference(await run([reference.texts[2]!]), [projected.map((value) => value / norm)])).toBeLessThan(
      1e-5,
    );
  });

  it('without weights are a reason to refuse', () => {
    const description = describedAs({ steps: [DENSE] });
    expect(() => buildGraph(description, bert.tensors, OPTIONS)).toThrow(/module 2_Dense are missing/);
  });
});

describe('what nobody reads', () => {
  const more = (name: string): TensorIndex =>
    new Map([...bert.tensors, [name, { ...bert.tensors.values().next().value!, shape: [1], byteLength: 4 }]]);
  const refused = (description: ModelDescription, tensors: TensorIndex = bert.tensors) =>
    expect(() => buildGraph(description, tensors, OPTIONS));

  it('of the weights refuses by name, unless it is a known head', () => {
    refused(bert.description, more('encoder.layer.0.adapter.weight')).toThrow(
      /hold encoder\.layer\.0\.adapter\.weight/,
    );
    refused(bert.description, more('2_Dense/linear.weight')).toThrow(/2_Dense/);
    refused(bert.description, more('classifier.weight')).toThrow(/classifier/);
    const heads = ['bert.pooler.dense.bias', 'cls.predictions.bias', 'embeddings.position_ids', 'lm_head.weight'];
    for (const head of heads) refused(bert.description, more(head)).not.toThrow();
  });

  it('of types that are not computed says so', () => {
    const name = 'encoder.layer.0.intermediate.dense.weight';
    const quantised = changed(name, { dtype: 'I32' });
    refused(bert.description, quantised).toThrow(expect.objectContaining({ reason: 'UnsupportedFiles' }));
  });

  it('of a classifier is left out only where the repository makes vectors of the model', () => {
    const classifier = describedAs({ architecture: 'BertForSequenceClassification' });
    refused(classifier, more('classifier.weight')).toThrow(/classifies texts/);
    const pooling = { modes: ['mean'], includePrompt: true } as const;
    refused({ ...classifier, pooling }, more('classifier.weight')).not.toThrow();
  });

  it.each([
    ['is_causal', true],
    ['sliding_window', 128],
    ['rope_scaling', { type: 'linear', factor: 2 }],
    ['num_experts', 8],
    ['lora_adaptations', ['query']],
    ['quantization_config', { bits: 4 }],
    ['pruned_heads', { 0: [1] }],
  ])('of the settings that change vectors refuses by name: %s', (name, value) => {
    refused(describedAs({}, { [name]: value })).toThrow(new RegExp(`config\\.json: ${name}`));
  });

  it('of settings that change nothing is no matter', () => {
    const harmless = {
      is_causal: false,
      rope_scaling: null,
      layer_types: ['full_attention'],
      pruned_heads: {},
      head_dim: 8,
    };
    refused(describedAs({}, { ...harmless, use_cache: true, acme_notes: 'x' })).not.toThrow();
  });
});

describe('models that are refused', () => {
  it.each([
    [
      'an unknown architecture, naming it and the known ones',
      describedAs({ architecture: 'FunnelModel', modelType: 'funnel' }),
      /FunnelModel.*funnel.*bert.*qwen3/,
    ],
    [
      'a Dense of another size',
      describedAs({ steps: [{ ...DENSE, inputs: 64 }] }),
      /2_Dense takes vectors of 64 numbers.*gives 32.*declared/,
    ],
    ['relative positions of BERT', describedAs({}, { position_embedding_type: 'relative_key' }), /relative_key/],
    ['an activation without operator', describedAs({}, { hidden_act: 'mish' }), /mish.*gelu/],
    ['a config without sizes', describedAs({}, { hidden_size: undefined }), /hidden_size/],
    [
      'a class and a model_type of two families',
      describedAs({ architecture: 'RobertaModel' }),
      /RobertaModel.*model_type bert.*do not belong together/,
    ],
    [
      'experts whose shares are made to add up',
      describedAs(
        { architecture: 'NomicBertModel', modelType: 'nomic_bert' },
        { moe_normalize_expert_weights: true, hidden_act: 'silu' },
      ),
      /moe_normalize_expert_weights/,
    ],
  ])('%s', (_what, description, message) => {
    const build = () => buildGraph(description, bert.tensors, OPTIONS);
    expect(build).toThrow(message);
  });

  it.each([
    ['T5EncoderModel', 't5'],
    ['Gemma3TextModel', 'gemma3_text'],
  ])('%s in float16, in which its hidden states overflow', (architecture, modelType) => {
    const description = describedAs({ architecture, modelType });
    const build = () => buildGraph(description, bert.tensors, { ...OPTIONS, precision: 'float16' });
    expect(build).toThrow(`Hidden states of ${architecture} are too large for float16`);
  });

  it('rotary positions scaled as no builder scales them', async () => {
    const { description, tensors } = await loadFolder(join(FIXTURES, 'qwen3'));
    const config = { ...description.config, rope_parameters: null, rope_scaling: { type: 'longrope', factor: 4 } };
    const scaled = { ...description, config };
    expect(() => buildGraph(scaled, tensors, OPTIONS)).toThrow(/longrope.*default.*yarn/);
  });

  it('carry a reason a condition can show', () => {
    const build = () => buildGraph(describedAs({ architecture: 'X', modelType: 'x' }), bert.tensors, OPTIONS);
    expect(build).toThrow(ModelError);
    expect(build).toThrow(expect.objectContaining({ reason: 'UnsupportedArchitecture' }));
  });
});
