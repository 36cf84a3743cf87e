import fc from 'fast-check';
import { expect, it } from 'vitest';
import { backoffMs, jittered } from './backoff.ts';

it('doubles up to its limit, and stays there', () => {
  const policy = { initialMs: 100, maxMs: 1000 };
  expect([0, 1, 2, 3, 4, 5, 6, 10_000].map((failures) => backoffMs(policy, failures))).toEqual([
    100, 100, 200, 400, 800, 1000, 1000, 1000,
  ]);
});

it('is jittered within the upper half of the delay', () => {
  const below1 = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1e6 }), below1, (delayMs, random) => {
      const delay = jittered(delayMs, random);
      expect(delay).toBeGreaterThanOrEqual(delayMs / 2);
      expect(delay).toBeLessThanOrEqual(delayMs);
    }),
  );
});
