// One bound on the bytes that a process holds for its clients: bodies being read, requests that wait, answers not yet taken.
import { OpenAIError } from '../openai/errors.ts';

/** What one exchange holds. */
export interface Reservation {
  readonly bytes: number;
  /** Throws the 429 if so many more would be too many; takes none. */
  requireRoom(more: number): void;
  /** Takes so many more, or throws the 429. */
  grow(more: number): void;
  /** Gives so many of them back. */
  shrink(less: number): void;
  /** Gives all of them back; may be called again. */
  release(): void;
}

export interface MemoryBudget {
  /** Of nothing, to grow. */
  reserve(): Reservation;
  heldBytes(): number;
}

/**
 * The more an exchange holds, the less of the budget may be taken for it to get more. So the small find room beside any number of
 * large ones: as many of 8 KB as one source may have connections, by the defaults of the router.
 */
const SHARES: readonly { readonly upTo: number; readonly share: number }[] = [
  { upTo: 8192, share: 1 },
  { upTo: 65_536, share: 0.75 },
  { upTo: Infinity, share: 0.625 },
];

const sizeOf = (bytes: number): number => SHARES.findIndex(({ upTo }) => bytes <= upTo);
const LARGE = SHARES.length - 1;
const shareOf = (size: number): number => SHARES[size]?.share ?? 0;

/**
 * Bytes by size of the exchanges that hold them. Where several threads share the bound each writes its own row of shared memory.
 * Threads that look at the same moment may both take what is left.
 */
export interface HeldRows {
  readonly own: Float64Array;
  readonly all: readonly Float64Array[];
}

export const HELD_SIZES = SHARES.length;

const ownRow = (): HeldRows => {
  const own = new Float64Array(HELD_SIZES);
  return { own, all: [own] };
};

/** A lone large exchange has room whatever its size: other limits bound it, and it could never succeed otherwise. */
export function createMemoryBudget(maxBytes: number, { own: row, all }: HeldRows = ownRow()): MemoryBudget {
  const takenIn = (size: number): number => all.reduce((sum, { [size]: bytes = 0 }) => sum + bytes, 0);
  /** In the first so many sizes. */
  const taken = (sizes: number = HELD_SIZES): number => {
    let sum = 0;
    for (let size = 0; size < sizes; size++) sum += takenIn(size);
    return sum;
  };

  class Held implements Reservation {
    bytes = 0;

    requireRoom(more: number): void {
      if (this.#hasRoom(this.bytes + more)) return;
      // Not a 503, by which a router would take this process for one that serves nobody.
      throw new OpenAIError('rate_limit_exceeded', 'Too many requests are held in memory at the moment.', {
        retryAfterMs: 1000,
      });
    }

    grow(more: number): void {
      this.requireRoom(more);
      this.#set(this.bytes + more);
    }

    shrink(less: number): void {
      this.#set(Math.max(0, this.bytes - less));
    }

    release(): void {
      this.#set(0);
    }

    #hasRoom(own: number): boolean {
      const size = sizeOf(own);
      const share = shareOf(size);
      if (taken() - this.bytes + own <= maxBytes * share) return true;
      const ownSize = sizeOf(this.bytes);
      const others = (of: number): number => takenIn(of) - (ownSize === of ? this.bytes : 0);
      if (size === LARGE) return others(LARGE) === 0;
      // What is kept for its size and the smaller ones, where a lone large one has taken more than its share.
      const kept = maxBytes * (share - shareOf(size + 1));
      return taken(size + 1) - (ownSize <= size ? this.bytes : 0) + own <= kept;
    }

    #set(bytes: number): void {
      const before = sizeOf(this.bytes);
      row[before] = (row[before] ?? 0) - this.bytes;
      this.bytes = bytes;
      const after = sizeOf(bytes);
      row[after] = (row[after] ?? 0) + bytes;
    }
  }

  return { reserve: () => new Held(), heldBytes: () => taken() };
}
