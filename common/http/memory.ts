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

/** What holds more is large: it finds room in a share of the budget only, so that the small find some beside any number of large ones. */
const SMALL_BYTES = 65_536;
const LARGE_SHARE = 0.75;

/** A lone large exchange has room whatever its size: other limits bound it, and it could never succeed otherwise. */
export function createMemoryBudget(maxBytes: number): MemoryBudget {
  const maxLarge = maxBytes * LARGE_SHARE;
  let small = 0;
  let large = 0;

  class Held implements Reservation {
    bytes = 0;

    requireRoom(more: number): void {
      const own = this.bytes + more;
      const hasRoom = own > SMALL_BYTES ? this.#hasLargeRoom(own) : hasSmallRoom(more);
      if (hasRoom) return;
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

    #hasLargeRoom(own: number): boolean {
      const others = large - (this.bytes > SMALL_BYTES ? this.bytes : 0);
      return others === 0 || others + own <= maxLarge;
    }

    #set(bytes: number): void {
      if (this.bytes > SMALL_BYTES) large -= this.bytes;
      else small -= this.bytes;
      this.bytes = bytes;
      if (bytes > SMALL_BYTES) large += bytes;
      else small += bytes;
    }
  }

  const hasSmallRoom = (more: number): boolean =>
    small + large + more <= maxBytes || small + more <= maxBytes - maxLarge;

  return { reserve: () => new Held(), heldBytes: () => small + large };
}
