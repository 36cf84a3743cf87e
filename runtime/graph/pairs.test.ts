// Long texts by parts against all pairs at once, as the layout for GPUs computes them.
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { largestDifference, openFolder } from '../../tests/helpers/graph-session.ts';
import { readTwin, writeTwin } from '../../tests/helpers/twins.ts';

/** Up to here all pairs are computed at once; a part has 128 queries. */
const LONG = 1024;
const LONGEST = 1400;

const textOf = (length: number): number[] => Array.from({ length }, (_, at) => 5 + ((at * 37 + length) % 40));

/** Positions are not learned in any of these, so that texts may be longer than those of the twin. */
const TWINS = ['umt5-mean', 'jina-bert-v2', 'deberta-v3', 'gemma2-last'];

describe.each(TWINS)('%s', (name) => {
  const folder = mkdtempSync(join(tmpdir(), 'pairs-'));
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
});
