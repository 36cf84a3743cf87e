// Which endpoint gets a request: power of two choices on outstanding tokens, with slow start, ejection and caps. Pure.

export interface Candidate {
  readonly id: string;
  /** Estimated tokens sent and not yet answered. */
  readonly outstandingTokens: number;
  /** Requests of this one's lane sent and not yet answered. */
  readonly inFlight: number;
  /** Most requests of this lane that the endpoint may have in flight. */
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
  readonly requestTokens: number;
  readonly slowStartMs: number;
  /** Endpoints that this request has already failed on. */
  readonly tried: ReadonlySet<string>;
  /** Shards of one request must not meet by chance: they look at all endpoints instead of two. */
  readonly thorough?: boolean;
}

const FRESH_SHARE = 0.1;

/** From FRESH_SHARE at birth to 1 at the end of slow start. */
const share = (ageMs: number, slowStartMs: number): number =>
  slowStartMs <= 0 ? 1 : Math.min(1, Math.max(FRESH_SHARE, ageMs / slowStartMs));

/** Work this endpoint would have before it with this request: less is better. */
export const score = (candidate: Candidate, options: ChooseOptions): number =>
  ((candidate.outstandingTokens + options.requestTokens) * candidate.slowness) /
  share(candidate.ageMs, options.slowStartMs);

const pick = (count: number, draw: number): number => Math.min(count - 1, Math.floor(draw * count));

/** Two different candidates at random, then the better one. */
const betterOfTwo = (candidates: readonly Candidate[], options: ChooseOptions): Candidate | undefined => {
  const first = pick(candidates.length, options.draws[0]);
  const a = candidates[first];
  if (a === undefined || candidates.length === 1) return a;
  // One of the others, so that both draws count even with two candidates.
  const b = candidates[(first + 1 + pick(candidates.length - 1, options.draws[1])) % candidates.length];
  return b !== undefined && score(b, options) < score(a, options) ? b : a;
};

const bestOfAll = (candidates: readonly Candidate[], options: ChooseOptions): Candidate | undefined =>
  candidates.reduce<Candidate | undefined>(
    (best, one) => (best === undefined || score(one, options) < score(best, options) ? one : best),
    undefined,
  );

export type Choice =
  | { readonly kind: 'endpoint'; readonly id: string }
  /** Every endpoint that could take it is at its cap: wait for a slot. */
  | { readonly kind: 'saturated' }
  /** There is none, or this request has failed on all of them. */
  | { readonly kind: 'none' };

/** Mostly that is all of them, and then there is nothing to copy. */
const only = (candidates: readonly Candidate[], isFit: (candidate: Candidate) => boolean): readonly Candidate[] =>
  candidates.every(isFit) ? candidates : candidates.filter(isFit);

/** Ejected endpoints are passed over unless there is no other. */
export const choose = (candidates: readonly Candidate[], options: ChooseOptions): Choice => {
  const untried = only(candidates, ({ id }) => !options.tried.has(id));
  const healthy = only(untried, ({ ejected }) => !ejected);
  const open = healthy.length > 0 ? healthy : untried;
  if (open.length === 0) return { kind: 'none' };
  const free = only(open, ({ inFlight, limit }) => inFlight < limit);
  const best = options.thorough === true ? bestOfAll(free, options) : betterOfTwo(free, options);
  return best ? { kind: 'endpoint', id: best.id } : { kind: 'saturated' };
};
