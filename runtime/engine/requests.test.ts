import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EngineInput } from './contract.ts';
import { checkTokenLists, distinctInputs, estimateTokens } from './requests.ts';
import type { DistinctInputs, Steps } from './requests.ts';

function run<T>(steps: Steps<T>): { readonly result: T; readonly steps: number } {
  for (let count = 1; ; count++) {
    const { done, value } = steps.next();
    if (done === true) return { result: value, steps: count };
  }
}

const distinctOf = (list: readonly EngineInput[], seed?: number): DistinctInputs =>
  run(distinctInputs(list, seed)).result;

const inputs = fc.array(fc.oneof(fc.constantFrom('', 'a', '1', '1,2'), fc.array(fc.integer({ min: 0, max: 3 }))));

describe('distinctInputs', () => {
  it('gives every input back, each distinct one once; texts are never taken for token lists', () => {
    fc.assert(
      fc.property(inputs, (list) => {
        const { inputs: distinct, places } = distinctOf(list);
        expect(places.map((place) => distinct[place])).toEqual(list);
        expect(new Set(distinct.map((input) => JSON.stringify(input))).size).toBe(distinct.length);
      }),
    );
  });
});

describe('millions of ids', () => {
  const packed = new Int32Array(2_000_000).fill(7);
  const lists = Array.from({ length: 1000 }, (_, at) => packed.subarray(at * 2000, (at + 1) * 2000));

  it('are looked at in steps, packed as they are', () => {
    packed[1_999_999] = 8;
    const { result, steps } = run(distinctInputs(lists));
    expect(result.inputs).toEqual([lists[0], lists[999]]);
    expect(result.places).toEqual([...Array<number>(999).fill(0), 1]);
    expect([steps, run(checkTokenLists(lists, 9)).steps]).toEqual([11, 11]);
    expect(() => run(checkTokenLists(lists, 8))).toThrow('Token 8 at position 1999 of input 999');
  });

  it('that are few take one', () => {
    expect([run(distinctInputs([[1], 'a'])).steps, run(checkTokenLists([[1], 'a'], 2)).steps]).toEqual([1, 1]);
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
    const { inputs: distinct } = distinctOf(counted, 1);
    expect(distinct).toHaveLength(lists.length);
    // Once for the hash, and with each of four others.
    expect(reads).toBeLessThan(lists.flat().length * 10);
  });

  it('are still told apart, also texts that V8 hashes by their length alone', () => {
    const long = 'a'.repeat(20_000);
    const texts = Array.from({ length: 50 }, (_, at) => `${long}${at % 25}`.slice(-20_000));
    const lists = colliding(6, 10, 1);
    const list = [...texts, ...lists, ...texts, ...lists];
    const { inputs: distinct, places } = distinctOf(list, 1);
    expect(places.map((place) => distinct[place])).toEqual(list);
    expect(distinct.length).toBeLessThan(list.length);
  });

  it('are compared with their like alone: a long text among others is found again', () => {
    const texts = Array.from({ length: 200 }, (_, at) => String.fromCharCode(97 + (at % 20)).repeat(9000));
    expect(distinctOf(texts).inputs).toHaveLength(20);
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
