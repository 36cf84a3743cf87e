// Solo mode: a text that nothing else is open beside runs on all cores. When the first worker gets a session for that, and what stops it.
import { backoffMs } from '../../common/util/pacing.ts';
import { median } from '../../common/util/stats.ts';
import type { Batch } from '../scheduler/scheduler.ts';
import type { Pool } from './pool.ts';

// Whether the first worker's session should have all cores: while texts come one at a time, and not while requests compete.

export interface Habit {
  /** A run has ended. Whether the session should have all cores; undefined: it stays as it is. */
  ran(alone: boolean, nowMs: number): boolean | undefined;
  /** The session was replaced by one that has all cores, or has not; it took so long. */
  replaced(hasAllCores: boolean, tookMs: number): void;
  /** The worker died of a replacement, which is worth a longer wait. */
  failed(): void;
  /** The worker died, and its successor has a session as at start. */
  restarted(): void;
}

/** A moment's change of habit is not worth a new session. */
const MIN_PATIENCE_MS = 300;
/** A large model's session takes seconds: the worker is then away for a quarter of the time at most. A neighbour only ever makes it slower. */
const PATIENCE_PER_COST = 3;
/** A session that cannot be had, for want of memory perhaps, costs its worker each time. */
const PATIENCE_AFTER_FAILURE_MS = 60_000;
const MIN_LONE_RUNS = 3;

export function createHabit(): Habit {
  let hasAllCores = false;
  let patienceMs = MIN_PATIENCE_MS;
  let fastestMs = Infinity;
  /** What the last runs have in common, and how many they are. */
  let current: { readonly alone: boolean; readonly sinceMs: number; runs: number } | undefined;
  const settle = (now: boolean, patience: number): void => {
    hasAllCores = now;
    current = undefined;
    patienceMs = patience;
  };
  return {
    ran(alone, nowMs) {
      if (current?.alone !== alone) current = { alone, sinceMs: nowMs, runs: 0 };
      current.runs++;
      if (alone === hasAllCores || nowMs - current.sinceMs < patienceMs) return undefined;
      return alone && current.runs < MIN_LONE_RUNS ? undefined : alone;
    },
    replaced(now, tookMs) {
      fastestMs = Math.min(fastestMs, tookMs);
      settle(now, Math.max(MIN_PATIENCE_MS, fastestMs * PATIENCE_PER_COST));
    },
    failed: () => settle(false, PATIENCE_AFTER_FAILURE_MS),
    restarted: () => settle(false, MIN_PATIENCE_MS),
  };
}

// Whether all cores are slower than one, found out while serving. Now and then a lone text runs on one worker's cores and
// is compared with those just before it, so that both saw the same neighbours.

/** Texts from one power of two to the next are compared with each other: what sharing a run costs goes by its size. */
class LengthClass {
  /** Milliseconds per token of the last runs on all cores, the latest last. */
  readonly recent: number[] = [];
  /** Runs on all cores since the last comparison. */
  soloRuns = 0;
  comparedMs: number;
  /** The text that runs now is to be compared. */
  comparing = false;
  /** How much speaks for all cores being slower, from 0 to `ENOUGH_EVIDENCE`. */
  evidence = 0;
  /** Stops that nothing has made up for. */
  stops = 0;
  stoppedUntilMs = -Infinity;

  constructor(nowMs: number) {
    this.comparedMs = nowMs;
  }
}

/** Enough for a median that one disturbance does not move. */
const RECENT_RUNS = 5;
const MIN_RECENT_RUNS = 3;
/** Without any suspicion a comparison costs one text in a hundred or fewer half of its speed. */
const ROUTINE = { afterRuns: 100, afterMs: 10_000 };
/** Not more often: a neighbour that is busy for a second must count once. */
const SUSPICIOUS = { afterRuns: 1, afterMs: 1000 };
/** Beside a busy neighbour all cores may take a tenth longer, and half as long a moment later: that is worth no stop. */
const CLEARLY_SLOWER = 1.2;
/** What speaks against it counts twice: where clearly slower runs are no more than two in three, nothing ever comes of it. */
const ENOUGH_EVIDENCE = 12;
const COUNTER_EVIDENCE = 2;
/** When it tries again, half of the evidence still stands. */
const EVIDENCE_LEFT = ENOUGH_EVIDENCE / 2;
const STOPS = { initialMs: 30_000, maxMs: 600_000 };

export interface Comparison {
  /** Whether a lone text of so many tokens should run on all cores. To be asked once for each text. */
  prefersSolo(tokens: number, nowMs: number): boolean;
  /** A lone text has run. For how long it stops using all cores for texts of about this length; undefined: it does not. */
  ran(run: LoneRun, nowMs: number): number | undefined;
  /** There was no session with all cores for a while: what was timed before is too old to compare with. */
  forgetTimes(): void;
}

export interface LoneRun {
  readonly tokens: number;
  readonly solo: boolean;
  readonly ms: number;
}

export function createComparison(): Comparison {
  const classes = new Map<number, LengthClass>();
  const classOf = (tokens: number, nowMs: number): LengthClass => {
    const key = Math.floor(Math.log2(tokens));
    const known = classes.get(key);
    if (known) return known;
    const made = new LengthClass(nowMs);
    classes.set(key, made);
    return made;
  };

  const mayCompare = ({ recent, soloRuns, comparedMs, evidence }: LengthClass, nowMs: number): boolean => {
    const { afterRuns, afterMs } = evidence > 0 ? SUSPICIOUS : ROUTINE;
    return recent.length >= MIN_RECENT_RUNS && soloRuns >= afterRuns && nowMs - comparedMs >= afterMs;
  };

  const forget = (lengths: LengthClass): void => {
    lengths.recent.length = 0;
    lengths.soloRuns = 0;
  };

  function weigh(lengths: LengthClass, isSlower: boolean): void {
    if (isSlower) {
      lengths.evidence++;
      return;
    }
    if (lengths.evidence === 0) lengths.stops = Math.max(0, lengths.stops - 1);
    lengths.evidence = Math.max(0, lengths.evidence - COUNTER_EVIDENCE);
  }

  return {
    prefersSolo(tokens, nowMs) {
      const lengths = classOf(tokens, nowMs);
      if (nowMs < lengths.stoppedUntilMs) return false;
      lengths.comparing = mayCompare(lengths, nowMs);
      return !lengths.comparing;
    },
    ran({ tokens, solo, ms }, nowMs) {
      const lengths = classOf(tokens, nowMs);
      const { recent } = lengths;
      if (solo) {
        recent.push(ms / tokens);
        if (recent.length > RECENT_RUNS) recent.shift();
        lengths.soloRuns++;
        return undefined;
      }
      if (!lengths.comparing) return undefined;
      lengths.comparing = false;
      lengths.soloRuns = 0;
      lengths.comparedMs = nowMs;
      weigh(lengths, (median(recent) ?? 0) > (ms / tokens) * CLEARLY_SLOWER);
      if (lengths.evidence < ENOUGH_EVIDENCE) return undefined;
      const pauseMs = backoffMs(STOPS, ++lengths.stops);
      lengths.stoppedUntilMs = nowMs + pauseMs;
      lengths.evidence = EVIDENCE_LEFT;
      forget(lengths);
      return pauseMs;
    },
    forgetTimes() {
      for (const lengths of classes.values()) forget(lengths);
    },
  };
}

// Carries both out: one replacement of the session at a time.

export type SoloEvent =
  /** The first worker has another session, for lone texts or for its share of many. */
  | { readonly kind: 'session-replaced'; readonly threads: number; readonly tookMs: number }
  /** Lone texts of about so many tokens were slower on all cores, and run on one worker's for a while. */
  | { readonly kind: 'solo-stopped'; readonly tokens: number; readonly pauseMs: number };

export interface Solo {
  /** Whether a lone text of so many tokens runs on all cores now. To be asked once for each text. */
  readonly takes: (tokens: number, nowMs: number) => boolean;
  /** To be called after each run, without its time where it failed. */
  readonly ran: (batch: Pick<Batch, 'alone' | 'solo' | 'tokens'>, inferMs: number | undefined) => void;
  /** The first worker died: its successor is what it was at start. */
  readonly reset: () => void;
}

export interface SoloParts {
  readonly pool: Pick<Pool, 'replaceSession'>;
  /** Intra-op threads of the first worker's session. */
  readonly threads: { readonly solo: number; readonly shared: number };
  readonly now: () => number;
  readonly onEvent: (event: SoloEvent) => void;
}

export function createSolo({ pool, threads, now, onEvent }: SoloParts): Solo {
  const habit = createHabit();
  const comparison = createComparison();
  let hasAllCores = false;
  let replacing = false;

  async function replace(wanted: boolean): Promise<void> {
    replacing = true;
    const startedMs = now();
    const outcome = await pool.replaceSession(wanted ? threads.solo : threads.shared);
    replacing = false;
    if (outcome === 'busy') return;
    if (outcome === 'died') {
      habit.failed();
      return;
    }
    const tookMs = now() - startedMs;
    hasAllCores = wanted;
    habit.replaced(wanted, tookMs);
    comparison.forgetTimes();
    onEvent({ kind: 'session-replaced', threads: wanted ? threads.solo : threads.shared, tookMs });
  }

  return {
    // While the session is replaced, the first worker is not there for anything.
    takes: (tokens, nowMs) => hasAllCores && !replacing && comparison.prefersSolo(tokens, nowMs),
    ran({ alone, solo, tokens }, inferMs) {
      const nowMs = now();
      if (alone && hasAllCores && inferMs !== undefined) {
        const pauseMs = comparison.ran({ tokens, solo, ms: inferMs }, nowMs);
        if (pauseMs !== undefined) onEvent({ kind: 'solo-stopped', tokens, pauseMs });
      }
      const wanted = replacing ? undefined : habit.ran(alone, nowMs);
      if (wanted !== undefined) void replace(wanted);
    },
    reset() {
      hasAllCores = false;
      habit.restarted();
    },
  };
}
