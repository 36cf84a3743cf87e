// Long texts by parts against all pairs at once, as the layout for GPUs computes them.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { scratchFolder } from '../../tests/helpers/scratch.ts';
import { largestDifference, loadFolder, openFolder } from '../../tests/helpers/graph-session.ts';
import { readTwin, writeTwin } from '../../tests/helpers/twins.ts';
import { buildGraph } from './build.ts';
import { heldBytes, SCORE_BYTES } from './pairs.ts';

/** Up to here all pairs are computed at once; a part has 128 queries. */
const LONG = 1024;
const LONGEST = 1400;

const textOf = (length: number): number[] => Array.from({ length }, (_, at) => 5 + ((at * 37 + length) % 40));

/** Positions are not learned in any of these, so that texts may be longer than those of the twin. */
const TWINS = ['umt5-mean', 'jina-bert-v2', 'deberta-v3', 'gemma2-last'];

describe.each(TWINS)('%s', (name) => {
  const folder = scratchFolder();
  beforeAll(async () => {
    await writeTwin(readTwin(name), folder);
    const path = join(folder, 'config.json');
    const config = JSON.parse(readFileSync(path, 'utf8')) as object;
    writeFileSync(path, JSON.stringify({ ...config, max_position_embeddings: LONGEST }));
  });

  it.each([
    ['just short', [LONG]],
    ['just long', [LONG + 1]],
    ['as long as can be', [LONGEST]],
    ['of many lengths', [1, LONG + 40, 130]],
  ])('gives the same by parts: %s', async (_what, lengths) => {
    const texts = lengths.map(textOf);
    const options = { pooling: 'mean', precision: 'float32' } as const;
    const byParts = await openFolder(folder, { ...options, layout: 'flexible' });
    const whole = await openFolder(folder, { ...options, layout: 'packed' });
    expect(largestDifference(await byParts(texts), await whole(texts))).toBeLessThan(2e-6);
  });

  it('says what it holds for each pair', async () => {
    const { description, tensors } = await loadFolder(folder);
    const { held } = buildGraph(description, tensors, { pooling: 'mean', precision: 'float32', layout: 'flexible' });
    const { num_attention_heads: heads = 0, num_heads = heads } = description.config as Record<string, number>;
    // Its scores, and at least as much more.
    expect(held.pairBytes).toBeGreaterThanOrEqual(2 * SCORE_BYTES * num_heads);
    expect(held.tokenNumbers).toBeGreaterThan(3 * description.hiddenSize);
  });
});

it('no text takes more than the longest, or the longest of those that are not computed by parts', () => {
  const most = (tokens: number, tokenBytes: number) => heldBytes(tokens, { tokenBytes, pairBytes: 1 });
  expect([10, LONG, LONG + 1, 4 * LONG].map((tokens) => most(tokens, 0))).toEqual([
    100,
    ...Array<number>(3).fill(LONG ** 2),
  ]);
  expect(most(16 * LONG, 0)).toBe(16 * LONG * 128);
  expect(most(4 * LONG, 1000)).toBe(4 * LONG * (1000 + 128));
});
