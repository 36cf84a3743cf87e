import { expect, it } from 'vitest';
import { renderFront } from './report.ts';
import type { FrontWindow } from './report.ts';

const windowOf = (fronts: number, perSecond: number, busiestMicroseconds: number): FrontWindow => ({
  fronts,
  perSecond,
  serverMicroseconds: 200,
  busiestMicroseconds,
  mainMicroseconds: 20,
  clientCores: 0.1,
});

it('compares within a round, and says what each thread allows by itself', () => {
  const windows = [windowOf(1, 5000, 190), windowOf(2, 9000, 100), windowOf(1, 4000, 200), windowOf(2, 8000, 100)];
  const [, table = ''] = renderFront(windows, ['a machine']).split('\n\n');
  const rows = table
    .split('\n')
    .slice(2)
    .map((row) =>
      row
        .split('|')
        .map((cell) => cell.trim())
        .slice(1, -1),
    );
  expect(rows).toEqual([
    ['1', '4,500', '1.00 ×', '200', '20', '195', '5,128', '1.00 ×', '0.10'],
    ['2', '8,500', '1.90 × (1.80 × to 2.00 ×)', '200', '20', '100', '10,000', '1.95 × (1.90 × to 2.00 ×)', '0.10'],
  ]);
});
