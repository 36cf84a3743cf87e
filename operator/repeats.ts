// Repeats: the same object applied from the same manifest again and again, since somebody changes it back each time. Reconciles that
// succeed know no back-off: without a limit two that disagree write as fast as they can, for ever.
import type { Clock } from '../kube/clock.ts';
import { formatKey } from '../kube/types.ts';
import type { ObjectKey } from '../kube/types.ts';

export interface Repeats {
  /** The manifest from which the object is not to be applied for now. */
  readonly paused: (id: string) => Pause | undefined;
  /** @returns whether it is left alone from now on */
  readonly applied: (id: string, hash: string) => boolean;
}

export interface Pause {
  readonly hash: string;
  readonly leftMs: number;
}

interface History {
  readonly hash: string;
  /** Of the last minute. */
  readonly times: readonly number[];
  readonly pausedUntil: number;
  readonly lastPauseMs: number;
}

const WINDOW_MS = 60_000;
const MAX_REPEATS = 5;
const MAX_PAUSE_MS = 600_000;
/** The longest untouched are forgotten first. */
const MAX_REMEMBERED = 10_000;

export const repeatId = (kind: string, key: ObjectKey): string => `${kind} ${formatKey(key)}`;

export function createRepeats(clock: Pick<Clock, 'now'>): Repeats {
  const histories = new Map<string, History>();

  function remember(id: string, history: History): void {
    histories.delete(id);
    histories.set(id, history);
    const [oldest] = histories.keys();
    if (histories.size > MAX_REMEMBERED && oldest !== undefined) histories.delete(oldest);
  }

  return {
    paused: (id) => {
      const history = histories.get(id);
      const leftMs = (history?.pausedUntil ?? 0) - clock.now();
      return history !== undefined && leftMs > 0 ? { hash: history.hash, leftMs } : undefined;
    },
    applied: (id, hash) => {
      const now = clock.now();
      const before = histories.get(id);
      // Another manifest is a new intention: nothing is repeated.
      if (before?.hash !== hash) {
        remember(id, { hash, times: [now], pausedUntil: 0, lastPauseMs: 0 });
        return false;
      }
      const times = [...before.times.filter((time) => time > now - WINDOW_MS), now];
      if (times.length <= MAX_REPEATS) {
        remember(id, { ...before, times });
        return false;
      }
      const lastPauseMs = Math.min(Math.max(WINDOW_MS, before.lastPauseMs * 2), MAX_PAUSE_MS);
      remember(id, { hash, times: [], pausedUntil: now + lastPauseMs, lastPauseMs });
      return true;
    },
  };
}
