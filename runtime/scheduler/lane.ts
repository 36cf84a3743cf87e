// One lane of waiting pieces: ordered by key, found by length.
import type { Piece } from './types.ts';

interface Waiting {
  readonly piece: Piece;
  readonly key: number;
}

export interface Lane {
  put(piece: Piece, key: number): void;
  /** The piece with the smallest key, left in place. */
  head(): Waiting | undefined;
  /** Takes the piece of this length with the smallest key. */
  take(length: number): Piece | undefined;
  /** Lengths that wait, nearest to `length` first; those equally near, longest first. */
  nearest(length: number): number[];
  count(length: number): number;
  drop(request: number): void;
  readonly pieces: number;
  readonly tokens: number;
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

export function createLane(): Lane {
  const buckets = new Map<number, Waiting[]>();
  let pieces = 0;
  let tokens = 0;
  const removed = (length: number, count: number): void => {
    pieces -= count;
    tokens -= count * length;
  };
  return {
    put(piece, key) {
      let bucket = buckets.get(piece.length);
      if (!bucket) buckets.set(piece.length, (bucket = []));
      bucket.splice(insertionIndex(bucket, key), 0, { piece, key });
      pieces++;
      tokens += piece.length;
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
      return taken.piece;
    },
    nearest: (length) => [...buckets.keys()].sort((a, b) => Math.abs(a - length) - Math.abs(b - length) || b - a),
    count: (length) => buckets.get(length)?.length ?? 0,
    drop(request) {
      for (const [length, bucket] of buckets) {
        const kept = bucket.filter(({ piece }) => piece.request !== request);
        if (kept.length === bucket.length) continue;
        removed(length, bucket.length - kept.length);
        if (kept.length === 0) buckets.delete(length);
        else buckets.set(length, kept);
      }
    },
    get pieces() {
      return pieces;
    },
    get tokens() {
      return tokens;
    },
  };
}
