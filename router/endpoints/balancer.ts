// The endpoints of one model: what this router knows of each (load, health, pace, capacity), which one a request gets, and what
// its end teaches. Decisions first, as functions of values; then the balancer that keeps the state.
import { BACKLOG, CAPACITY, identityIn } from '../../common/http/headers.ts';
import type { Priority } from '../../common/http/headers.ts';
import { median } from '../../common/util/stats.ts';
import type { RouteEndpoint } from '../routing/table.ts';
import type { Attempt, EndpointClient, Failure, Outcome } from './client.ts';
import { afterSignal, HEALTHY, isHealthy } from './health.ts';
import type { Signal, WatchedEndpoint } from './health.ts';

// The cap: how many requests of a priority an endpoint may have in flight. Grows while answers come soon, shrinks when they do not.

export const FIRST_LIMIT = 256;
const MIN_LIMIT = 4;
const MAX_LIMIT = 1024;
/** More queued work than this, in time, means the endpoint has enough of the priority. */
const QUEUE_MS = 2000;
const SHRINK = 0.8;

export interface Feedback {
  /** What waits before a request of this priority: for bulk the whole backlog, for interactive ones the time they took. */
  readonly queueMs: number;
  /** It refused the request for want of room. */
  readonly refused: boolean;
  readonly inFlight: number;
}

/** Shrinks from what is really in flight, since a limit that is not reached does not bind. */
export const nextLimit = (limit: number, feedback: Feedback): number => {
  if (feedback.refused || feedback.queueMs > QUEUE_MS)
    return Math.max(MIN_LIMIT, Math.floor(Math.min(limit, feedback.inFlight) * SHRINK));
  return feedback.inFlight >= limit / 2
    ? Math.min(MAX_LIMIT, limit + 1)
    : Math.max(limit, Math.min(FIRST_LIMIT, limit + 1));
};

// Slowness: how slow an endpoint is against its peers, from the time its answers took.

export interface Pace {
  /** Moving average of milliseconds per token, queue before it included. */
  readonly msPerToken: number;
  readonly atMs: number;
}

const WEIGHT = 0.3;
/** Small requests are all overhead: below this many tokens time does not grow with them. */
const FLOOR_TOKENS = 64;
/** Differences below this factor are noise. */
const TOLERANCE = 2.5;
/** An outlier is forgiven by half every so often, so that it is tried again. */
const HALF_LIFE_MS = 10_000;

export const notePace = (
  pace: Pace | undefined,
  sample: { tookMs: number; tokensAhead: number },
  nowMs: number,
): Pace => {
  const seen = sample.tookMs / Math.max(FLOOR_TOKENS, sample.tokensAhead);
  const msPerToken = pace === undefined ? seen : pace.msPerToken * (1 - WEIGHT) + seen * WEIGHT;
  return { msPerToken, atMs: nowMs };
};

/** One factor per endpoint, 1 or more. The lower median is the norm, so one slow endpoint of two is still an outlier. */
export const slownessOf = (paces: readonly (Pace | undefined)[], nowMs: number): readonly number[] => {
  const known = paces.filter((pace) => pace !== undefined).map(({ msPerToken }) => msPerToken);
  const norm = known.length < 2 ? 0 : (median(known) ?? 0);
  return paces.map((pace) => {
    if (pace === undefined || norm <= 0) return 1;
    const excess = pace.msPerToken / norm - 1;
    const factor = 1 + excess * 0.5 ** ((nowMs - pace.atMs) / HALF_LIFE_MS);
    return factor > TOLERANCE ? factor : 1;
  });
};

// The choice: power of two on outstanding tokens, with slow start, ejection and caps.

export interface Candidate {
  readonly id: string;
  /** Estimated tokens sent and not yet answered. */
  readonly outstandingTokens: number;
  /** Requests of this one's priority sent and not yet answered. */
  readonly inFlight: number;
  /** Most requests of this priority that the endpoint may have in flight. */
  readonly limit: number;
  /** Milliseconds since this endpoint became usable (again). */
  readonly ageMs: number;
  /** How many times slower than its peers it has lately been; 1 when normal or unknown. */
  readonly slowness: number;
  readonly ejected: boolean;
}

export interface ChooseOptions {
  /** Two numbers in [0, 1). */
  readonly draws: readonly [number, number];
  readonly tokens: number;
  readonly slowStartMs: number;
  /** Endpoints that this request has already failed on. */
  readonly tried: ReadonlySet<string>;
  /** Shards of one request must not meet by chance: they look at all endpoints instead of two. */
  readonly thorough: boolean;
}

const FRESH_SHARE = 0.1;

/** From FRESH_SHARE at birth to 1 at the end of slow start. */
const share = (ageMs: number, slowStartMs: number): number =>
  slowStartMs <= 0 ? 1 : Math.min(1, Math.max(FRESH_SHARE, ageMs / slowStartMs));

/** Work this endpoint would have before it with this request: less is better. */
export const score = (candidate: Candidate, options: ChooseOptions): number =>
  ((candidate.outstandingTokens + options.tokens) * candidate.slowness) / share(candidate.ageMs, options.slowStartMs);

const pick = (count: number, draw: number): number => Math.min(count - 1, Math.floor(draw * count));

/** Two different candidates at random, then the better one. */
const betterOfTwo = <C extends Candidate>(candidates: readonly C[], options: ChooseOptions): C | undefined => {
  const first = pick(candidates.length, options.draws[0]);
  const a = candidates[first];
  if (a === undefined || candidates.length === 1) return a;
  // One of the others, so that both draws count even with two candidates.
  const b = candidates[(first + 1 + pick(candidates.length - 1, options.draws[1])) % candidates.length];
  return b !== undefined && score(b, options) < score(a, options) ? b : a;
};

const bestOfAll = <C extends Candidate>(candidates: readonly C[], options: ChooseOptions): C | undefined =>
  candidates.reduce<C | undefined>(
    (best, one) => (best === undefined || score(one, options) < score(best, options) ? one : best),
    undefined,
  );

/** Mostly that is all of them, and then there is nothing to copy. */
const only = <C>(candidates: readonly C[], isFit: (candidate: C) => boolean): readonly C[] =>
  candidates.every(isFit) ? candidates : candidates.filter(isFit);

/** Undefined when every one that could take it is at its cap. Ejected endpoints are passed over unless there is no other. */
export const choose = <C extends Candidate>(candidates: readonly C[], options: ChooseOptions): C | undefined => {
  const untried = only(candidates, ({ id }) => !options.tried.has(id));
  const healthy = only(untried, ({ ejected }) => !ejected);
  const open = healthy.length > 0 ? healthy : untried;
  const free = only(open, ({ inFlight, limit }) => inFlight < limit);
  return options.thorough ? bestOfAll(free, options) : betterOfTwo(free, options);
};

// The spare: a request whose every part is fatal must not take all endpoints at once.

const MIN_TO_SPARE = 3;

/** The one with most to do. Undefined where two or fewer would be left with too little to split over. */
export const spareOf = <E extends Pick<Candidate, 'outstandingTokens'>>(healthy: readonly E[]): E | undefined =>
  healthy.length < MIN_TO_SPARE
    ? undefined
    : healthy.reduce((most, one) => (one.outstandingTokens >= most.outstandingTokens ? one : most));

// The balancer

export interface Endpoint extends WatchedEndpoint {
  readonly id: string;
  readonly origin: string;
  readonly client: EndpointClient;
  outstandingTokens: number;
  /** Priorities are capped apart, so that bulk work never takes the places of interactive requests. */
  readonly loads: Readonly<Record<Priority, { inFlight: number; limit: number }>>;
  /** When it became usable, for slow start. */
  sinceMs: number;
  pace: Pace | undefined;
  /** Tokens per second, as it says itself; 0 until it did. */
  capacity: number;
  /** Of the vectors that it gave last; undefined until it gave some. */
  identity: string | undefined;
  readonly running: Map<Attempt, number>;
}

/** What a request wants of an endpoint. */
export type PlaceWanted = Pick<ChooseOptions, 'tokens' | 'tried' | 'thorough'> & { readonly priority: Priority };

/** A request's place on an endpoint. */
export interface Reservation {
  readonly endpoint: Endpoint;
  readonly priority: Priority;
  readonly tokens: number;
  readonly tokensAhead: number;
}

export interface BalancerOptions {
  readonly now: () => number;
  readonly random: () => number;
  readonly slowStartMs: number;
  readonly connect: (origin: string) => EndpointClient;
  /** Gets every endpoint that there is, those included that left the table with something running on them. */
  readonly endpoints: Set<Endpoint>;
  /** Something runs on the endpoint, or it has failed: somebody has to look after it. */
  readonly onBusy: (endpoint: Endpoint) => void;
  readonly onEject: (endpoint: Endpoint) => void;
  /** A place became free, or an endpoint healthy: whoever waits may try. */
  readonly onFree: () => void;
}

export interface Balancer {
  /** Makes the set of endpoints be this one; what runs on those that left runs on. */
  readonly update: (endpoints: readonly RouteEndpoint[]) => void;
  /** A place on the endpoint that suits best, or nothing: the request must wait. It must be given to `run`. */
  readonly reserve: (request: PlaceWanted) => Reservation | undefined;
  /**
   * One attempt on the reserved endpoint, from its start until its place is free again: when its answer has ended, gathered,
   * streamed or cut. Rejects with what `start` throws.
   */
  readonly run: (reservation: Reservation, start: () => Attempt) => Promise<Outcome>;
  readonly healthy: () => number;
  /** Of three healthy endpoints or more, the one that has most to do: where nothing of a split request goes. */
  readonly spare: () => string | undefined;
  readonly inFlight: () => number;
  /** Median of the tokens per second that endpoints say they can do; undefined before one said so. */
  readonly capacity: () => number | undefined;
  /** Of the vectors that every endpoint gives; undefined where they differ, and while one has not given any. */
  readonly identity: () => string | undefined;
}

/** The process is another model's, or is draining: nothing that it should be asked now. */
const REFUSALS: ReadonlySet<number> = new Set([421, 503]);

const FAILURE_SIGNALS: Readonly<Record<Failure, Signal | undefined>> = {
  connect: 'unreachable',
  stalled: 'unreachable',
  reset: 'failed',
  aborted: undefined,
};

/** What an outcome says of the endpoint's health; nothing when it was the client's doing. */
const signalOf = (outcome: Outcome): Signal | undefined => {
  if (outcome.kind === 'failed') return FAILURE_SIGNALS[outcome.failure];
  if (REFUSALS.has(outcome.status)) return 'unreachable';
  return outcome.status >= 500 ? 'failed' : 'ok';
};

const numberIn = (value: string | string[] | undefined): number => {
  const number = typeof value === 'string' ? Number(value) : 0;
  return Number.isFinite(number) && number >= 0 ? number : 0;
};

const learnFrom = (reservation: Reservation, outcome: Outcome, startedMs: number, nowMs: number): void => {
  const { endpoint, priority, tokensAhead } = reservation;
  if (outcome.kind === 'failed') return;
  endpoint.aliveMs = nowMs;
  const capacity = numberIn(outcome.headers[CAPACITY]);
  if (capacity > 0) endpoint.capacity = capacity;
  const tookMs = nowMs - startedMs;
  const backlogMs = endpoint.capacity > 0 ? (numberIn(outcome.headers[BACKLOG]) / endpoint.capacity) * 1000 : 0;
  const load = endpoint.loads[priority];
  load.limit = nextLimit(load.limit, {
    refused: outcome.status === 429,
    inFlight: load.inFlight,
    queueMs: priority === 'bulk' ? backlogMs : tookMs,
  });
  if (outcome.status !== 200) return;
  endpoint.identity = identityIn(outcome.headers);
  endpoint.pace = notePace(endpoint.pace, { tookMs, tokensAhead }, nowMs);
};

const isBusy = ({ loads }: Endpoint): boolean => loads.interactive.inFlight + loads.bulk.inFlight > 0;

export const createBalancer = (options: BalancerOptions): Balancer => {
  const { now, random } = options;
  /** Those of the table. */
  const current = new Map<string, Endpoint>();

  const signal = (endpoint: Endpoint, given: Signal): void => {
    const wasHealthy = isHealthy(endpoint.health);
    endpoint.health = afterSignal(endpoint.health, given, now());
    const isNow = isHealthy(endpoint.health);
    if (wasHealthy === isNow) return;
    if (!isNow) {
      options.onBusy(endpoint);
      options.onEject(endpoint);
      return;
    }
    // Back from an ejection it is eased in like a new one.
    endpoint.sinceMs = now();
    options.onFree();
  };

  const isLast = (endpoint: Endpoint): boolean =>
    current.get(endpoint.id) === endpoint &&
    ![...current.values()].some((one) => one !== endpoint && isHealthy(one.health));

  const fresh = ({ id, origin }: RouteEndpoint): Endpoint => {
    const endpoint: Endpoint = {
      id,
      origin,
      client: options.connect(origin),
      health: HEALTHY,
      outstandingTokens: 0,
      loads: { interactive: { inFlight: 0, limit: FIRST_LIMIT }, bulk: { inFlight: 0, limit: FIRST_LIMIT } },
      sinceMs: now(),
      aliveMs: now(),
      pace: undefined,
      capacity: 0,
      identity: undefined,
      running: new Map(),
      signal: (given) => signal(endpoint, given),
      isLast: () => isLast(endpoint),
    };
    return endpoint;
  };

  const closeIfDone = (endpoint: Endpoint): void => {
    if (current.get(endpoint.id) === endpoint || isBusy(endpoint)) return;
    options.endpoints.delete(endpoint);
    endpoint.client.close();
  };

  const healthy = (): readonly Endpoint[] => [...current.values()].filter(({ health }) => isHealthy(health));

  const update: Balancer['update'] = (endpoints) => {
    const wanted = new Set(endpoints.map(({ id }) => id));
    for (const endpoint of endpoints) {
      if (current.has(endpoint.id)) continue;
      const made = fresh(endpoint);
      current.set(endpoint.id, made);
      options.endpoints.add(made);
    }
    for (const endpoint of [...current.values()]) {
      if (wanted.has(endpoint.id)) continue;
      current.delete(endpoint.id);
      closeIfDone(endpoint);
    }
  };

  const reserve: Balancer['reserve'] = ({ priority, tokens, tried, thorough }) => {
    const nowMs = now();
    const all = [...current.values()];
    const paces = all.map(({ pace }) => pace);
    const slowness = all.length > 1 ? slownessOf(paces, nowMs) : [];
    const candidates = all.map((endpoint, at) => ({
      endpoint,
      id: endpoint.id,
      outstandingTokens: endpoint.outstandingTokens,
      inFlight: endpoint.loads[priority].inFlight,
      limit: endpoint.loads[priority].limit,
      ageMs: nowMs - endpoint.sinceMs,
      slowness: slowness[at] ?? 1,
      ejected: !isHealthy(endpoint.health),
    }));
    const draws = [random(), random()] as const;
    const { slowStartMs } = options;
    const chosen = choose(candidates, { draws, tokens, slowStartMs, tried, thorough });
    if (chosen === undefined) return undefined;
    const { endpoint } = chosen;
    endpoint.outstandingTokens += tokens;
    endpoint.loads[priority].inFlight += 1;
    return { endpoint, priority, tokens, tokensAhead: endpoint.outstandingTokens };
  };

  const run: Balancer['run'] = async (reservation, start) => {
    const { endpoint, priority, tokens } = reservation;
    const startedMs = now();
    let attempt: Attempt | undefined;
    let outcome: Outcome | undefined;
    const release = (failure?: Failure): void => {
      if (attempt !== undefined) endpoint.running.delete(attempt);
      endpoint.outstandingTokens -= tokens;
      endpoint.loads[priority].inFlight -= 1;
      const given = failure && FAILURE_SIGNALS[failure];
      if (given !== undefined) signal(endpoint, given);
      closeIfDone(endpoint);
      options.onFree();
    };
    try {
      attempt = start();
      endpoint.running.set(attempt, startedMs);
      options.onBusy(endpoint);
      outcome = await attempt.outcome;
      learnFrom(reservation, outcome, startedMs, now());
      const given = signalOf(outcome);
      if (given !== undefined) signal(endpoint, given);
      return outcome;
    } finally {
      // The place of a streamed answer is taken until its last byte.
      if (outcome?.kind === 'stream') void outcome.ended.then(release);
      else release();
    }
  };

  return {
    update,
    reserve,
    run,
    healthy: () => healthy().length,
    spare: () => spareOf(healthy())?.id,
    inFlight: () => [...current.values()].reduce((sum, { running }) => sum + running.size, 0),
    capacity: () => median([...current.values()].map(({ capacity }) => capacity).filter((one) => one > 0)),
    identity: () => {
      const [first, ...others] = current.values();
      return others.every(({ identity }) => identity === first?.identity) ? first?.identity : undefined;
    },
  };
};
