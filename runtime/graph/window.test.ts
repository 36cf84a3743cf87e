// Windows of long texts by pieces, against all scores with most of them dropped, as the layout for GPUs computes them.
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { largestDifference, openFolder } from '../../tests/helpers/graph-session.ts';

const FOLDER = join(import.meta.dirname, '../../tests/fixtures/architectures/modernbert');
/** Its window reaches less than a piece, and a text of more than four pieces is long. */
const LONG = 4 * 64;

const textOf = (length: number): number[] => Array.from({ length }, (_, at) => 5 + ((at * 37 + length) % 40));

describe('a window on both sides', () => {
  it.each([
    ['just short', [LONG]],
    ['just long', [LONG + 1]],
    ['of whole pieces', [LONG + 64]],
    ['of much more', [1000]],
    ['of texts of one length', [LONG + 7, LONG + 7]],
    ['of texts of many lengths', [1, LONG + 40, 64, 130, LONG + 3]],
  ])('gives the same by pieces: %s', async (_what, lengths) => {
    const texts = lengths.map(textOf);
    const options = { pooling: 'mean', precision: 'float32' } as const;
    const byPieces = await openFolder(FOLDER, { ...options, layout: 'flexible' });
    const whole = await openFolder(FOLDER, { ...options, layout: 'packed' });
    expect(largestDifference(await byPieces(texts), await whole(texts))).toBeLessThan(2e-6);
  });
});
