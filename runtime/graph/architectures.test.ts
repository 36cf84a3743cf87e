// Every architecture, layout and pooling against the vectors that transformers computes for the same random weights.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { largestDifference, openFolder, readJson } from '../../tests/helpers/graph-session.ts';

const FIXTURES = join(import.meta.dirname, '../../tests/fixtures/architectures');
const POOLINGS = ['mean', 'cls'] as const;

interface Reference {
  readonly texts: readonly number[][];
  readonly mean: readonly number[][];
  readonly cls: readonly number[][];
}

describe.each(readdirSync(FIXTURES))('%s', (name) => {
  const folder = join(FIXTURES, name);
  const reference = readJson(join(folder, 'reference.json')) as Reference;
  const lengthOf = (text: number) => reference.texts[text]!.length;

  it.each(POOLINGS)('gives the reference vectors in runs of one length, %s', async (pooling) => {
    const run = await openFolder(folder, { pooling, layout: 'flexible', precision: 'float32' });
    for (const texts of Map.groupBy(reference.texts.keys(), lengthOf).values()) {
      const actual = await run(texts.map((text) => reference.texts[text]!));
      const expected = texts.map((text) => reference[pooling][text]!);
      expect(largestDifference(actual, expected)).toBeLessThan(1e-5);
    }
  });

  it.each([
    ...POOLINGS.map((pooling) => ({ pooling, layout: 'packed' as const })),
    ...POOLINGS.map((pooling) => ({ pooling, layout: 'flexible' as const })),
  ])('gives the reference vectors in any company: $layout, $pooling', async ({ pooling, layout }) => {
    const run = await openFolder(folder, { pooling, layout, precision: 'float32' });
    for (const texts of [[0, 1, 2, 3, 4, 5], [5, 0, 3], [1], [3], [4, 4]]) {
      const actual = await run(texts.map((text) => reference.texts[text]!));
      const expected = texts.map((text) => reference[pooling][text]!);
      expect(largestDifference(actual, expected)).toBeLessThan(1e-5);
    }
  });

  it.each(['packed', 'flexible'] as const)('computes in float16 too, %s', async (layout) => {
    const run = await openFolder(folder, { pooling: 'mean', layout, precision: 'float16' });
    const actual = await run([reference.texts[2]!, reference.texts[3]!]);
    expect(largestDifference(actual, reference.mean.slice(2, 4))).toBeLessThan(2e-2);
  });

  it('computes in int8 too, whatever texts of the same length are beside', async () => {
    const run = await openFolder(folder, { pooling: 'mean', layout: 'flexible', precision: 'int8' });
    const [first, second] = [reference.texts[2]!, reference.texts[3]!];
    const together = await run([first, second]);
    const cosines = together.map((vector, text) =>
      vector.reduce((sum, value, index) => sum + value * reference.mean[2 + text]![index]!, 0),
    );
    expect(Math.min(...cosines)).toBeGreaterThan(0.98);
    expect(largestDifference(together, [...(await run([first])), ...(await run([second]))])).toBeLessThan(1e-6);
  });
});
