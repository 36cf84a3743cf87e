import { expect, it } from 'vitest';
import { readBulkOptions } from '../options.ts';
import { renderBulk } from './report.ts';
import type { BulkSample, Side } from './report.ts';

const sample = (peer: Side, round: number, found: Partial<BulkSample>): BulkSample => ({
  ...{ peer, round, cell: 'sentences', tokensPerSecond: 1000, serverCpu: 240, clientCpu: 10, foreignCores: 0.1 },
  ...found,
});

it('compares within rounds, and says which target is missed', () => {
  // The machine is half as fast in the second round: for both.
  const samples = [
    sample('bench', 0, { tokensPerSecond: 8000 }),
    sample('bulk', 0, { tokensPerSecond: 7600, clientCpu: 12.34 }),
    sample('bench', 1, { tokensPerSecond: 4000 }),
    sample('bulk', 1, { tokensPerSecond: 3800, clientCpu: 12.34, foreignCores: 0.42 }),
    sample('bench', 0, { cell: 'passages' }),
    sample('bulk', 0, { cell: 'passages', tokensPerSecond: 890 }),
  ];
  const kinds = [
    { name: 'sentences', rows: 12_000 },
    { name: 'passages', rows: 1200 },
  ];
  const markdown = renderBulk({ samples, kinds, circumstances: ['here'] });
  expect(markdown).toMatch(
    /\| sentences \| 12,000 \| 6,000 \| 5,700 \| 0\.95 \| met \| 0\.99 \| 240 \| 240 \| 12\.3 \| 0\.42 \|/,
  );
  expect(markdown).toMatch(/\| passages .*\| 0\.89 \| \*\*missed\*\* \| 1\.00 \|/);
});

it('writes the document after a whole run alone', () => {
  expect(readBulkOptions([])).toMatchObject({ rounds: 3, seconds: 12, tokens: 200_000, write: true });
  expect(readBulkOptions(['--rounds', '1'])).toMatchObject({ rounds: 1, write: false });
  expect(() => readBulkOptions(['--tokens', '10'])).toThrow('--tokens: 10 is not a whole number from 10000');
});
