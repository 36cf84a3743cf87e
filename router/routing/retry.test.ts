import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { countAttempt, earn, FULL_BUDGET, judge, mayTryAgain, NO_ATTEMPTS, spend } from './retry.ts';
import type { RetryBudget } from './retry.ts';

describe('judge', () => {
  it.each([
    [{ failure: 'connect' }, 'retry'],
    [{ failure: 'reset' }, 'retry'],
    [{ failure: 'stalled' }, 'retry'],
    [{ failure: 'aborted' }, 'give-up'],
    [{ failure: 'deadline' }, 'give-up'],
    [{ status: 421 }, 'retry'],
    [{ status: 503 }, 'retry'],
    [{ status: 200 }, 'deliver'],
  ] as const)('%o → %s', (result, verdict) => {
    expect(judge(result)).toBe(verdict);
  });

  it('never repeats a client error or a 500', () => {
    fc.assert(
      fc.property(fc.integer({ min: 400, max: 500 }), (status) => {
        fc.pre(status !== 421);
        expect(judge({ status })).toBe('deliver');
      }),
    );
  });
});

describe('budget', () => {
  it('allows at most a fifth of the requests beyond the reserve, in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 2000 }), (steps) => {
        let budget: RetryBudget = FULL_BUDGET;
        let requests = 0;
        let retries = 0;
        for (const isRequest of steps) {
          const next = isRequest ? earn(budget) : spend(budget);
          requests += Number(isRequest);
          retries += Number(!isRequest && next !== undefined);
          budget = next ?? budget;
        }
        expect(retries).toBeLessThanOrEqual(FULL_BUDGET.tokens + requests * 0.2 + 1e-6);
      }),
    );
  });

  it('a request that keeps killing endpoints is given up sooner than one that finds no door', () => {
    const times = (failure: 'connect' | 'reset'): number => {
      let counts = NO_ATTEMPTS;
      while (mayTryAgain(counts)) counts = countAttempt(counts, { failure });
      return counts.attempts;
    };
    expect(times('reset')).toBe(3);
    expect(times('connect')).toBe(5);
  });
});
