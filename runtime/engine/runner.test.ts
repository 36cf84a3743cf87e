import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createGraphBuilder, encodeModel } from '../graph/onnx.ts';
import type { OnnxModel } from '../graph/onnx.ts';
import { describeModel } from '../model/description.ts';
import { chooseModel } from './load.ts';
import { createRunner, prepareModel } from './runner.ts';
import { createSession } from './session.ts';

const WIDTH = 3;
const ROWS = 10;
/** The vector of token t is (t, t², 1). */
const table = Float32Array.from({ length: ROWS * WIDTH }, (_, index) =>
  [Math.floor(index / WIDTH), Math.floor(index / WIDTH) ** 2, 1].at(index % WIDTH)!,
);

/** Like an export of transformers: token vectors out of ids and mask, padding included. */
function exported(output: string, extraInput?: string): Uint8Array {
  const graph = createGraphBuilder();
  const dims = ['texts', 'length'];
  const rows = graph.initializer({
    name: 'table',
    element: 'float32',
    dims: [ROWS, WIDTH],
    data: new Uint8Array(table.buffer),
  });
  const looked = graph.node('Gather', [rows, 'input_ids']);
  const mask = graph.node('Cast', ['attention_mask'], { attributes: { to: { int: 1 } } });
  // Padding gives NaN: pooling must not touch it.
  const poison = graph.node('Div', [mask, mask]);
  const vectors = graph.node('Mul', [looked, graph.node('Unsqueeze', [poison, graph.int64([2])])]);
  const { nodes, initializers } = graph.collected();
  const model: OnnxModel = {
    name: 'exported',
    opsets: { '': 18 },
    nodes: nodes.map((node) => ({ ...node, outputs: node.outputs.map((name) => (name === vectors ? output : name)) })),
    initializers,
    inputs: ['input_ids', 'attention_mask', ...(extraInput === undefined ? [] : [extraInput])].map((name) => ({
      name,
      element: 'int64',
      dims,
    })),
    outputs: [{ name: output, element: 'float32', dims: [...dims, WIDTH] }],
  };
  return encodeModel(model);
}

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'kubembed-session-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

async function fileOf(bytes: Uint8Array): Promise<string> {
  const path = join(folder, `${Math.random()}.onnx`);
  await writeFile(path, bytes);
  return path;
}

const MEAN = { modes: ['mean'], includePrompt: true } as const;
const CPU = { device: 'cpu', threads: 1 } as const;
const texts = [Int32Array.of(1, 2, 3), Int32Array.of(4), Int32Array.of(0, 9)];

const unit = (values: readonly number[]): number[] => values.map((value) => value / Math.hypot(...values));
const rowOf = (token: number): number[] => [token, token ** 2, 1];
const meanOf = (tokens: Int32Array): number[] =>
  [0, 1, 2].map((column) => [...tokens].reduce((sum, token) => sum + rowOf(token)[column]!, 0) / tokens.length);

describe('a repository’s own ONNX file', () => {
  it.each(['mean', 'cls'] as const)('is padded, masked, pooled (%s) and normalised around', async (pooling) => {
    const path = await fileOf(exported('last_hidden_state'));
    const runner = await createRunner({ kind: 'file', path, pooling: { modes: [pooling], includePrompt: true } }, CPU);
    const { data, dimensions, paddedTokens } = await runner.run(texts);
    expect([dimensions, paddedTokens]).toEqual([WIDTH, 3]);
    for (const [text, tokens] of texts.entries()) {
      const expected = unit(pooling === 'mean' ? meanOf(tokens) : rowOf(tokens[0]!));
      for (let index = 0; index < WIDTH; index++) expect(data[text * WIDTH + index]).toBeCloseTo(expected[index]!, 6);
    }
  });

  it('is refused when it gives no token vectors', async () => {
    const path = await fileOf(exported('logits'));
    await expect(createRunner({ kind: 'file', path, pooling: MEAN }, CPU)).rejects.toThrow(/gives logits/u);
  });

  it('is refused when it wants an input that nobody has', async () => {
    const path = await fileOf(exported('last_hidden_state', 'pixel_values'));
    const runner = await createRunner({ kind: 'file', path, pooling: MEAN }, CPU);
    await expect(runner.run(texts)).rejects.toThrow(/pixel_values/u);
  });
});

describe('a prepared model', () => {
  it('gives the very vectors of the graph it came from, also once its files are gone', async () => {
    const bert = fileURLToPath(new URL('../../tests/fixtures/architectures/bert/', import.meta.url));
    const config = JSON.parse(readFileSync(join(bert, 'config.json'), 'utf8')) as Record<string, unknown>;
    const { model } = await chooseModel({
      files: {
        modelId: 'test/bert',
        revision: 'test',
        snapshotDir: bert,
        weights: new Map([['model.safetensors', join(bert, 'model.safetensors')]]),
      },
      description: describeModel(new Map([['config.json', config]])),
      pooling: 'mean',
      precision: 'float32',
    });
    if (model.kind !== 'graph') throw new TypeError('a graph was expected');
    const own = await createRunner(model, CPU);
    const place = await mkdtemp(join(folder, 'prepared-'));
    const runners = [];
    const prepared = await prepareModel(model, CPU, place);
    for (const threads of [1, 2]) runners.push(await createRunner(prepared, { device: 'cpu', threads }));
    await rm(place, { recursive: true });
    for (const batch of [texts, [texts[1]!], [texts[2]!, texts[2]!]]) {
      const expected = await own.run(batch);
      for (const runner of runners) expect((await runner.run(batch)).data).toEqual(expected.data);
    }
  });
});

describe('createSession', () => {
  it('says what ONNX Runtime finds wrong with a model', async () => {
    await expect(createSession({ model: Uint8Array.of(1, 2, 3) }, CPU)).rejects.toMatchObject({
      name: 'EngineStartError',
      reason: 'CorruptWeights',
    });
  });

  it('never falls back from a GPU to the CPU', async () => {
    const model = exported('last_hidden_state');
    await expect(createSession({ model }, { device: 'gpu', threads: 1 })).rejects.toMatchObject({
      reason: 'DeviceUnavailable',
      message: expect.stringMatching(/CUDA/u) as string,
    });
  });
});
