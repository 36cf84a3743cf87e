// The demand book: cumulative counters per model, as the operator's autoscaler reads them, and the wake-up calls.
import type { DemandSnapshot, ModelDemand } from '../../api/demand.ts';

type Counters = { -readonly [K in keyof Omit<ModelDemand, 'heldRequests' | 'capacityTokensPerSecond'>]: number };

interface Entry {
  readonly counters: Counters;
  /** When the wake-up call that is not yet answered by an endpoint was made. */
  calledMs: number | undefined;
}

/** What the book cannot know by itself. */
export interface Reading {
  readonly heldRequests: number;
  readonly capacityTokensPerSecond: number | undefined;
}

export interface DemandBook {
  readonly offer: (model: string, tokens: number) => void;
  readonly complete: (model: string, tokens: number) => void;
  /** A request found no endpoint: one call, however many requests, until an endpoint is there. */
  readonly wake: (model: string, heldRequests: number) => void;
  /** An endpoint is there. Returns how long that took since the call, if one was made. */
  readonly awake: (model: string) => number | undefined;
  readonly forget: (model: string) => void;
  readonly models: () => readonly string[];
  readonly snapshot: (read: (model: string) => Reading) => DemandSnapshot;
}

export interface DemandBookOptions {
  /** Unique per process. */
  readonly instance: string;
  readonly now: () => number;
  readonly onWake: (model: string) => void;
}

/** A call that nobody waits for any more is made again by a later request after this long. */
const RECALL_MS = 10_000;

export const createDemandBook = ({ instance, now, onWake }: DemandBookOptions): DemandBook => {
  const entries = new Map<string, Entry>();
  let sequence = 0;

  const entryOf = (model: string): Entry => {
    const known = entries.get(model);
    if (known) return known;
    const counters = { offeredTokens: 0, completedTokens: 0, offeredRequests: 0, completedRequests: 0, activations: 0 };
    const entry: Entry = { counters, calledMs: undefined };
    entries.set(model, entry);
    return entry;
  };

  const wake: DemandBook['wake'] = (model, heldRequests) => {
    const entry = entryOf(model);
    const isCalled = entry.calledMs !== undefined && (heldRequests > 0 || now() - entry.calledMs < RECALL_MS);
    if (isCalled) return;
    entry.calledMs = now();
    entry.counters.activations += 1;
    onWake(model);
  };

  return {
    offer: (model, tokens) => {
      const { counters } = entryOf(model);
      counters.offeredRequests += 1;
      counters.offeredTokens += tokens;
    },
    complete: (model, tokens) => {
      // The model may have been removed meanwhile: its book is closed.
      const counters = entries.get(model)?.counters;
      if (counters === undefined) return;
      counters.completedRequests += 1;
      counters.completedTokens += tokens;
    },
    wake,
    awake: (model) => {
      const entry = entries.get(model);
      if (entry?.calledMs === undefined) return undefined;
      const took = now() - entry.calledMs;
      entry.calledMs = undefined;
      return took;
    },
    forget: (model) => entries.delete(model),
    models: () => [...entries.keys()],
    snapshot: (read) => {
      sequence += 1;
      const models = [...entries].map(([model, { counters }]): [string, ModelDemand] => {
        const { heldRequests, capacityTokensPerSecond } = read(model);
        return [
          model,
          { ...counters, heldRequests, ...(capacityTokensPerSecond !== undefined && { capacityTokensPerSecond }) },
        ];
      });
      return { instance, sequence, models: Object.fromEntries(models) };
    },
  };
};
