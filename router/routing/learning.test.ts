import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FIRST_LIMIT, nextLimit } from './cap.ts';
import { estimateTokens, learn, UNLEARNED } from './estimate.ts';
import { notePace, slownessOf } from './slowness.ts';
import type { Pace } from './slowness.ts';

describe('estimate', () => {
  it('learns the ratio that usage shows, and stays sane whatever it is told', () => {
    let estimator = UNLEARNED;
    for (let step = 0; step < 100; step += 1) estimator = learn(estimator, 2000, 1000);
    expect(estimateTokens(estimator, { bytes: 2000 })).toBeCloseTo(1002, -1);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer(), fc.integer())), (samples) => {
        const { bytesPerToken } = samples.reduce((state, [bytes, tokens]) => learn(state, bytes, tokens), UNLEARNED);
        expect(bytesPerToken).toBeGreaterThanOrEqual(0.25);
        expect(bytesPerToken).toBeLessThanOrEqual(64);
      }),
    );
  });

  it('counts ids as they are, and no input beyond the model limit', () => {
    expect(estimateTokens(UNLEARNED, { tokens: 17 })).toBe(17);
    expect(estimateTokens(UNLEARNED, { bytes: 1e6 }, 256)).toBe(256);
    expect(estimateTokens(UNLEARNED, { bytes: 0 })).toBe(2);
  });
});

describe('slowness', () => {
  const after = (tookMs: number): Pace => notePace(undefined, { tookMs, tokensAhead: 64 }, 0);

  it('marks the one outlier and forgives it with time', () => {
    const paces = [after(10), after(11), after(100), after(9), undefined];
    expect(slownessOf(paces, 0)).toEqual([1, 1, expect.closeTo(10, 0), 1, 1]);
    expect(slownessOf(paces, 60_000)).toEqual([1, 1, 1, 1, 1]);
  });

  it('finds the slow one of two, and nothing when there is one', () => {
    expect(slownessOf([after(100), after(10)], 0)[0]).toBeGreaterThan(5);
    expect(slownessOf([after(100)], 0)).toEqual([1]);
  });
});

describe('cap', () => {
  const quiet = { refused: false, inFlight: 0, queueMs: 0 };

  it('shrinks below what is in flight while backlog is long, grows again when it is short', () => {
    const busy = { refused: false, inFlight: 100, queueMs: 9000 };
    expect(nextLimit(FIRST_LIMIT, busy)).toBe(80);
    expect(nextLimit(80, { ...busy, queueMs: 100, inFlight: 60 })).toBe(81);
    expect(nextLimit(FIRST_LIMIT, { ...quiet, inFlight: 10, refused: true })).toBe(8);
  });

  it('stays within its bounds, and comes back to the start when idle', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(3000))), (history) => {
        let limit = FIRST_LIMIT;
        for (const [refused, inFlight] of history) limit = nextLimit(limit, { refused, inFlight, queueMs: 0 });
        expect(limit).toBeGreaterThanOrEqual(4);
        expect(limit).toBeLessThanOrEqual(1024);
        for (let step = 0; step < FIRST_LIMIT; step += 1) limit = nextLimit(limit, quiet);
        expect(limit).toBeGreaterThanOrEqual(FIRST_LIMIT);
      }),
    );
  });
});
