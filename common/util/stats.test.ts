import fc from 'fast-check';
import { expect, it } from 'vitest';
import { median, quantile } from './stats.ts';

it('is one of the values, with its share of them at or below it', () => {
  const values = fc.array(fc.integer(), { minLength: 1 });
  fc.assert(
    fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (given, share) => {
      const found = quantile(given, share)!;
      expect(given).toContain(found);
      expect(given.filter((value) => value <= found).length).toBeGreaterThanOrEqual(Math.floor(share * given.length));
      expect(given.filter((value) => value < found).length).toBeLessThanOrEqual(Math.ceil(share * given.length));
    }),
  );
});

it('knows the ends, the middle, and nothing', () => {
  expect([quantile([3, 1, 2], 0), quantile([3, 1, 2], 1), median([3, 1, 2]), median([4, 1, 2, 3])]).toEqual([
    1, 3, 2, 2,
  ]);
  expect(median([])).toBeUndefined();
});
