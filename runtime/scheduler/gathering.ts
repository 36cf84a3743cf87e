// Whether what little waits is held back for company: which clients are expected back, and how long waiting for them is worth it. Pure.
import type { CostModel } from './batching.ts';

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

/** A client is back in time when it asks within the window (milliseconds, as of now) of the last sign of life: an answer or a return. */
export function createReturnPredictor(window: () => number): ReturnPredictor {
  let away = 0;
  let lastMs = -Infinity;
  /** Share of the answered clients that came back in time. */
  let returning = 0;
  const learn = (cameBack: boolean): void => {
    returning = returning * MEMORY + (cameBack ? 1 - MEMORY : 0);
  };
  const expire = (nowMs: number): void => {
    if (nowMs - lastMs < window()) return;
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
      return away > 0 && returning > WORTH_WAITING ? lastMs + window() : undefined;
    },
  };
}

/** How long what little waits is held back for company. */
export interface GatherTimes {
  /** Clients that were answered are expected again within this time, when they have made it a habit. */
  readonly returnMs: number;
  /** No small request waits longer than this for others. */
  readonly maxGatherMs: number;
}

/** What a client on the same machine takes to come back, and a moment more. */
const LEAST_GATHERING: GatherTimes = { returnMs: 1.5, maxGatherMs: 4 };
/** What was timed while neighbours were busy is too much. */
const MAX_RETURN_MS = 20;

/**
 * A text that comes after the run has begun costs another run, of which the weights of a large model are the most: waiting is worth
 * as long as that takes, and costs no more than that where nobody comes.
 * @param msPerToken of one worker, as it has lately been
 */
export function gatherTimes({ perRun }: CostModel, msPerToken: number): GatherTimes {
  const returnMs = Math.min(MAX_RETURN_MS, Math.max(LEAST_GATHERING.returnMs, perRun * msPerToken));
  return { returnMs, maxGatherMs: (returnMs / LEAST_GATHERING.returnMs) * LEAST_GATHERING.maxGatherMs };
}
