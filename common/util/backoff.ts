// Exponential back-off: how long to wait after so many failures in a row. Pure.

export interface BackoffPolicy {
  readonly initialMs: number;
  readonly maxMs: number;
}

/** Doubles from `initialMs` to `maxMs`; `failures` counts from 1. */
export const backoffMs = ({ initialMs, maxMs }: BackoffPolicy, failures: number): number =>
  Math.min(initialMs * 2 ** Math.min(Math.max(failures - 1, 0), 30), maxMs);

/** Drawn from the upper half of the delay, so that those who failed together do not return together; `random` in [0, 1). */
export const jittered = (delayMs: number, random: number): number => delayMs * (0.5 + random / 2);
