import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isLoss, isRetryable, mayTryAgain } from './forward.ts';

describe('a failed attempt', () => {
  it.each([
    [{ failure: 'connect' }, true],
    [{ failure: 'reset' }, true],
    [{ failure: 'stalled' }, true],
    [{ failure: 'aborted' }, false],
    [{ status: 421 }, true],
    [{ status: 503 }, true],
    [{ status: 200 }, false],
  ] as const)('%o may be repeated: %s', (result, expected) => {
    expect(isRetryable(result)).toBe(expected);
  });

  it('never repeats a client error or a 500', () => {
    fc.assert(
      fc.property(fc.integer({ min: 400, max: 500 }), (status) => {
        fc.pre(status !== 421);
        expect(isRetryable({ status })).toBe(false);
      }),
    );
  });

  it('a request that kills or stalls endpoints is seen by two, one that finds no door tries five', () => {
    const times = (failure: 'connect' | 'reset' | 'stalled'): number => {
      let attempts = 0;
      let losses = 0;
      while (mayTryAgain(attempts, losses)) {
        attempts += 1;
        if (isLoss({ failure })) losses += 1;
      }
      return attempts;
    };
    expect([times('reset'), times('stalled')]).toEqual([2, 2]);
    expect(times('connect')).toBe(5);
  });
});
