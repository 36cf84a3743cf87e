// Retries with back-off: which failures may pass by themselves, how long to wait, when to give up.
import { setTimeout as sleep } from 'node:timers/promises';
import type { FetchEvent, Timeouts } from './fetch-types.ts';

/** A failure that may pass by itself. */
export class TransientError extends Error {
  override readonly name = 'TransientError';
  readonly retryAfterMs: number | undefined;
  /** No connection could be made at all: no name, no route, refused. */
  readonly unreachable: boolean;

  constructor(message: string, details: { retryAfterMs?: number; unreachable?: boolean; cause?: unknown } = {}) {
    super(message, { cause: details.cause });
    this.retryAfterMs = details.retryAfterMs;
    this.unreachable = details.unreachable ?? false;
  }
}

/** Retry-After in milliseconds: seconds or an HTTP date. */
export const parseRetryAfter = (value: string | undefined, nowMs: number): number | undefined => {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
};

export interface BackoffLimits {
  readonly maxBackoffMs: number;
}

/** Exponential from half a second, with jitter in its upper half; what the server asks for wins, up to the cap. */
export const backoffMs = (
  failures: number,
  limits: BackoffLimits,
  wish: { readonly retryAfterMs?: number | undefined; readonly random: number },
): number => {
  if (wish.retryAfterMs !== undefined) return Math.min(wish.retryAfterMs, limits.maxBackoffMs);
  const ceiling = Math.min(500 * 2 ** (failures - 1), limits.maxBackoffMs);
  return ceiling * (0.5 + wish.random / 2);
};

export interface RetryContext {
  readonly timeouts: Timeouts;
  /** Attempts when no connection can be made; less than `attempts` where another source stands ready. */
  readonly unreachableAttempts: number;
  readonly signal: AbortSignal;
  readonly random: () => number;
  readonly onEvent: (event: FetchEvent) => void;
}

/** Runs `attempt` until it succeeds, fails for good, or has failed too often in a row without gaining anything. */
export const retrying = async <T>(
  context: RetryContext,
  what: string,
  attempt: () => Promise<T>,
  gained: () => boolean = () => false,
): Promise<T> => {
  let failures = 0;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
      failures = gained() ? 1 : failures + 1;
      const allowed = error.unreachable ? context.unreachableAttempts : context.timeouts.attempts;
      if (failures >= allowed) throw error;
      const delayMs = backoffMs(failures, context.timeouts, {
        retryAfterMs: error.retryAfterMs,
        random: context.random(),
      });
      context.onEvent({ kind: 'retry', what, why: error.message, delayMs });
      await sleep(delayMs, undefined, { signal: context.signal });
    }
  }
};
