// Exponential back-off with jitter that forgets its failures after a quiet time; pure.

export interface BackoffPolicy {
  readonly initialMs: number;
  readonly maxMs: number;
  /** A failure that comes this long after the last one counts as the first. */
  readonly resetAfterMs: number;
  /** 1: a delay is drawn from [d, 2d). */
  readonly jitter: number;
}

export interface BackoffState {
  readonly failures: number;
  readonly lastFailureAt: number;
}

export const NO_FAILURES: BackoffState = { failures: 0, lastFailureAt: 0 };

/** `random` is in [0, 1). */
export function backOff(
  policy: BackoffPolicy,
  state: BackoffState,
  now: number,
  random: number,
): { readonly state: BackoffState; readonly delayMs: number } {
  const failures = state.failures > 0 && now - state.lastFailureAt > policy.resetAfterMs ? 0 : state.failures;
  const base = Math.min(policy.initialMs * 2 ** Math.min(failures, 30), policy.maxMs);
  const delayMs = Math.round(base * (1 + policy.jitter * random));
  // The delay itself is no healthy time.
  return { state: { failures: failures + 1, lastFailureAt: now + delayMs }, delayMs };
}
