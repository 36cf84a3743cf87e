import { backoffMs, jittered } from './pacing.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fullBucket, refill, reserve, take, waitMs } from './pacing.ts';

const policy = { burst: 10, perMs: 0.01 };

describe('a token bucket', () => {
  it('gives what it holds, then what comes in', () => {
    const empty = take(policy, fullBucket(policy, 0), 10, 0)!;
    expect(take(policy, empty, 1, 0)).toBeUndefined();
    expect(waitMs(policy, empty, 1, 0)).toBe(100);
    expect(take(policy, empty, 1, 100)?.tokens).toBe(0);
    expect(refill(policy, empty, 1e9).tokens).toBe(10);
  });

  it('gives more than it ever holds when it is full, and is in debt for it', () => {
    const debt = take(policy, fullBucket(policy, 0), 25, 0)!;
    expect(debt.tokens).toBe(-15);
    expect(waitMs(policy, debt, 25, 0)).toBe(2500);
  });

  it('never goes back in time', () => {
    expect(refill(policy, { tokens: 1, atMs: 100 }, 50).tokens).toBe(1);
  });

  it('never gives more than burst and rate allow, and gives after the wait that it names', () => {
    const steps = fc.array(fc.record({ pauseMs: fc.nat(2000), amount: fc.integer({ min: 1, max: 10 }) }));
    fc.assert(
      fc.property(steps, (asked) => {
        let [bucket, nowMs, given] = [fullBucket(policy, 0), 0, 0];
        for (const { pauseMs, amount } of asked) {
          nowMs += pauseMs;
          const taken = take(policy, bucket, amount, nowMs);
          // A little later than named: the sums are rounded.
          const laterMs = nowMs + waitMs(policy, bucket, amount, nowMs) + 1e-6;
          expect(take(policy, bucket, amount, laterMs)).toBeDefined();
          if (taken === undefined) continue;
          bucket = taken;
          given += amount;
          expect(given).toBeLessThanOrEqual(policy.burst + policy.perMs * nowMs + 1e-6);
        }
      }),
    );
  });

  it('lends a token, and says when it is paid back', () => {
    let bucket = fullBucket({ burst: 1, perMs: 0.01 }, 0);
    const delays = [0, 0, 0].map((nowMs) => {
      const reserved = reserve({ burst: 1, perMs: 0.01 }, bucket, nowMs);
      ({ bucket } = reserved);
      return reserved.delayMs;
    });
    expect(delays).toEqual([0, 100, 200]);
  });

  it('never promises more than its rate', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 300 }), { minLength: 1, maxLength: 100 }), (gaps) => {
        const tight = { perMs: 10 / 1000, burst: 5 };
        let bucket = fullBucket(tight, 0);
        let now = 0;
        const due = gaps.map((gap) => {
          now += gap;
          const reservation = reserve(tight, bucket, now);
          bucket = reservation.bucket;
          return now + reservation.delayMs;
        });
        // In any window from one grant to another: at most burst + rate × window.
        for (const [i, from] of due.entries()) {
          for (let j = i + 1; j < due.length; j += 1) {
            expect(j - i + 1).toBeLessThanOrEqual(5 + ((due[j]! - from) / 1000) * 10 + 1);
          }
        }
      }),
    );
  });
});

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
