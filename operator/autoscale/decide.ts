// The autoscaler's decision: a pure function of what it remembers, what the routers say, and the time.
import { addPoint, rise, tokenRate } from './rate.ts';
import type { Point } from './rate.ts';
import { NO_TOTALS, readTotals } from './totals.ts';
import type { Reading, RouterSample, Totals } from './totals.ts';

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
  readonly routers: readonly RouterSample[];
  /** Replicas asked for now, by whoever decided last. */
  readonly replicas: number;
  /** There are such replicas, and none has become ready yet. */
  readonly starting?: boolean;
}

export interface Decision {
  readonly replicas: number;
  /** Why it last changed, in words, so that status is not rewritten for a digit; absent while it is as it was found. */
  readonly reason?: string;
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
/** Sees a step within two readings. */
const BURST_MS = 2_000;
/** Fewer requests than this within it are no stream: a single huge one is backlog, to be worked off in `drainMs`. */
const BURST_REQUESTS = 10;
/** A burst adds replicas where it asks for this much more than there are; below, it is noise within the headroom. */
const BURST_FACTOR = 1.25;
/** Room that fewer replicas must leave, so that a load at the edge does not swing. */
const SHRINK_MARGIN = 1.1;

/** A model that is not ready after this long does not become so by waiting. */
const LONGEST_START_MS = 600_000;

/** In replicas, not rounded. */
interface Need {
  /** Undefined while no replica has said what it can do. */
  readonly now: number | undefined;
  /** With the bursts that the headroom absorbs: what must remain when replicas go. */
  readonly peak: number;
  readonly words: string;
}

function needOf(state: ScalerState, { backlogTokens }: Reading, settings: ScaleSettings, replicas: number): Need {
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

/** Why replicas must not be taken away now, or undefined. */
function frozen(state: ScalerState, { silent, routers }: Reading): string | undefined {
  if (routers === 0) return 'no router is known';
  if (silent.length > 0) return `router ${silent.join(', ')} cannot be heard`;
  if (!state.totals.warm) return 'not every router has reported yet';
  return undefined;
}

const clamp = (replicas: number, { minReplicas, maxReplicas }: ScaleSettings): number =>
  Math.min(Math.max(replicas, minReplicas), maxReplicas);

const pick = ({ offeredTokens, offeredRequests }: Totals): Omit<Point, 'at'> => ({ offeredTokens, offeredRequests });

interface Moment {
  readonly state: ScalerState;
  readonly reading: Reading;
  readonly settings: ScaleSettings;
  readonly replicas: number;
  readonly now: number;
}

/** How long nothing was asked for, as far as this process can know. */
const idleFor = ({ state, now }: Moment): number => now - Math.max(state.lastDemandAt ?? 0, state.since);

const isIdle = (moment: Moment): boolean => idleFor(moment) >= moment.settings.idleMs;

/** What would be enough right now, before any caution about taking replicas away. */
function wanted(moment: Moment, need: Need): number {
  const { settings, state, reading, replicas } = moment;
  if (isIdle(moment) && !reading.demand) return clamp(0, settings);
  const active = state.lastDemandAt !== undefined ? 1 : 0;
  // Without a measurement one replica is started, and none that runs is judged superfluous.
  if (need.now === undefined) return clamp(Math.max(active, replicas), settings);
  const more = Math.ceil(need.now);
  const enough = more > replicas ? more : Math.min(replicas, Math.ceil(need.peak * SHRINK_MARGIN));
  return clamp(Math.max(active, enough), settings);
}

function choose(moment: Moment, need: Need, want: number): Decision {
  const { state, reading, settings, replicas, now } = moment;
  if (want > replicas)
    return { replicas: want, reason: replicas === 0 && reading.woken ? 'a request found no replica' : need.words };
  if (replicas > settings.maxReplicas) return { replicas: settings.maxReplicas, reason: 'scaling.maxReplicas' };
  const stay = { replicas };
  if (want === replicas || frozen(state, reading) !== undefined) return stay;
  if (isIdle(moment) && !reading.demand)
    return { replicas: want, reason: `no demand for ${Math.round(settings.idleMs / 1000)} s` };
  // One replica goes to zero by the idle rule alone; more shrink once a whole window of wants has been seen.
  if (now - state.since < settings.downMs) return stay;
  const most = Math.max(...state.wants.map((one) => one.replicas), 1);
  return most < replicas ? { replicas: most, reason: need.words } : stay;
}

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
  const reading = readTotals(before.totals, sample.routers);
  const { totals } = reading;
  const startingSince = sample.starting === true ? (before.startingSince ?? now) : undefined;
  // Idleness counts from when it could have served: else a start longer than `idleMs`, whose clients have gone, never ends.
  const isStarting = startingSince !== undefined && now - startingSince < LONGEST_START_MS;
  const isAwaited = isStarting && before.lastDemandAt !== undefined;
  const measured: ScalerState = {
    ...before,
    totals,
    points: addPoint(before.points, { at: now, ...pick(totals) }, STEADY_MS),
    lastDemandAt: reading.demand || isAwaited ? now : before.lastDemandAt,
    startingSince,
    capacity: reading.capacity ?? before.capacity,
  };
  const need = needOf(measured, reading, settings, sample.replicas);
  const moment = { state: measured, reading, settings, replicas: sample.replicas, now };
  const want = wanted(moment, need);
  const state = { ...measured, wants: addWant(measured.wants, { at: now, replicas: want }, settings.downMs) };
  const chosen = choose({ ...moment, state }, need, want);
  const decision = chosen.replicas === before.decision?.replicas ? before.decision : chosen;
  return { ...decision, state: { ...state, decision } };
}
