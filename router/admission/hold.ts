// The waiting room of one model: first come, first served within a lane, bounded in requests, bytes and time.

export interface HoldLimits {
  readonly maxRequests: number;
  readonly maxBytes: number;
  readonly maxMs: number;
}

/** Why a request was not let in, or not let out. */
export class HoldError extends Error {
  override readonly name = 'HoldError';
  readonly why: 'full' | 'timeout' | 'gone';

  constructor(why: 'full' | 'timeout' | 'gone') {
    super(`hold: ${why}`);
    this.why = why;
  }
}

/** Made once: where it was thrown tells nothing, and finding that out took a fifth of a refusal. */
const FULL = new HoldError('full');

/** Interactive requests do not wait behind bulk ones. */
export type Lane = 'interactive' | 'bulk';

/** Tells when the client is gone or its time is up. */
export interface Gone {
  readonly on: (listener: () => void) => void;
  readonly off: (listener: () => void) => void;
}

export interface Waiter<T> {
  readonly lane: Lane;
  readonly bytes: number;
  readonly maxMs: number;
  readonly gone: Gone;
  /** What it waits for, if it can be had now. Throws when waiting is pointless. */
  readonly take: () => T | undefined;
}

export interface Hold<T> {
  /** Takes at once when nobody waits in its lane and it can be had; else waits its turn. */
  readonly enter: (waiter: Waiter<T>) => T | Promise<T>;
  /** Something may have become free: lets out those at the front who can take. */
  readonly pump: () => void;
  readonly size: () => number;
}

interface Waiting<T> {
  readonly waiter: Waiter<T>;
  readonly resolve: (taken: T) => void;
  readonly reject: (error: unknown) => void;
}

export const createHold = <T>(limits: HoldLimits): Hold<T> => {
  const queues: Readonly<Record<Lane, Set<Waiting<T>>>> = { interactive: new Set(), bulk: new Set() };
  let bytes = 0;

  const wait = async (waiter: Waiter<T>): Promise<T> => {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const entry: Waiting<T> = { waiter, resolve, reject };
    // Out of the queue before anything else runs: what is taken for it must not be taken for nobody.
    const refuse = (why: HoldError['why']): void => {
      leave(entry);
      reject(new HoldError(why));
    };
    const timer = setTimeout(() => refuse('timeout'), Math.min(limits.maxMs, waiter.maxMs));
    const onGone = (): void => refuse('gone');
    queues[waiter.lane].add(entry);
    bytes += waiter.bytes;
    waiter.gone.on(onGone);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      waiter.gone.off(onGone);
    }
  };

  const leave = (entry: Waiting<T>): void => {
    if (queues[entry.waiter.lane].delete(entry)) bytes -= entry.waiter.bytes;
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

  const pumpLane = (queue: ReadonlySet<Waiting<T>>): void => {
    for (const entry of queue) if (!tryFront(entry)) return;
  };

  const pump = (): void => {
    pumpLane(queues.interactive);
    pumpLane(queues.bulk);
  };

  const size = (): number => queues.interactive.size + queues.bulk.size;

  const enter: Hold<T>['enter'] = (waiter) => {
    if (queues[waiter.lane].size === 0) {
      const taken = waiter.take();
      if (taken !== undefined) return taken;
    }
    if (size() >= limits.maxRequests || bytes + waiter.bytes > limits.maxBytes) throw FULL;
    return wait(waiter);
  };

  return { enter, pump, size };
};
