import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { distinctInputs, estimateTokens } from './requests.ts';

const inputs = fc.array(fc.oneof(fc.constantFrom('', 'a', '1', '1,2'), fc.array(fc.integer({ min: 0, max: 3 }))));

describe('distinctInputs', () => {
  it('gives every input back, each distinct one once; texts are never taken for token lists', () => {
    fc.assert(
      fc.property(inputs, (list) => {
        const { inputs: distinct, places } = distinctInputs(list);
        expect(places.map((place) => distinct[place])).toEqual(list);
        expect(new Set(distinct.map((input) => JSON.stringify(input))).size).toBe(distinct.length);
      }),
    );
  });
});

describe('estimateTokens', () => {
  it('is never beyond the limit and never nothing', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 3, max: 512 }), (text, maxTokens) => {
        const tokens = estimateTokens(text, maxTokens);
        expect(tokens).toBeGreaterThan(0);
        expect(tokens).toBeLessThanOrEqual(maxTokens);
      }),
    );
  });
});
