// Decides whether the first worker should have all cores: while texts come one at a time, and not while requests compete. Pure.

export type Width = 'wide' | 'narrow';

export interface Widening {
  /** A run has ended. What the first worker should become; undefined: it stays as it is. */
  ran(alone: boolean, nowMs: number): Width | undefined;
  /** It has become so, which took so long. */
  became(width: Width, tookMs: number): void;
  /** It died of the change, and is narrow. */
  failed(): void;
  /** What the first worker is. */
  width(): Width;
}

/** A moment's change of habit is not worth a new session. */
const LEAST_PATIENCE_MS = 300;
/** A large model's session takes seconds: the worker is then away for a quarter of the time at most. */
const PATIENCE_PER_COST = 3;
/** A session that cannot be had, for want of memory perhaps, costs its worker each time. */
const PATIENCE_AFTER_FAILURE_MS = 60_000;
const ENOUGH_ALONE = 3;

export function createWidening(): Widening {
  let width: Width = 'narrow';
  let patienceMs = LEAST_PATIENCE_MS;
  /** Of the habit that now lasts: its kind, its first run, and how many there were. */
  let habit: { readonly alone: boolean; readonly sinceMs: number; runs: number } | undefined;

  return {
    ran(alone, nowMs) {
      if (habit?.alone !== alone) habit = { alone, sinceMs: nowMs, runs: 0 };
      habit.runs++;
      const wanted: Width = alone ? 'wide' : 'narrow';
      if (wanted === width || nowMs - habit.sinceMs < patienceMs) return undefined;
      return alone && habit.runs < ENOUGH_ALONE ? undefined : wanted;
    },
    became(now, tookMs) {
      width = now;
      habit = undefined;
      patienceMs = Math.max(LEAST_PATIENCE_MS, tookMs * PATIENCE_PER_COST);
    },
    failed() {
      width = 'narrow';
      habit = undefined;
      patienceMs = PATIENCE_AFTER_FAILURE_MS;
    },
    width: () => width,
  };
}
