import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planShards, shardCount } from './split.ts';

const tokens = fc.array(fc.integer({ min: 1, max: 600 }), { minLength: 1, maxLength: 300 });
const sum = (values: readonly number[]): number => values.reduce((total, one) => total + one, 0);

describe('planShards', () => {
  it('covers every input once, in order, with no empty shard and no more than asked for', () => {
    fc.assert(
      fc.property(tokens, fc.integer({ min: 1, max: 12 }), (inputs, count) => {
        const shards = planShards(inputs, count);
        expect(shards.length).toBeLessThanOrEqual(count);
        expect(shards.flatMap(({ start, end }) => inputs.slice(start, end))).toEqual(inputs);
        for (const { start, end, tokens: of } of shards) {
          expect(end).toBeGreaterThan(start);
          expect(of).toBe(sum(inputs.slice(start, end)));
        }
      }),
    );
  });

  it('balances: no shard is over its share by more than one input', () => {
    fc.assert(
      fc.property(tokens, fc.integer({ min: 1, max: 12 }), (inputs, count) => {
        const most = Math.max(...planShards(inputs, count).map((shard) => shard.tokens));
        expect(most).toBeLessThanOrEqual(sum(inputs) / count + Math.max(...inputs));
      }),
    );
  });
});

describe('shardCount', () => {
  it.each([
    [[100], { endpoints: 4, targetTokens: 10 }, 1],
    [[100, 100, 100], { endpoints: 4, targetTokens: 1000 }, 1],
    [Array.from({ length: 100 }, () => 100), { endpoints: 4, targetTokens: 1000 }, 4],
    [Array.from({ length: 100 }, () => 100), { endpoints: 4, targetTokens: 5000 }, 2],
    [Array.from({ length: 100 }, () => 100), { endpoints: 0, targetTokens: 5000 }, 1],
  ])('%#', (inputs, limits, expected) => {
    expect(shardCount(inputs, limits)).toBe(expected);
  });
});
