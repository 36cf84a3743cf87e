// WorkQueue: keys that await work. A key waits at most once, is worked on by one worker at a time, and none is lost.
import { backoffMs, fullBucket, reserve } from '../common/util/pacing.ts';
import type { Clock } from './clock.ts';

/** What just changed goes before what is only looked at again. */
export type Priority = 'live' | 'resync';

/** Seconds throughout, as client-go's workqueue metrics. */
export interface WorkQueueMetrics {
  added(): void;
  taken(waitedSeconds: number): void;
  finished(workedSeconds: number): void;
}

export interface WorkQueue {
  add(key: string, priority?: Priority): void;
  /** Of several calls for a key, the earliest moment stands. */
  addAfter(key: string, delayMs: number, priority?: Priority): void;
  /** The next key; undefined once the queue is shut down. */
  take(): Promise<string | undefined>;
  /** Must follow every `take`. */
  done(key: string): void;
  /** Nothing more is handed out; who waits gets undefined. */
  shutDown(): void;
  readonly depth: number;
  /** Start times of the work in progress, by the queue's clock. */
  readonly inProgress: () => readonly number[];
}

interface Waiting {
  readonly since: number;
  readonly priority: Priority;
}

interface Delayed {
  readonly at: number;
  readonly priority: Priority;
  readonly cancel: () => void;
}

const IGNORE: WorkQueueMetrics = { added: () => undefined, taken: () => undefined, finished: () => undefined };
const higher = (a: Priority, b: Priority): Priority => (a === 'live' || b === 'live' ? 'live' : 'resync');

export function createWorkQueue(clock: Clock, metrics: WorkQueueMetrics = IGNORE): WorkQueue {
  // Maps keep insertion order: each is a FIFO queue that can be searched.
  const queues: Record<Priority, Map<string, Waiting>> = { live: new Map(), resync: new Map() };
  /** Added while being worked on. */
  const again = new Map<string, Waiting>();
  const processing = new Map<string, number>();
  const delayed = new Map<string, Delayed>();
  const takers: ((key: string | undefined) => void)[] = [];
  let down = false;

  function enqueue(key: string, waiting: Waiting): void {
    const { live, resync } = queues;
    const queued = live.get(key) ?? resync.get(key);
    if (!queued) queues[waiting.priority].set(key, waiting);
    else if (queued.priority === 'resync' && waiting.priority === 'live') {
      resync.delete(key);
      live.set(key, { since: queued.since, priority: 'live' });
    }
  }

  function hand(): void {
    while (takers.length > 0) {
      const next = first();
      if (next === undefined) return;
      takers.shift()?.(next);
    }
  }

  function first(): string | undefined {
    for (const queue of [queues.live, queues.resync]) {
      for (const [key, { since }] of queue) {
        queue.delete(key);
        processing.set(key, clock.now());
        metrics.taken((clock.now() - since) / 1000);
        return key;
      }
    }
    return undefined;
  }

  function add(key: string, priority: Priority = 'live'): void {
    if (down) return;
    const waiting = { since: clock.now(), priority };
    const before = again.get(key);
    if (!before && !queues.live.has(key) && !queues.resync.has(key)) metrics.added();
    if (processing.has(key))
      again.set(key, before ? { ...before, priority: higher(before.priority, priority) } : waiting);
    else enqueue(key, waiting);
    hand();
  }

  return {
    add,
    addAfter(key, delayMs, priority = 'live') {
      if (down) return;
      if (delayMs <= 0) {
        add(key, priority);
        return;
      }
      const pending = delayed.get(key);
      const now = clock.now();
      const at = Math.min(now + delayMs, pending?.at ?? Infinity);
      const strongest = higher(priority, pending?.priority ?? priority);
      pending?.cancel();
      // A busy process fires late: what is overdue by now is due at once.
      const cancel = clock.setTimeout(
        () => {
          delayed.delete(key);
          add(key, strongest);
        },
        Math.max(0, at - now),
      );
      delayed.set(key, { at, priority: strongest, cancel });
    },
    take: async () => {
      if (down) return undefined;
      const key = first();
      return key ?? (await new Promise<string | undefined>((resolve) => takers.push(resolve)));
    },
    done(key) {
      const started = processing.get(key);
      if (started === undefined) return;
      processing.delete(key);
      metrics.finished((clock.now() - started) / 1000);
      const waiting = again.get(key);
      again.delete(key);
      if (!waiting || down) return;
      enqueue(key, waiting);
      hand();
    },
    shutDown() {
      down = true;
      for (const { cancel } of delayed.values()) cancel();
      for (const map of [queues.live, queues.resync, again, delayed]) map.clear();
      for (const taker of takers.splice(0)) taker(undefined);
    },
    get depth() {
      return queues.live.size + queues.resync.size;
    },
    inProgress: () => [...processing.values()],
  };
}

// When to try a key again: exponential per key, and one bucket for all so that many failing keys do not add up to a storm

const KEY_BACKOFF = { initialMs: 50, maxMs: 300_000 };
const ALL_KEYS = { perMs: 10 / 1000, burst: 100 };

export interface RateLimiter {
  /** Counts a failure of this key and says how many milliseconds to wait. */
  when(key: string): number;
  forget(key: string): void;
  /** Failures since the key was last forgotten. */
  retries(key: string): number;
}

export function createRateLimiter(clock: Pick<Clock, 'now'>): RateLimiter {
  const failures = new Map<string, number>();
  let bucket = fullBucket(ALL_KEYS, clock.now());
  return {
    when(key) {
      const count = (failures.get(key) ?? 0) + 1;
      failures.set(key, count);
      const reservation = reserve(ALL_KEYS, bucket, clock.now());
      bucket = reservation.bucket;
      return Math.max(backoffMs(KEY_BACKOFF, count), reservation.delayMs);
    },
    forget: (key) => void failures.delete(key),
    retries: (key) => failures.get(key) ?? 0,
  };
}
