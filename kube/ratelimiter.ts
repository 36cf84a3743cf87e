// When to try a key again: exponential per key, and an overall bucket so that many failing keys do not add up to a storm.
import type { Clock } from './clock.ts';

export interface RateLimits {
  readonly initialMs: number;
  readonly maxMs: number;
  readonly perSecond: number;
  readonly burst: number;
}

export const DEFAULT_RATE_LIMITS: RateLimits = { initialMs: 50, maxMs: 300_000, perSecond: 10, burst: 100 };

export interface Bucket {
  /** Negative: promised already. */
  readonly tokens: number;
  readonly at: number;
}

/** Takes one token, on credit if need be; the delay is until that credit is paid. */
export function reserve(
  { perSecond, burst }: Pick<RateLimits, 'perSecond' | 'burst'>,
  bucket: Bucket,
  now: number,
): { readonly bucket: Bucket; readonly delayMs: number } {
  const refilled = Math.min(burst, bucket.tokens + ((now - bucket.at) / 1000) * perSecond);
  const tokens = refilled - 1;
  return { bucket: { tokens, at: now }, delayMs: Math.max(0, Math.ceil((-tokens / perSecond) * 1000)) };
}

export interface RateLimiter {
  /** Counts a failure of this key and says how long to wait. */
  when(key: string): number;
  forget(key: string): void;
  /** Failures since the key was last forgotten. */
  retries(key: string): number;
}

export function createRateLimiter(clock: Pick<Clock, 'now'>, limits: RateLimits = DEFAULT_RATE_LIMITS): RateLimiter {
  const failures = new Map<string, number>();
  let bucket: Bucket = { tokens: limits.burst, at: clock.now() };
  return {
    when(key) {
      const count = failures.get(key) ?? 0;
      failures.set(key, count + 1);
      const reservation = reserve(limits, bucket, clock.now());
      bucket = reservation.bucket;
      return Math.max(Math.min(limits.initialMs * 2 ** Math.min(count, 30), limits.maxMs), reservation.delayMs);
    },
    forget: (key) => void failures.delete(key),
    retries: (key) => failures.get(key) ?? 0,
  };
}
