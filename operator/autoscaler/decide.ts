// The autoscaler's decision: a pure function of what it remembers, what the routers say, and the time.
import { isWorking } from '../../api/demand.ts';
import type { ModelDemand } from '../../api/demand.ts';
import { median } from '../../common/util/stats.ts';

// Totals: the cumulative counters of many routers as one account per model, restarts, newcomers and silence handled

/** What one router says of one model. */
export interface RouterDemand {
  readonly id: string;
  readonly reachable: boolean;
  /** It takes no new requests: what it counted before it was first heard is over, but for what waits. */
  readonly leaving?: boolean;
  /** Unique per router process; undefined until it spoke once. */
  readonly instance: string | undefined;
  /** Undefined: this router has seen no request for the model. */
  readonly demand: ModelDemand | undefined;
}

interface Seen {
  readonly instance: string;
  readonly offeredTokens: number;
  readonly offeredRequests: number;
  readonly activations: number;
}

interface Totals {
  /** By router id. */
  readonly seen: ReadonlyMap<string, Seen>;
  /** All known routers have spoken once: from then on a newcomer's counters are new demand. */
  readonly warm: boolean;
  /** Since this account was opened. */
  readonly offeredTokens: number;
  readonly offeredRequests: number;
}

/** What all routers together say at one look. */
interface TotalDemand {
  readonly totals: Totals;
  /** Something was asked for since the last look, or is being worked on or waited for now. */
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

const NO_TOTALS: Totals = { seen: new Map(), warm: false, offeredTokens: 0, offeredRequests: 0 };

const ZERO: Omit<Seen, 'instance'> = { offeredTokens: 0, offeredRequests: 0, activations: 0 };

const seenOf = (instance: string, demand: ModelDemand | undefined): Seen => ({
  instance,
  offeredTokens: demand?.offeredTokens ?? 0,
  offeredRequests: demand?.offeredRequests ?? 0,
  activations: demand?.activations ?? 0,
});

/** What counts as old: the last look at the same process; nothing for a new process; all of it at the very first look, and of a process that ends. */
function baseline(before: Totals, { id, leaving = false }: RouterDemand, now: Seen): Omit<Seen, 'instance'> {
  const last = before.seen.get(id);
  if (last?.instance === now.instance) return last;
  return (last !== undefined || before.warm) && !leaving ? ZERO : now;
}

const isSilent = ({ reachable, instance }: RouterDemand): boolean => !reachable || instance === undefined;

function addUp(before: Totals, routers: readonly RouterDemand[]): TotalDemand {
  const seen = new Map<string, Seen>();
  let { offeredTokens, offeredRequests } = before;
  let woken = false;
  for (const router of routers) {
    if (router.instance === undefined) continue;
    const now = seenOf(router.instance, router.demand);
    const old = baseline(before, router, now);
    seen.set(router.id, now);
    offeredTokens += Math.max(0, now.offeredTokens - old.offeredTokens);
    woken ||= now.activations > old.activations;
    offeredRequests += Math.max(0, now.offeredRequests - old.offeredRequests);
  }
  const heard = routers.filter((router) => !isSilent(router)).flatMap((router) => router.demand ?? []);
  const isQueued = heard.some(({ queuedRequests }) => queuedRequests > 0);
  const silent = routers.filter(isSilent).map(({ id }) => id);
  return {
    totals: { seen, offeredTokens, offeredRequests, warm: before.warm || (routers.length > 0 && silent.length === 0) },
    demand: offeredRequests > before.offeredRequests || woken || heard.some(isWorking),
    woken: woken || isQueued,
    backlogTokens: heard.reduce((sum, one) => sum + Math.max(0, one.offeredTokens - one.completedTokens), 0),
    capacity: median(heard.flatMap(({ capacityTokensPerSecond: own = 0 }) => (own > 0 ? [own] : []))),
    silent,
    routers: routers.length,
  };
}

// Rates: tokens and requests per second over a window, from counters read at uneven moments

interface Point {
  readonly at: number;
  readonly offeredTokens: number;
  readonly offeredRequests: number;
}

type Counter = 'offeredTokens' | 'offeredRequests';

const isSame = (a: Point | undefined, b: Point): boolean =>
  a?.offeredTokens === b.offeredTokens && a.offeredRequests === b.offeredRequests;

/** Appends a point; keeps what `windowMs` needs and no more, so that an idle model costs a few points. */
function addPoint(points: readonly Point[], point: Point, windowMs: number): readonly Point[] {
  // A flat stretch is its two ends.
  const flat = isSame(points.at(-1), point) && isSame(points.at(-2), point);
  const all = flat ? [...points.slice(0, -1), point] : [...points, point];
  const firstNeeded = all.findLastIndex(({ at }) => at <= point.at - windowMs);
  return firstNeeded <= 0 ? all : all.slice(firstNeeded);
}

/** How much a counter rose in the last `windowMs`. */
function rise(points: readonly Point[], windowMs: number, counter: Counter): number {
  const last = points.at(-1);
  return last === undefined ? 0 : last[counter] - valueAt(points, last.at - windowMs, counter);
}

/** Tokens per second over the last `windowMs`, or over what is known if that is less. */
function tokenRate(points: readonly Point[], windowMs: number): number {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined || last.at <= first.at) return 0;
  return (rise(points, windowMs, 'offeredTokens') * 1000) / Math.min(windowMs, last.at - first.at);
}

/** Between two points the counter is taken to have risen evenly. */
function valueAt(points: readonly Point[], at: number, counter: Counter): number {
  const index = points.findLastIndex((point) => point.at <= at);
  const [left, right] = [points[Math.max(index, 0)], points[index + 1]];
  if (left === undefined) return 0;
  if (index < 0 || right === undefined || right.at === left.at) return left[counter];
  return left[counter] + ((at - left.at) / (right.at - left.at)) * (right[counter] - left[counter]);
}

// The decision

export interface ScaleSettings {
  readonly minReplicas: number;
  readonly maxReplicas: number;
  readonly targetUtilization: number;
  readonly idleMs: number;
  /** Time in which a backlog should be worked off. */
  readonly drainMs: number;
  /** Fewer replicas must have been enough for this long. */
  readonly downMs: number;
}

export interface Sample {
  /** Every router known to exist. */
  readonly routers: readonly RouterDemand[];
  /** Replicas asked for now, by whoever decided last. */
  readonly replicas: number;
  /** There are such replicas, and none has become ready yet. */
  readonly starting: boolean;
  /** One of them is fetching or loading, and nothing has failed. */
  readonly progressing: boolean;
}

export interface Decision {
  readonly replicas: number;
  /** Why it last changed, in words, so that status is not rewritten for a digit; undefined while it is as it was found. */
  readonly reason: string | undefined;
}

interface Want {
  readonly at: number;
  readonly replicas: number;
}

export interface ScalerState {
  /** When this process began to watch the model: what came before it has not seen. */
  readonly since: number;
  readonly totals: Totals;
  readonly points: readonly Point[];
  readonly lastDemandAt: number | undefined;
  readonly startingSince: number | undefined;
  readonly capacity: number | undefined;
  /** Wants within `downMs`, each smaller than the one before: the first is the most of all. */
  readonly wants: readonly Want[];
  readonly decision: Decision | undefined;
}

export const newScaler = (now: number): ScalerState => ({
  since: now,
  totals: NO_TOTALS,
  points: [],
  lastDemandAt: undefined,
  startingSince: undefined,
  capacity: undefined,
  wants: [],
  decision: undefined,
});

/** Smooths arrivals that are uneven by nature. */
const STEADY_MS = 20_000;
/** Sees a step within two looks. */
const BURST_MS = 2_000;
/** Fewer requests than this within it are no stream: a single huge one is backlog, to be worked off in `drainMs`. */
const BURST_REQUESTS = 10;
/** A burst adds replicas where it asks for this much more than there are; below, it is noise within the headroom. */
const BURST_FACTOR = 1.25;
/** Room that fewer replicas must leave, so that a load at the edge does not swing. */
const SHRINK_MARGIN = 1.1;

/** A start of which nothing moves for this long does not succeed by waiting. */
const MAX_START_MS = 600_000;

/** In replicas, not rounded. */
interface Need {
  /** Undefined while no replica has said what it can do. */
  readonly now: number | undefined;
  /** With the bursts that the headroom absorbs: what must remain when replicas go. */
  readonly peak: number;
  readonly words: string;
}

function needOf(state: ScalerState, { backlogTokens }: TotalDemand, settings: ScaleSettings, replicas: number): Need {
  const { capacity, points } = state;
  if (capacity === undefined) return { now: undefined, peak: 0, words: 'demand, and no capacity measured yet' };
  const each = capacity * settings.targetUtilization;
  const backlog = (backlogTokens * 1000) / settings.drainMs;
  const steady = tokenRate(points, STEADY_MS);
  const isStream = rise(points, BURST_MS, 'offeredRequests') >= BURST_REQUESTS;
  const peak = Math.max(steady, isStream ? tokenRate(points, BURST_MS) : 0);
  const offered = (peak + backlog) / each > replicas * BURST_FACTOR ? peak : steady;
  return {
    now: (offered + backlog) / each,
    peak: (peak + backlog) / each,
    words: `${Math.round(offered)} tokens/s offered and ${Math.round(backlogTokens)} waiting, ${Math.round(capacity)} tokens/s a replica at ${settings.targetUtilization}`,
  };
}

function addWant(wants: readonly Want[], want: Want, downMs: number): readonly Want[] {
  const recent = wants.filter(({ at, replicas }) => at > want.at - downMs && replicas > want.replicas);
  return [...recent, want];
}

/** Whether replicas must not be taken away: no router is known, one cannot be heard, or not every one has reported yet. */
const isFrozen = (state: ScalerState, { silent, routers }: TotalDemand): boolean =>
  routers === 0 || silent.length > 0 || !state.totals.warm;

const clamp = (replicas: number, { minReplicas, maxReplicas }: ScaleSettings): number =>
  Math.min(Math.max(replicas, minReplicas), maxReplicas);

const pick = ({ offeredTokens, offeredRequests }: Totals): Omit<Point, 'at'> => ({ offeredTokens, offeredRequests });

interface Moment {
  readonly state: ScalerState;
  readonly total: TotalDemand;
  readonly settings: ScaleSettings;
  readonly replicas: number;
  readonly now: number;
}

/** Whether nothing was asked for long enough, as far as this process can know. */
const isIdle = ({ state, now, settings }: Moment): boolean =>
  now - Math.max(state.lastDemandAt ?? 0, state.since) >= settings.idleMs;

/** What would be enough right now, before any caution about taking replicas away. */
function wanted(moment: Moment, need: Need): number {
  const { settings, state, total, replicas } = moment;
  if (isIdle(moment) && !total.demand) return clamp(0, settings);
  const active = state.lastDemandAt !== undefined ? 1 : 0;
  // Without a measurement one replica is started, and none that runs is judged superfluous.
  if (need.now === undefined) return clamp(Math.max(active, replicas), settings);
  const more = Math.ceil(need.now);
  const enough = more > replicas ? more : Math.min(replicas, Math.ceil(need.peak * SHRINK_MARGIN));
  return clamp(Math.max(active, enough), settings);
}

function choose(moment: Moment, need: Need, want: number): Decision {
  const { state, total, settings, replicas, now } = moment;
  if (want > replicas)
    return { replicas: want, reason: replicas === 0 && total.woken ? 'a request found no replica' : need.words };
  if (replicas > settings.maxReplicas) return { replicas: settings.maxReplicas, reason: 'scaling.maxReplicas' };
  const stay = { replicas, reason: undefined };
  if (want === replicas || isFrozen(state, total)) return stay;
  if (isIdle(moment) && !total.demand)
    return { replicas: want, reason: `no demand for ${Math.round(settings.idleMs / 1000)} s` };
  // One replica goes to zero by the idle rule alone; more shrink once a whole window of wants has been seen.
  if (now - state.since < settings.downMs) return stay;
  const most = Math.max(...state.wants.map((one) => one.replicas), 1);
  return most < replicas ? { replicas: most, reason: need.words } : stay;
}

/**
 * Whether nothing but another sample can change what is decided: it sleeps, nothing is asked of it, and what was asked is too long ago to
 * matter. The one decision at the end of such a time does for all those within it.
 */
export const isAtRest = (state: ScalerState, { starting }: Sample, { idleMs }: ScaleSettings, now: number): boolean =>
  state.decision?.replicas === 0 &&
  state.wants.at(-1)?.replicas === 0 &&
  !starting &&
  (state.lastDemandAt === undefined || now - Math.max(state.lastDemandAt, state.since) >= idleMs);

/**
 * Fast up, slow down, to zero after exactly `idleMs` without demand; while any router cannot be heard replicas are added but
 * never taken. A new process starts from the replicas that it finds.
 */
export function decide(
  before: ScalerState,
  sample: Sample,
  settings: ScaleSettings,
  now: number,
): Decision & { readonly state: ScalerState } {
  const total = addUp(before.totals, sample.routers);
  const { totals } = total;
  // While it moves, it may take as long as it takes.
  const startingSince = sample.starting ? ((sample.progressing ? now : before.startingSince) ?? now) : undefined;
  // Idleness counts from when it could have served: else a start longer than `idleMs`, whose clients have gone, never ends.
  const isStarting = startingSince !== undefined && now - startingSince < MAX_START_MS;
  const isAwaited = isStarting && before.lastDemandAt !== undefined;
  const measured: ScalerState = {
    ...before,
    totals,
    points: addPoint(before.points, { at: now, ...pick(totals) }, STEADY_MS),
    lastDemandAt: total.demand || isAwaited ? now : before.lastDemandAt,
    startingSince,
    capacity: total.capacity ?? before.capacity,
  };
  const need = needOf(measured, total, settings, sample.replicas);
  const moment = { state: measured, total, settings, replicas: sample.replicas, now };
  const want = wanted(moment, need);
  const state = { ...measured, wants: addWant(measured.wants, { at: now, replicas: want }, settings.downMs) };
  const chosen = choose({ ...moment, state }, need, want);
  const decision = chosen.replicas === before.decision?.replicas ? before.decision : chosen;
  return { ...decision, state: { ...state, decision } };
}
