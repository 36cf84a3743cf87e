// How many tokens a second this process can do when busy, from what its runs take.
import type { Batch } from '../scheduler/types.ts';

export interface CapacityMeter {
  readonly ran: (batch: Batch, durationMs: number) => void;
  /** 0 until something ran. */
  tokensPerSecond(): number;
}

/** A run counts by its tokens; what is this many tokens ago counts for a third. */
const MEMORY_TOKENS = 20_000;

/** Small runs waste a worker's time because nothing more waits: only runs of this size show what it can do. */
const TELLING_TOKENS = 64;

export function createCapacityMeter(workers: number): CapacityMeter {
  let tokens = 0;
  let ms = 0;
  return {
    ran(batch, durationMs) {
      // A run on all cores says nothing of several workers side by side; a first small run is better than nothing.
      if (batch.wide || (batch.tokens < TELLING_TOKENS && tokens >= TELLING_TOKENS)) return;
      const keep = Math.exp(-batch.tokens / MEMORY_TOKENS);
      tokens = tokens * keep + batch.tokens;
      ms = ms * keep + durationMs;
    },
    tokensPerSecond: () => (ms === 0 ? 0 : (workers * tokens * 1000) / ms),
  };
}
