import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { earn, estimateTokens, FULL_BUDGET, learn, spend, FIRST_BYTES_PER_TOKEN } from './model.ts';

describe('estimate', () => {
  it('learns the ratio that usage shows, and stays sane whatever it is told', () => {
    let bytesPerToken = FIRST_BYTES_PER_TOKEN;
    for (let step = 0; step < 100; step += 1) bytesPerToken = learn(bytesPerToken, 2000, 1000);
    expect(estimateTokens(bytesPerToken, { bytes: 2000 })).toBeCloseTo(1002, -1);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer(), fc.integer())), (samples) => {
        const learned = samples.reduce((state, [bytes, tokens]) => learn(state, bytes, tokens), FIRST_BYTES_PER_TOKEN);
        expect(learned).toBeGreaterThanOrEqual(0.25);
        expect(learned).toBeLessThanOrEqual(64);
      }),
    );
  });

  it('counts ids as they are, and no input beyond the model limit', () => {
    expect(estimateTokens(FIRST_BYTES_PER_TOKEN, { tokens: 17 })).toBe(17);
    expect(estimateTokens(FIRST_BYTES_PER_TOKEN, { bytes: 1e6 }, 256)).toBe(256);
    expect(estimateTokens(FIRST_BYTES_PER_TOKEN, { bytes: 0 })).toBe(2);
  });
});

describe('the retry budget', () => {
  it('allows at most a fifth of the requests beyond the reserve, in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 2000 }), (steps) => {
        let budget = FULL_BUDGET;
        let requests = 0;
        let retries = 0;
        for (const isRequest of steps) {
          const next = isRequest ? earn(budget) : spend(budget);
          requests += Number(isRequest);
          retries += Number(!isRequest && next !== undefined);
          budget = next ?? budget;
        }
        expect(retries).toBeLessThanOrEqual(FULL_BUDGET + requests * 0.2 + 1e-6);
      }),
    );
  });
});
