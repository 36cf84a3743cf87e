// The activation queue of one model: requests wait here for an endpoint, first come, first served within a priority, bounded in
// requests, bytes and time.
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

export interface Waiter<T> {
  readonly priority: Priority;
  readonly bytes: number;
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
  /** Something may have become free: lets out those at the front who can take. */
  readonly drain: () => void;
  readonly size: () => number;
}

interface Waiting<T> {
  readonly waiter: Waiter<T>;
  readonly resolve: (taken: T) => void;
  readonly reject: (error: unknown) => void;
}

export const createActivationQueue = <T>(limits: QueueLimits): ActivationQueue<T> => {
  const queues: Readonly<Record<Priority, Set<Waiting<T>>>> = { interactive: new Set(), bulk: new Set() };
  let bytes = 0;

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

  const size = (): number => queues.interactive.size + queues.bulk.size;

  const enter: ActivationQueue<T>['enter'] = async (waiter) => {
    waiter.signal.throwIfAborted();
    if (queues[waiter.priority].size === 0) {
      const taken = waiter.take();
      if (taken !== undefined) return taken;
    }
    if (size() >= limits.maxRequests || bytes + waiter.bytes > limits.maxBytes) throw FULL;
    waiter.onWait?.();
    return await wait(waiter);
  };

  return {
    enter,
    drain: () => {
      drainOne(queues.interactive);
      drainOne(queues.bulk);
    },
    size,
  };
};
