// Folds the cumulative counters of many routers into one account per model: restarts, newcomers and silence handled.
import type { ModelDemand } from '../../api/demand.ts';

/** What one router says of one model. */
export interface RouterSample {
  readonly id: string;
  readonly reachable: boolean;
  /** Unique per router process; absent until it spoke once. */
  readonly instance?: string;
  /** Absent: this router has seen no request for the model. */
  readonly demand?: ModelDemand;
}

interface Seen {
  readonly instance: string;
  readonly offeredTokens: number;
  readonly offeredRequests: number;
  readonly activations: number;
}

export interface Totals {
  /** By router id. */
  readonly seen: ReadonlyMap<string, Seen>;
  /** All known routers have spoken once: from then on a newcomer's counters are new demand. */
  readonly warm: boolean;
  /** Since this account was opened. */
  readonly offeredTokens: number;
  readonly offeredRequests: number;
}

export interface Reading {
  readonly totals: Totals;
  /** Something was asked for since the last reading, or is being worked on or waited for now. */
  readonly demand: boolean;
  /** A request found no endpoint. */
  readonly woken: boolean;
  /** Tokens accepted and not yet answered, at the routers that can be heard. */
  readonly backlogTokens: number;
  readonly capacity: number | undefined;
  /** Known routers that cannot be heard: their demand is unknown. */
  readonly silent: readonly string[];
  readonly routers: number;
}

export const NO_TOTALS: Totals = { seen: new Map(), warm: false, offeredTokens: 0, offeredRequests: 0 };

const ZERO: Omit<Seen, 'instance'> = { offeredTokens: 0, offeredRequests: 0, activations: 0 };

const seenOf = (instance: string, demand: ModelDemand | undefined): Seen => ({
  instance,
  offeredTokens: demand?.offeredTokens ?? 0,
  offeredRequests: demand?.offeredRequests ?? 0,
  activations: demand?.activations ?? 0,
});

const median = (values: readonly number[]): number | undefined =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)];

/** What counts as old: the last reading of the same process; nothing for a new process; all of it at the very first look. */
function baseline(before: Totals, id: string, now: Seen): Omit<Seen, 'instance'> {
  const last = before.seen.get(id);
  if (last?.instance === now.instance) return last;
  return last !== undefined || before.warm ? ZERO : now;
}

const isWorking = ({ offeredRequests, completedRequests, heldRequests }: ModelDemand): boolean =>
  offeredRequests > completedRequests || heldRequests > 0;

const isSilent = ({ reachable, instance }: RouterSample): boolean => !reachable || instance === undefined;

export function readTotals(before: Totals, routers: readonly RouterSample[]): Reading {
  const seen = new Map<string, Seen>();
  let { offeredTokens, offeredRequests } = before;
  let woken = false;
  for (const { id, instance, demand: said } of routers) {
    if (instance === undefined) continue;
    const now = seenOf(instance, said);
    const old = baseline(before, id, now);
    seen.set(id, now);
    offeredTokens += Math.max(0, now.offeredTokens - old.offeredTokens);
    woken ||= now.activations > old.activations;
    offeredRequests += Math.max(0, now.offeredRequests - old.offeredRequests);
  }
  const heard = routers.filter((router) => !isSilent(router)).flatMap((router) => router.demand ?? []);
  const held = heard.some(({ heldRequests }) => heldRequests > 0);
  const silent = routers.filter(isSilent).map(({ id }) => id);
  return {
    totals: { seen, offeredTokens, offeredRequests, warm: before.warm || (routers.length > 0 && silent.length === 0) },
    demand: offeredRequests > before.offeredRequests || woken || heard.some(isWorking),
    woken: woken || held,
    backlogTokens: heard.reduce((sum, one) => sum + Math.max(0, one.offeredTokens - one.completedTokens), 0),
    capacity: median(heard.flatMap(({ capacityTokensPerSecond: own = 0 }) => (own > 0 ? [own] : []))),
    silent,
    routers: routers.length,
  };
}
