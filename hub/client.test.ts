import { expect, test } from 'vitest';
import { TransientError, createHubClient, parseRetryAfter, retryDelayMs, retrying } from './client.ts';
import type { Retry, RetryPolicy } from './client.ts';

const policy = (retries: Retry[] = []): RetryPolicy => ({
  timeouts: { connectMs: 1, headersMs: 1, stallMs: 1, maxBackoffMs: 1, attempts: 3 },
  unreachableAttempts: 1,
  signal: new AbortController().signal,
  random: () => 0,
  onRetry: (retry) => retries.push(retry),
});

const failing = (error: Error) => {
  const calls = { count: 0 };
  return {
    calls,
    attempt: async () => {
      calls.count += 1;
      return await Promise.reject(error);
    },
  };
};

test('Retry-After as seconds, as a date, and as nonsense', () => {
  expect(parseRetryAfter('7', 0)).toBe(7000);
  expect(parseRetryAfter('Thu, 01 Jan 1970 00:00:09 GMT', 4000)).toBe(5000);
  expect(parseRetryAfter('Thu, 01 Jan 1970 00:00:09 GMT', 20_000)).toBe(0);
  expect(parseRetryAfter('soon', 0)).toBeUndefined();
  expect(parseRetryAfter(undefined, 0)).toBeUndefined();
});

test('back-off doubles up to the cap, never below half; what the server asks for wins up to the cap', () => {
  const limits = { maxBackoffMs: 3000 };
  const ceilings = [1, 2, 3, 4, 9].map((failures) => retryDelayMs(failures, limits, { random: 1 }));
  expect(ceilings).toEqual([500, 1000, 2000, 3000, 3000]);
  expect(retryDelayMs(1, limits, { random: 0 })).toBe(250);
  expect(retryDelayMs(1, limits, { retryAfterMs: 2500, random: 0 })).toBe(2500);
  expect(retryDelayMs(1, limits, { retryAfterMs: 99_999, random: 0 })).toBe(3000);
});

test('gives up after the attempts allowed, sooner when nothing can be reached', async () => {
  const transient = failing(new TransientError('cut'));
  await expect(retrying(policy(), 'x', transient.attempt)).rejects.toThrow('cut');
  expect(transient.calls.count).toBe(3);
  const unreachable = failing(new TransientError('refused', { unreachable: true }));
  await expect(retrying(policy(), 'x', unreachable.attempt)).rejects.toThrow('refused');
  expect(unreachable.calls.count).toBe(1);
});

test('a failure for good is not repeated', async () => {
  const final = failing(new Error('no'));
  await expect(retrying(policy(), 'x', final.attempt)).rejects.toThrow('no');
  expect(final.calls.count).toBe(1);
});

test('as long as something is gained it goes on', async () => {
  let left = 10;
  const attempt = async (): Promise<string> => {
    left -= 1;
    return left > 0 ? await Promise.reject(new TransientError('cut')) : 'done';
  };
  const retries: Retry[] = [];
  await expect(retrying(policy(retries), 'x', attempt, { own: () => true })).resolves.toBe('done');
  expect(retries.length).toBe(9);
});

test('while something is gained beside it, it goes on, with pauses that stay short', async () => {
  let gains = 10;
  const { attempt } = failing(new TransientError('busy'));
  const retries: Retry[] = [];
  const beside = (): boolean => gains-- > 0;
  await expect(retrying(policy(retries), 'x', attempt, { own: () => false, beside })).rejects.toThrow('busy');
  expect(retries.length).toBe(11);
});

test.each(['http://me:sec/ret@mirror', 'me:secret@mirror', 'ftp://me:sec@ret@mirror'])(
  'an endpoint that is none is named without what may be its password: %s',
  (endpoint) => {
    const make = (): unknown => createHubClient({ endpoint, token: undefined });
    expect(make).toThrow(/HF_ENDPOINT is ".*…@mirror", which is no http/);
    expect(make).not.toThrow(/sec|ret/);
  },
);
