// What waits: sequences ordered by key and found by length, and a guess at who is about to come back for more.

/** The tokens of one text: the smallest thing that is scheduled. */
export interface Sequence {
  readonly request: number;
  /** Position among the request's distinct inputs. */
  readonly index: number;
  /** Tokens, at least 1. */
  readonly length: number;
}

interface Waiting {
  readonly sequence: Sequence;
  readonly key: number;
}

export interface Queue {
  put(sequence: Sequence, key: number): void;
  /** The sequence with the smallest key, left in place. */
  head(): Waiting | undefined;
  /** Takes the sequence of this length with the smallest key. */
  take(length: number): Sequence | undefined;
  /** Lengths that wait, nearest to `length` first; those equally near, longest first. */
  nearest(length: number): number[];
  count(length: number): number;
  drop(request: number): void;
  size(): number;
  tokens(): number;
}

/** Index after the last entry with a key not above `key`: equal keys keep their order. */
function insertionIndex(bucket: readonly Waiting[], key: number): number {
  let low = 0;
  let high = bucket.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((bucket[middle]?.key ?? Infinity) <= key) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function createQueue(): Queue {
  const buckets = new Map<number, Waiting[]>();
  let size = 0;
  let tokens = 0;
  const removed = (length: number, count: number): void => {
    size -= count;
    tokens -= count * length;
  };
  return {
    put(sequence, key) {
      let bucket = buckets.get(sequence.length);
      if (!bucket) buckets.set(sequence.length, (bucket = []));
      bucket.splice(insertionIndex(bucket, key), 0, { sequence, key });
      size++;
      tokens += sequence.length;
    },
    head() {
      let first: Waiting | undefined;
      for (const [candidate] of buckets.values()) {
        if (candidate && (!first || candidate.key < first.key)) first = candidate;
      }
      return first;
    },
    take(length) {
      const bucket = buckets.get(length);
      const taken = bucket?.shift();
      if (!taken) return undefined;
      if (bucket?.length === 0) buckets.delete(length);
      removed(length, 1);
      return taken.sequence;
    },
    nearest: (length) => [...buckets.keys()].sort((a, b) => Math.abs(a - length) - Math.abs(b - length) || b - a),
    count: (length) => buckets.get(length)?.length ?? 0,
    drop(request) {
      for (const [length, bucket] of buckets) {
        const kept = bucket.filter(({ sequence }) => sequence.request !== request);
        if (kept.length === bucket.length) continue;
        removed(length, bucket.length - kept.length);
        if (kept.length === 0) buckets.delete(length);
        else buckets.set(length, kept);
      }
    },
    size: () => size,
    tokens: () => tokens,
  };
}

// Clients of a closed loop ask again as soon as they are answered, and those answered together come back together.

export interface ReturnPredictor {
  answered(nowMs: number): void;
  asked(nowMs: number): void;
  /** Until when it is worth waiting for more of them; undefined when nobody is expected. */
  expectedUntil(nowMs: number): number | undefined;
}

/** Share of what was learned that each answered client leaves standing: about twenty of them make a habit. */
const MEMORY = 0.95;
/** Waiting pays when at least every other client comes back in time. */
const WORTH_WAITING = 0.5;

/** A client is back in time when it asks within `windowMs` of the last sign of life: an answer or a return. */
export function createReturnPredictor(windowMs: number): ReturnPredictor {
  let away = 0;
  let lastMs = -Infinity;
  /** Share of the answered clients that came back in time. */
  let returning = 0;
  const learn = (cameBack: boolean): void => {
    returning = returning * MEMORY + (cameBack ? 1 - MEMORY : 0);
  };
  const expire = (nowMs: number): void => {
    if (nowMs - lastMs < windowMs) return;
    for (; away > 0; away--) learn(false);
  };
  return {
    answered(nowMs) {
      expire(nowMs);
      away++;
      lastMs = nowMs;
    },
    asked(nowMs) {
      expire(nowMs);
      if (away === 0) return;
      away--;
      lastMs = nowMs;
      learn(true);
    },
    expectedUntil(nowMs) {
      expire(nowMs);
      return away > 0 && returning > WORTH_WAITING ? lastMs + windowMs : undefined;
    },
  };
}
