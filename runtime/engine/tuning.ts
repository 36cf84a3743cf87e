// Calibrates in the first quiet moment after the start, which it must not delay, and has the result applied and kept.
import { setTimeout as sleep } from 'node:timers/promises';
import { calibrate } from './calibration.ts';
import type { Calibration, CalibrationOptions } from './calibration.ts';
import type { Pool } from './pool.ts';

/** setTimeout takes no more than 2³¹ ms. */
const LONGEST_PAUSE_MS = 86_400_000;

export interface TuningOptions extends CalibrationOptions {
  readonly pool: Pick<Pool, 'run'>;
  /** Before the first attempt; twice as long before each further one, so that a machine that is never quiet is left alone. */
  readonly pauseMs: number;
  readonly signal: AbortSignal;
  /** Gives the first worker all cores. False: not now. */
  readonly widen: () => Promise<boolean>;
}

/** Undefined when it was stopped before there was a quiet moment, or a worker died of it. */
export async function tuneWhenQuiet({
  pool,
  pauseMs,
  signal,
  widen,
  ...options
}: TuningOptions): Promise<Calibration | undefined> {
  try {
    for (let pause = pauseMs; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      await sleep(pause, undefined, { signal, ref: false });
      const found = options.isQuiet() && (await widen()) ? await calibrate(pool, options) : undefined;
      if (found !== undefined) return found;
    }
  } catch {
    return undefined;
  }
}
