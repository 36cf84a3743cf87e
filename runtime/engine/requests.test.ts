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

/** Lists of one FNV-1a hash, different only at their ends. */
function colliding(count: number, length: number, seed: number): number[][] {
  const prefix = Array.from({ length: length - 2 }, (_, at) => at);
  const start = prefix.reduce((hash, id) => Math.imul(hash ^ id, 0x01000193), 0x811c9dc5 ^ seed ^ length);
  return Array.from({ length: count }, (_, at) => [...prefix, at, Math.imul(start ^ at, 0x01000193) ^ 7]);
}

describe('inputs made to be compared with each other', () => {
  it.each([
    ['lists', colliding(100, 500, 1)],
    ['long lists', colliding(20, 20_000, 1)],
  ])('are read a few times each: %s', (_what, lists) => {
    let reads = 0;
    const counted = lists.map(
      (list) =>
        new Proxy(list, {
          get: (target, name) => {
            reads++;
            return Reflect.get(target, name) as unknown;
          },
        }),
    );
    const { inputs: distinct } = distinctInputs(counted, 1);
    expect(distinct).toHaveLength(lists.length);
    // Once for the hash, and with each of four others.
    expect(reads).toBeLessThan(lists.flat().length * 10);
  });

  it('are still told apart, also texts that V8 hashes by their length alone', () => {
    const long = 'a'.repeat(20_000);
    const texts = Array.from({ length: 50 }, (_, at) => `${long}${at % 25}`.slice(-20_000));
    const lists = colliding(6, 10, 1);
    const list = [...texts, ...lists, ...texts, ...lists];
    const { inputs: distinct, places } = distinctInputs(list, 1);
    expect(places.map((place) => distinct[place])).toEqual(list);
    expect(distinct.length).toBeLessThan(list.length);
  });

  it('are compared with their like alone: a long text among others is found again', () => {
    const texts = Array.from({ length: 200 }, (_, at) => String.fromCharCode(97 + (at % 20)).repeat(9000));
    expect(distinctInputs(texts).inputs).toHaveLength(20);
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
