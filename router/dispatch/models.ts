// What this router remembers of each model between requests: its waiting room, retry budget and bytes-per-token estimate.
import { createHold } from '../admission/hold.ts';
import type { Hold, HoldLimits } from '../admission/hold.ts';
import { UNLEARNED } from '../routing/estimate.ts';
import type { Estimator } from '../routing/estimate.ts';
import { FULL_BUDGET } from '../routing/retry.ts';
import type { RetryBudget } from '../routing/retry.ts';
import type { Lease } from '../upstream/fleet.ts';

export interface ModelMemory {
  readonly hold: Hold<Lease>;
  estimator: Estimator;
  budget: RetryBudget;
}

export interface ModelMemories {
  readonly of: (key: string) => ModelMemory;
  readonly known: (key: string) => ModelMemory | undefined;
  /** Lets whoever waits try again: for one model, or for all. */
  readonly pump: (key?: string) => void;
  /** Forgets models that are no longer served. Their waiting requests must have been let out before. */
  readonly keep: (isServed: (key: string) => boolean) => void;
}

export const createModelMemories = (limits: HoldLimits): ModelMemories => {
  const memories = new Map<string, ModelMemory>();
  const of = (key: string): ModelMemory => {
    const known = memories.get(key);
    if (known) return known;
    const memory: ModelMemory = { hold: createHold(limits), estimator: UNLEARNED, budget: FULL_BUDGET };
    memories.set(key, memory);
    return memory;
  };
  return {
    of,
    known: (key) => memories.get(key),
    pump: (key) => {
      if (key !== undefined) memories.get(key)?.hold.pump();
      else for (const { hold } of memories.values()) hold.pump();
    },
    keep: (isServed) => {
      for (const key of [...memories.keys()]) if (!isServed(key)) memories.delete(key);
    },
  };
};
