import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OpenAIError } from '../../common/openai/errors.ts';
import type { ServedModel } from '../routing/table.ts';
import type { ApiKey } from './api-keys.ts';
import { createAuthenticator, createRateLimiter, printDuration } from './limits.ts';

const HASH_OF_FOO = '2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae';
const KEY: ApiKey = { name: 'a', models: undefined, requestsPerMinute: undefined, tokensPerMinute: undefined };

describe('rate', () => {
  it('never lets more through than the limit and what refilled', () => {
    const step = fc.tuple(fc.integer({ min: 0, max: 5000 }), fc.integer({ min: 1, max: 40 }));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.array(step), (tokensPerMinute, steps) => {
        let now = 0;
        let passed = 0;
        const limiter = createRateLimiter(() => now);
        for (const [pause, amount] of steps) {
          now += pause;
          try {
            limiter({ ...KEY, tokensPerMinute }, amount);
            passed += amount;
          } catch (error) {
            expect(error instanceof OpenAIError && Number(error.headers['retry-after-ms'])).toBeGreaterThan(0);
          }
        }
        // One request larger than the whole limit may overdraw a full budget.
        expect(passed).toBeLessThanOrEqual(tokensPerMinute + (tokensPerMinute * now) / 60_000 + 40);
      }),
    );
  });

  it('charges nothing for what it refuses, and what was used in place of what was estimated', () => {
    const limiter = createRateLimiter(() => 0);
    const key = { ...KEY, requestsPerMinute: 2, tokensPerMinute: 100 };
    const left = (headers: readonly (readonly [string, string])[], unit: string) =>
      headers.find(([name]) => name === `x-ratelimit-remaining-${unit}`)?.[1];
    const first = limiter(key, 90);
    expect([left(first.headers, 'requests'), left(first.headers, 'tokens')]).toEqual(['1', '10']);
    expect(() => limiter(key, 20)).toThrow(/tokens per minute/);
    first.settle(30);
    const second = limiter(key, 20);
    expect([left(second.headers, 'requests'), left(second.headers, 'tokens')]).toEqual(['0', '50']);
    expect(() => limiter(key, 1)).toThrow(/requests per minute/);
  });

  it('does not start anew when a key is replaced, but where its limit is another', () => {
    const limiter = createRateLimiter(() => 0);
    limiter({ ...KEY, requestsPerMinute: 1 }, 1);
    expect(() => limiter({ ...KEY, requestsPerMinute: 1 }, 1)).toThrow();
    expect(() => limiter({ ...KEY, requestsPerMinute: 2 }, 1)).not.toThrow();
  });

  it.each([
    [12.2, '13ms'],
    [1000, '1s'],
    [59_001, '1m0s'],
    [360_000, '6m0s'],
  ])('prints %d ms as %s', (ms, text) => {
    expect(printDuration(ms)).toBe(text);
  });
});

describe('the authenticator', () => {
  it('knows nobody before the keys were read, and no one without a key that it knows', () => {
    let keys = undefined as ReadonlyMap<string, ApiKey> | undefined;
    const { authenticate } = createAuthenticator(
      () => keys,
      createRateLimiter(() => 0),
    );
    const status = (authorization?: string): number => {
      try {
        authenticate(authorization === undefined ? {} : { authorization });
        return 200;
      } catch (error) {
        return error instanceof OpenAIError ? error.status : 0;
      }
    };
    expect(status('Bearer sk-1')).toBe(503);
    keys = new Map([[HASH_OF_FOO, KEY]]);
    expect([status(), status('Basic foo'), status('Bearer '), status('Bearer fooo')]).toEqual([401, 401, 401, 401]);
    expect(status('Bearer foo')).toBe(200);
  });

  it('are shared by the routers there are, and are never none', () => {
    let nowMs = 0;
    const limiters = Array.from({ length: 3 }, () => createRateLimiter(() => nowMs, 3));
    const given = (key: ApiKey): number => {
      let count = 0;
      for (const limiter of limiters) {
        for (let time = 0; time < 100; time += 1) {
          try {
            limiter(key, 1);
            count += 1;
          } catch (refusal) {
            expect(refusal).toMatchObject({ kind: 'rate_limit_exceeded' });
          }
        }
      }
      return count;
    };
    const many = { ...KEY, name: 'many', requestsPerMinute: 60 };
    expect(given(many)).toBe(60);
    nowMs += 60_000;
    expect(given(many)).toBe(60);
    const one = { ...KEY, name: 'one', requestsPerMinute: 1 };
    expect(given(one)).toBe(3);
    nowMs += 60_000;
    // What a bucket of one may give at the start is not there again a minute later.
    expect(given(one)).toBe(0);
  });

  it('lets a key use the names it lists', () => {
    const keys = new Map([[HASH_OF_FOO, { ...KEY, models: new Set(['alias']) }]]);
    const caller = createAuthenticator(
      () => keys,
      createRateLimiter(() => 0),
    ).authenticate({
      authorization: 'bearer foo',
    });
    const model = (names: readonly string[]) => ({ model: 'org/m', names }) as ServedModel;
    expect([caller.mayUse(model(['org/m', 'alias'])), caller.mayUse(model(['org/m']))]).toEqual([true, false]);
  });
});
