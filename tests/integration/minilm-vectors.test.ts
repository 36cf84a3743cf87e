// The graphs of the real all-MiniLM-L6-v2 against the vectors of sentence-transformers, in float32 and int8.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { describeModel } from '../../runtime/model/description.ts';
import { buildGraph } from '../../runtime/graph/build.ts';
import { ownBlock } from '../../runtime/graph/layout.ts';
import type { LayoutName } from '../../runtime/graph/layout.ts';
import type { GraphPrecision } from '../../runtime/graph/weights.ts';
import { readTensorIndex } from '../../runtime/model/tensors.ts';
import { largestDifference, openGraph, readJson } from '../helpers/graph-session.ts';
import type { RunTexts } from '../helpers/graph-session.ts';
import { minilm } from '../helpers/minilm.ts';
import { minilmReferences } from '../helpers/references.ts';

const FIXTURE = join(import.meta.dirname, '../fixtures/minilm');
const texts = readJson(join(FIXTURE, 'token-ids.json')) as number[][];
const expected = (await minilmReferences()).map(({ vector }) => [...vector]);
const description = describeModel(
  new Map([['config.json', JSON.parse(readFileSync(join(FIXTURE, 'config.json'), 'utf8'))]]),
);

async function open(layout: LayoutName, precision: GraphPrecision): Promise<RunTexts> {
  const { weights } = await minilm();
  const folder = dirname(weights.get('model.safetensors')!);
  const graph = buildGraph(description, await readTensorIndex(weights, folder), { pooling: 'mean', layout, precision });
  return await openGraph(graph, folder);
}

async function runInSevens(run: RunTexts): Promise<number[][]> {
  const vectors: number[][] = [];
  for (let start = 0; start < texts.length; start += 7) vectors.push(...(await run(texts.slice(start, start + 7))));
  return vectors;
}

async function runAlone(run: RunTexts): Promise<number[][]> {
  const vectors: number[][] = [];
  for (const text of texts) vectors.push(...(await run([text])));
  return vectors;
}

const cosines = (vectors: readonly number[][]): number[] =>
  vectors.map((vector, text) => vector.reduce((sum, value, index) => sum + value * expected[text]![index]!, 0));

describe('float32', () => {
  it.each([
    ['flexible', runAlone],
    ['packed', runInSevens],
    ['flexible', runInSevens],
  ] as const)('equals sentence-transformers: %s', async (layout, runAll) => {
    expect(largestDifference(await runAll(await open(layout, 'float32')), expected)).toBeLessThan(1e-5);
  });
});

describe('int8', () => {
  let alone: number[][];
  beforeAll(async () => {
    alone = await runAlone(await open('flexible', 'int8'));
  });

  it('stays close to float32', () => {
    const found = cosines(alone);
    expect(found.reduce((sum, cosine) => sum + cosine, 0) / found.length).toBeGreaterThan(0.995);
    expect(Math.min(...found)).toBeGreaterThan(0.98);
  });

  it('is the same to the last bit whoever shares the run', async () => {
    const run = await open('flexible', 'int8');
    for (const group of Map.groupBy(texts.keys(), (text) => ownBlock(texts[text]!.length)).values()) {
      const together = await run(group.map((text) => texts[text]!));
      expect(together).toEqual(group.map((text) => alone[text]!));
    }
  });
});
