// Every architecture, layout and pooling against the vectors that transformers computes for the same random weights.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { describeModel } from '../describe.ts';
import { readTensorIndex } from '../safetensors.ts';
import { buildGraph } from './build.ts';
import { feedsFor } from './feeds.ts';
import type { TokenList } from './feeds.ts';
import type { BuiltGraph, LayoutName, Pooling } from './types.ts';

const FIXTURES = join(import.meta.dirname, '../../../tests/fixtures/architectures');

interface Reference {
  readonly texts: readonly number[][];
  readonly mean: readonly number[][];
  readonly cls: readonly number[][];
}

const readJson = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));

async function buildFixture(name: string, pooling: Pooling, layout: LayoutName): Promise<BuiltGraph> {
  const folder = join(FIXTURES, name);
  const shards = readdirSync(folder).filter((file) => file.endsWith('.safetensors'));
  const tensors = await readTensorIndex(new Map(shards.map((file) => [file, join(folder, file)])), folder);
  const description = describeModel(new Map([['config.json', readJson(join(folder, 'config.json'))]]));
  return buildGraph(description, tensors, { pooling, layout, precision: 'float32' });
}

async function openRunner(graph: BuiltGraph, folder: string) {
  const session = await InferenceSession.create(graph.bytes, {
    intraOpNumThreads: 1,
    extra: { session: { model_external_initializers_file_folder_path: folder } },
  });
  return async (texts: readonly TokenList[]): Promise<number[][]> => {
    const feeds = Object.entries(feedsFor(texts, graph.feedPlan));
    const results = await session.run(
      Object.fromEntries(feeds.map(([input, { type, data, dims }]) => [input, new Tensor(type, data, dims)])),
    );
    const output = results[graph.outputName]!;
    expect(output.dims).toEqual([texts.length, graph.dimensions]);
    const flat = [...(output.data as Float32Array)];
    return texts.map((_, text) => flat.slice(text * graph.dimensions, (text + 1) * graph.dimensions));
  };
}

const largestDifference = (actual: readonly number[][], expected: readonly number[][]): number =>
  Math.max(...actual.flatMap((row, text) => row.map((value, index) => Math.abs(value - expected[text]![index]!))));

describe.each(readdirSync(FIXTURES))('%s', (name) => {
  const folder = join(FIXTURES, name);
  const reference = readJson(join(folder, 'reference.json')) as Reference;

  it.each(['mean', 'cls'] as const)('gives the reference vectors, grouped, %s', async (pooling) => {
    const run = await openRunner(await buildFixture(name, pooling, 'grouped'), folder);
    const groups = Map.groupBy(reference.texts.keys(), (text) => reference.texts[text]!.length);
    for (const texts of groups.values()) {
      const actual = await run(texts.map((text) => reference.texts[text]!));
      expect(
        largestDifference(
          actual,
          texts.map((text) => reference[pooling][text]!),
        ),
      ).toBeLessThan(1e-5);
    }
  });

  it.each(['mean', 'cls'] as const)('gives the reference vectors, packed, %s', async (pooling) => {
    const run = await openRunner(await buildFixture(name, pooling, 'packed'), folder);
    for (const order of [[0, 1, 2, 3, 4, 5], [5, 0, 3], [1], [4, 4]]) {
      const actual = await run(order.map((text) => reference.texts[text]!));
      expect(
        largestDifference(
          actual,
          order.map((text) => reference[pooling][text]!),
        ),
      ).toBeLessThan(1e-5);
    }
  });
});
