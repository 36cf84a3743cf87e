import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { earn, estimateTokens, FULL_BUDGET, learn, spend, UNLEARNED } from './model.ts';
import type { RetryBudget } from './model.ts';

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

describe('the retry budget', () => {
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
});
