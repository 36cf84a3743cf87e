// The activation queue of one model: requests wait here for an endpoint, first come, first served within a priority, bounded in
// requests, bytes and time. Bulk work never takes all of the room.
import type { Priority } from '../../common/http/headers.ts';

export interface QueueLimits {
  readonly maxRequests: number;
  readonly maxBytes: number;
  readonly maxMs: number;
}

/** Why a request was not let in, or not let out. */
export class QueueError extends Error {
  override readonly name = 'QueueError';
  readonly why: 'full' | 'timeout';

  constructor(why: 'full' | 'timeout') {
    super(`activation queue: ${why}`);
    this.why = why;
  }
}

/** Made once: where it was thrown tells nothing, and finding that out took a fifth of the cost of a refusal. */
const FULL = new QueueError('full');

/** What somebody who waits takes of the room. */
export interface Waits {
  readonly priority: Priority;
  readonly bytes: number;
}

export interface Waiter<T> extends Waits {
  /** Aborted when the client is gone or its time is up. */
  readonly signal: AbortSignal;
  /** What it waits for, if it can be had now. Throws when waiting is pointless. */
  readonly take: () => T | undefined;
  /** It could not be had at once. */
  readonly onWait?: () => void;
}

export interface ActivationQueue<T> {
  /**
   * Takes at once when nobody waits in its priority and it can be had; else waits its turn. Rejects with `QueueError`, with the
   * signal's reason, or with what `take` throws.
   */
  readonly enter: (waiter: Waiter<T>) => Promise<T>;
  /** Room for somebody who waits for what another one here is given. Returns what gives it back; throws `QueueError`. */
  readonly follow: (waits: Waits) => () => void;
  /** Something may have become free: lets out those at the front who can take. */
  readonly drain: () => void;
  /** Those who wait for something of their own. */
  readonly size: () => number;
}

/** What bulk work may fill of the room: the rest is for interactive requests, however much else waits. */
const BULK_SHARE = 7 / 8;

interface Waiting<T> {
  readonly waiter: Waiter<T>;
  readonly resolve: (taken: T) => void;
  readonly reject: (error: unknown) => void;
}

export const createActivationQueue = <T>(limits: QueueLimits): ActivationQueue<T> => {
  const queues: Readonly<Record<Priority, Set<Waiting<T>>>> = { interactive: new Set(), bulk: new Set() };
  let followers = 0;
  let bytes = 0;

  const size = (): number => queues.interactive.size + queues.bulk.size;

  const requireRoom = (waits: Waits): void => {
    const share = waits.priority === 'bulk' ? BULK_SHARE : 1;
    // Of a room for one, a share is room for one.
    const maxRequests = Math.max(1, Math.floor(limits.maxRequests * share));
    if (size() + followers >= maxRequests || bytes + waits.bytes > limits.maxBytes * share) throw FULL;
  };

  const leave = (entry: Waiting<T>): void => {
    if (queues[entry.waiter.priority].delete(entry)) bytes -= entry.waiter.bytes;
  };

  const wait = async (waiter: Waiter<T>): Promise<T> => {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const entry: Waiting<T> = { waiter, resolve, reject };
    // Out of the queue before anything else runs: what is taken for it must not be taken for nobody.
    const refuse = (error: unknown): void => {
      leave(entry);
      reject(error);
    };
    const onAbort = (): void => refuse(waiter.signal.reason);
    const timer = setTimeout(() => refuse(new QueueError('timeout')), limits.maxMs);
    queues[waiter.priority].add(entry);
    bytes += waiter.bytes;
    waiter.signal.addEventListener('abort', onAbort);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      waiter.signal.removeEventListener('abort', onAbort);
    }
  };

  const tryFront = (entry: Waiting<T>): boolean => {
    try {
      const taken = entry.waiter.take();
      if (taken === undefined) return false;
      leave(entry);
      entry.resolve(taken);
    } catch (error) {
      leave(entry);
      entry.reject(error);
    }
    return true;
  };

  const drainOne = (queue: ReadonlySet<Waiting<T>>): void => {
    for (const entry of queue) if (!tryFront(entry)) return;
  };

  const enter: ActivationQueue<T>['enter'] = async (waiter) => {
    waiter.signal.throwIfAborted();
    if (queues[waiter.priority].size === 0) {
      const taken = waiter.take();
      if (taken !== undefined) return taken;
    }
    requireRoom(waiter);
    waiter.onWait?.();
    return await wait(waiter);
  };

  const follow: ActivationQueue<T>['follow'] = (waits) => {
    requireRoom(waits);
    followers += 1;
    bytes += waits.bytes;
    return () => {
      followers -= 1;
      bytes -= waits.bytes;
    };
  };

  return {
    enter,
    follow,
    drain: () => {
      drainOne(queues.interactive);
      drainOne(queues.bulk);
    },
    size,
  };
};
