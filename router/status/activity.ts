// What the status page tells of requests, in bounded memory: totals since the start, rates and latencies of the last minutes.
import type { Latency, ModelActivity, Rates, Series, Totals } from '../../api/status-document.ts';

// Latencies as counts in buckets that grow by an eighth of an octave: percentiles within 5 %, in constant space.

const MIN_MS = 0.1;
const PER_OCTAVE = 8;
/** 0.1 ms to about 28 minutes. */
const BUCKETS = 192;

export type Histogram = Uint32Array;

export const createHistogram = (): Histogram => new Uint32Array(BUCKETS);

const bucketOf = (ms: number): number => {
  const index = Math.round(Math.log2(Math.max(ms, MIN_MS) / MIN_MS) * PER_OCTAVE);
  return Math.min(BUCKETS - 1, index);
};

export const record = (histogram: Histogram, ms: number): void => {
  const bucket = bucketOf(ms);
  histogram[bucket] = (histogram[bucket] ?? 0) + 1;
};

const addTo = (sum: Histogram, other: Histogram): void => {
  for (const [bucket, count] of other.entries()) sum[bucket] = (sum[bucket] ?? 0) + count;
};

/** Nearest rank; undefined for no values. */
export const percentileOf = (histogram: Histogram, fraction: number): number | undefined => {
  const total = histogram.reduce((sum, count) => sum + count, 0);
  if (total === 0) return undefined;
  let left = Math.max(1, Math.ceil(fraction * total));
  const bucket = histogram.findIndex((count) => (left -= count) <= 0);
  return MIN_MS * 2 ** (bucket / PER_OCTAVE);
};

// What happened lately: a ring of time slots, so that old slots cost nothing and give way by themselves.

interface Slot {
  /** Number of the slot since the clock's zero; tells a slot of this round from one of the last. */
  readonly index: number;
  requests: number;
  errors: number;
  tokens: number;
  latencies: Histogram | undefined;
}

export interface WindowSize {
  readonly slots: number;
  readonly slotMs: number;
}

/** Five minutes of plot, a point every two seconds. */
export const OVERALL: WindowSize = { slots: 151, slotMs: 2000 };
/** Five minutes too, coarser: there is one of these per model. */
export const PER_MODEL: WindowSize = { slots: 61, slotMs: 5000 };

const RATE_MS = 60_000;

const tenths = (ms: number): number => Math.round(ms * 10) / 10;

const latencyOf = (histogram: Histogram): Latency | undefined => {
  const [p50, p95, p99] = [0.5, 0.95, 0.99].map((fraction) => percentileOf(histogram, fraction));
  if (p50 === undefined || p95 === undefined || p99 === undefined) return undefined;
  return { p50: tenths(p50), p95: tenths(p95), p99: tenths(p99) };
};

const percentileOrNull = ({ latencies }: Slot, fraction: number): number | null => {
  const ms = latencies && percentileOf(latencies, fraction);
  return ms === undefined ? null : tenths(ms);
};

const emptySlot = (index: number): Slot => ({ index, requests: 0, errors: 0, tokens: 0, latencies: undefined });

/** Of one model, or of all. */
export class Activity {
  readonly #size: WindowSize;
  /** Monotonic milliseconds. */
  readonly #now: () => number;
  #bornMs: number;
  readonly #ring: (Slot | undefined)[];
  readonly #totals: { -readonly [K in keyof Totals]: number } = { requests: 0, errors: 0, inputs: 0, tokens: 0 };

  constructor(size: WindowSize, now: () => number) {
    this.#size = size;
    this.#now = now;
    this.#bornMs = now();
    this.#ring = Array.from({ length: size.slots });
  }

  /** What these models did together. */
  static of(activities: readonly Activity[], now: () => number): Activity {
    const sum = new Activity(PER_MODEL, now);
    for (const one of activities) sum.#add(one);
    return sum;
  }

  finished(ms: number, failed: boolean): void {
    const slot = this.#current();
    for (const counts of [slot, this.#totals]) {
      counts.requests += 1;
      counts.errors += failed ? 1 : 0;
    }
    slot.latencies ??= createHistogram();
    record(slot.latencies, ms);
  }

  served(inputs: number, tokens: number): void {
    this.#totals.inputs += inputs;
    this.#totals.tokens += tokens;
    this.#current().tokens += tokens;
  }

  read(): ModelActivity {
    return { ...this.#totals, ...this.#rates(), latencyMs: this.#latency() };
  }

  /** Oldest first, without the slot that is still filling. */
  series(): Series {
    const all = this.#past(this.#size.slots - 1);
    return {
      stepSeconds: this.#size.slotMs / 1000,
      requests: all.map((slot) => slot.requests),
      errors: all.map((slot) => slot.errors),
      tokens: all.map((slot) => slot.tokens),
      p50Ms: all.map((slot) => percentileOrNull(slot, 0.5)),
      p95Ms: all.map((slot) => percentileOrNull(slot, 0.95)),
    };
  }

  /** Over the last minute, or less if this is younger. */
  #rates(): Rates {
    const { slots, slotMs } = this.#size;
    const lately = [...this.#past(Math.min(slots - 1, Math.round(RATE_MS / slotMs) - 1)), this.#current()];
    const seconds = Math.max(slotMs, Math.min(RATE_MS, this.#now() - this.#bornMs)) / 1000;
    const perSecond = (of: (slot: Slot) => number): number =>
      tenths(lately.reduce((sum, slot) => sum + of(slot), 0) / seconds);
    return {
      requestsPerSecond: perSecond((slot) => slot.requests),
      tokensPerSecond: perSecond((slot) => slot.tokens),
    };
  }

  /** Over everything the ring holds; undefined when that is nothing. */
  #latency(): Latency | undefined {
    const sum = createHistogram();
    for (const { latencies } of [...this.#past(this.#size.slots - 1), this.#current()]) {
      if (latencies) addTo(sum, latencies);
    }
    return latencyOf(sum);
  }

  #add(other: Activity): void {
    this.#bornMs = Math.min(this.#bornMs, other.#bornMs);
    for (const key of ['requests', 'errors', 'inputs', 'tokens'] as const) this.#totals[key] += other.#totals[key];
    for (const [at, slot] of other.#ring.entries()) {
      const own = this.#ring[at];
      if (slot === undefined || (own !== undefined && own.index > slot.index)) continue;
      const into = own?.index === slot.index ? own : emptySlot(slot.index);
      for (const key of ['requests', 'errors', 'tokens'] as const) into[key] += slot[key];
      if (slot.latencies) addTo((into.latencies ??= createHistogram()), slot.latencies);
      this.#ring[at] = into;
    }
  }

  #index(): number {
    return Math.floor(this.#now() / this.#size.slotMs);
  }

  #current(): Slot {
    const index = this.#index();
    const at = index % this.#size.slots;
    const known = this.#ring[at];
    if (known?.index === index) return known;
    const fresh = emptySlot(index);
    this.#ring[at] = fresh;
    return fresh;
  }

  /** The `count` slots before the current one, oldest first. */
  #past(count: number): readonly Slot[] {
    const last = this.#index();
    return Array.from({ length: count }, (_, at) => {
      const index = last - count + at;
      const known = index < 0 ? undefined : this.#ring[index % this.#size.slots];
      return known?.index === index ? known : emptySlot(index);
    });
  }
}
