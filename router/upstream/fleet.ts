// What this router knows of each endpoint: load, health, pace, capacity. Picks one for a request and learns from its end.
import { BACKLOG, CAPACITY } from '../../common/http/headers.ts';
import type { Lane } from '../admission/hold.ts';
import { FIRST_LIMIT, nextLimit } from '../routing/cap.ts';
import { choose } from '../routing/choose.ts';
import type { Candidate, Choice } from '../routing/choose.ts';
import { afterSignal, isTrusted, TRUSTED } from '../routing/eject.ts';
import type { Health, Signal } from '../routing/eject.ts';
import { notePace, slownessOf } from '../routing/slowness.ts';
import type { Pace } from '../routing/slowness.ts';
import type { RouteEndpoint } from '../routing/table.ts';
import type { Attempt, Outcome } from './attempt.ts';

/** Lanes are capped apart, so that bulk work never takes the places of interactive requests. */
interface LaneLoad {
  inFlight: number;
  limit: number;
}

export interface EndpointState {
  readonly id: string;
  readonly origin: string;
  /** `namespace/name` of the model it serves. */
  readonly model: string;
  health: Health;
  outstandingTokens: number;
  readonly lanes: Readonly<Record<Lane, LaneLoad>>;
  /** When it became usable, for slow start. */
  sinceMs: number;
  /** When it last gave a sign of life. */
  aliveMs: number;
  pace: Pace | undefined;
  capacity: number;
  readonly running: Map<Attempt, number>;
}

export interface Lease {
  readonly endpoint: EndpointState;
  readonly lane: Lane;
  readonly tokens: number;
  readonly tokensAhead: number;
}

export interface PickRequest {
  readonly lane: Lane;
  readonly tokens: number;
  readonly tried: ReadonlySet<string>;
  readonly thorough: boolean;
}

export interface FleetOptions {
  readonly now: () => number;
  readonly random: () => number;
  readonly slowStartMs: number;
  readonly onEject: (endpoint: EndpointState) => void;
  readonly onGone: (origin: string) => void;
}

export type Pick = { readonly lease: Lease } | { readonly none: Exclude<Choice['kind'], 'endpoint'> };

export interface Fleet {
  /** Makes the set of endpoints be this one; what runs on those that left runs on. */
  readonly sync: (models: Iterable<{ readonly key: string; readonly endpoints: readonly RouteEndpoint[] }>) => void;
  readonly pick: (endpoints: readonly RouteEndpoint[], request: PickRequest) => Pick;
  readonly started: (lease: Lease, attempt: Attempt) => void;
  readonly ended: (lease: Lease, attempt: Attempt, outcome: Outcome) => void;
  readonly signal: (endpoint: EndpointState, signal: Signal) => void;
  /** Endpoints of the table, and others while something runs on them. */
  readonly all: () => Iterable<EndpointState>;
  readonly trusted: (endpoints: readonly RouteEndpoint[]) => number;
  /** It is in the table, and none of its model's others there is trusted. */
  readonly isLast: (endpoint: EndpointState) => boolean;
  /** Median of what the endpoints say they can do; nothing before one said so. */
  readonly capacity: (endpoints: readonly RouteEndpoint[]) => number | undefined;
}

const REFUSALS: ReadonlySet<number> = new Set([421, 503]);

/** What an outcome says of the endpoint's health; nothing when it was the client's doing. */
const signalOf = (outcome: Outcome): Signal | undefined => {
  if (outcome.kind === 'failed') {
    if (outcome.failure === 'reset') return 'failed';
    return outcome.failure === 'connect' || outcome.failure === 'stalled' ? 'unreachable' : undefined;
  }
  if (REFUSALS.has(outcome.status)) return 'unreachable';
  return outcome.status >= 500 ? 'failed' : 'ok';
};

const numberIn = (value: string | string[] | undefined): number | undefined => {
  const number = typeof value === 'string' ? Number(value) : NaN;
  return Number.isFinite(number) && number >= 0 ? number : undefined;
};

const learnFrom = (lease: Lease, outcome: Outcome, times: { startedMs: number; nowMs: number }): void => {
  const { endpoint } = lease;
  if (outcome.kind === 'failed') return;
  endpoint.aliveMs = times.nowMs;
  const capacityTokensPerSecond = numberIn(outcome.headers[CAPACITY]);
  const backlogTokens = numberIn(outcome.headers[BACKLOG]);
  if (capacityTokensPerSecond !== undefined && capacityTokensPerSecond > 0) endpoint.capacity = capacityTokensPerSecond;
  const tookMs = times.nowMs - times.startedMs;
  const backlogMs = endpoint.capacity > 0 ? ((backlogTokens ?? 0) / endpoint.capacity) * 1000 : 0;
  const load = endpoint.lanes[lease.lane];
  load.limit = nextLimit(load.limit, {
    refused: outcome.status === 429,
    inFlight: load.inFlight,
    queueMs: lease.lane === 'bulk' ? backlogMs : tookMs,
  });
  if (outcome.status === 200) {
    endpoint.pace = notePace(endpoint.pace, { tookMs, tokensAhead: lease.tokensAhead }, times.nowMs);
  }
};

export const createFleet = (options: FleetOptions): Fleet => {
  const { now, random } = options;
  const states = new Map<string, EndpointState>();
  let byModel: ReadonlyMap<string, readonly EndpointState[]> = new Map();
  /** Left the table while something ran on them. */
  const leaving = new Set<EndpointState>();

  const fresh = ({ id, origin }: RouteEndpoint, model: string): EndpointState => ({
    id,
    origin,
    model,
    health: TRUSTED,
    outstandingTokens: 0,
    lanes: { interactive: { inFlight: 0, limit: FIRST_LIMIT }, bulk: { inFlight: 0, limit: FIRST_LIMIT } },
    sinceMs: now(),
    aliveMs: now(),
    pace: undefined,
    capacity: 0,
    running: new Map(),
  });

  const retire = (state: EndpointState): void => {
    states.delete(state.id);
    if (state.running.size > 0) leaving.add(state);
    options.onGone(state.origin);
  };

  const sync: Fleet['sync'] = (models) => {
    const wanted = new Set<string>();
    for (const { key, endpoints } of models) {
      for (const endpoint of endpoints) {
        wanted.add(endpoint.id);
        const known = states.get(endpoint.id);
        if (known?.model === key) continue;
        // The address now belongs to another model: nothing known of it holds.
        if (known) retire(known);
        states.set(endpoint.id, fresh(endpoint, key));
      }
    }
    for (const state of [...states.values()]) if (!wanted.has(state.id)) retire(state);
    byModel = Map.groupBy(states.values(), ({ model }) => model);
  };

  const of = (endpoints: readonly RouteEndpoint[]): readonly EndpointState[] =>
    endpoints.map(({ id }) => states.get(id)).filter((state) => state !== undefined);

  const candidates = (found: readonly EndpointState[], lane: Lane): readonly Candidate[] => {
    const nowMs = now();
    const paces = found.length > 1 ? found.map(({ pace }) => pace) : [];
    const slowness = slownessOf(paces, nowMs);
    return found.map((state, at) => ({
      id: state.id,
      outstandingTokens: state.outstandingTokens,
      ...state.lanes[lane],
      ageMs: nowMs - state.sinceMs,
      slowness: slowness[at] ?? 1,
      ejected: !isTrusted(state.health),
    }));
  };

  const pick: Fleet['pick'] = (endpoints, { lane, tokens, tried, thorough }) => {
    const choice = choose(candidates(of(endpoints), lane), {
      draws: [random(), random()],
      requestTokens: tokens,
      slowStartMs: options.slowStartMs,
      tried,
      thorough,
    });
    const endpoint = choice.kind === 'endpoint' ? states.get(choice.id) : undefined;
    if (endpoint === undefined) return { none: choice.kind === 'saturated' ? 'saturated' : 'none' };
    endpoint.outstandingTokens += tokens;
    endpoint.lanes[lane].inFlight += 1;
    return { lease: { endpoint, lane, tokens, tokensAhead: endpoint.outstandingTokens } };
  };

  const signal: Fleet['signal'] = (endpoint, given) => {
    const before = endpoint.health;
    endpoint.health = afterSignal(before, given, now());
    if (isTrusted(before) && !isTrusted(endpoint.health)) options.onEject(endpoint);
    // Back from an ejection it is eased in like a new one.
    if (!isTrusted(before) && isTrusted(endpoint.health)) endpoint.sinceMs = now();
  };

  const ended: Fleet['ended'] = (lease, attempt, outcome) => {
    const { endpoint } = lease;
    const startedMs = endpoint.running.get(attempt) ?? now();
    endpoint.running.delete(attempt);
    endpoint.outstandingTokens -= lease.tokens;
    learnFrom(lease, outcome, { startedMs, nowMs: now() });
    endpoint.lanes[lease.lane].inFlight -= 1;
    // Probes may have opened its connections again.
    if (endpoint.running.size === 0 && leaving.delete(endpoint)) options.onGone(endpoint.origin);
    const given = signalOf(outcome);
    if (given !== undefined) signal(endpoint, given);
  };

  return {
    sync,
    pick,
    started: ({ endpoint }, attempt) => {
      endpoint.running.set(attempt, now());
    },
    ended,
    signal,
    all: () => [...states.values(), ...leaving],
    trusted: (endpoints) => of(endpoints).filter(({ health }) => isTrusted(health)).length,
    isLast: (endpoint) => {
      const peers = byModel.get(endpoint.model) ?? [];
      return peers.includes(endpoint) && !peers.some((one) => one !== endpoint && isTrusted(one.health));
    },
    capacity: (endpoints) => {
      const known = of(endpoints)
        .map(({ capacity }) => capacity)
        .filter((capacity) => capacity > 0)
        .toSorted((a, b) => a - b);
      return known[known.length >> 1];
    },
  };
};
