// What happened lately: a ring of time slots with counts and latencies, so that old slots cost nothing and give way by themselves.
import { addTo, createHistogram, percentileOf, record } from './histogram.ts';
import type { Histogram } from './histogram.ts';

interface Slot {
  /** Number of the slot since the clock's zero; tells a slot of this round from one of the last. */
  readonly index: number;
  requests: number;
  errors: number;
  tokens: number;
  latencies: Histogram | undefined;
}

export interface WindowOptions {
  readonly slots: number;
  readonly slotMs: number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

/** Oldest first, without the slot that is still filling. */
export interface Series {
  readonly stepSeconds: number;
  readonly requests: readonly number[];
  readonly errors: readonly number[];
  readonly tokens: readonly number[];
  /** null where nothing was answered. */
  readonly p50Ms: readonly (number | null)[];
  readonly p95Ms: readonly (number | null)[];
}

export interface Latency {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

export interface Rates {
  readonly requestsPerSecond: number;
  readonly tokensPerSecond: number;
}

export interface Window {
  readonly finished: (ms: number, failed: boolean) => void;
  readonly tokens: (count: number) => void;
  readonly series: () => Series;
  /** Over the last minute, or less if the window is younger. */
  readonly rates: () => Rates;
  /** Over everything the ring holds; undefined when that is nothing. */
  readonly latency: () => Latency | undefined;
}

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

export const createWindow = ({ slots, slotMs, now }: WindowOptions): Window => {
  const ring: (Slot | undefined)[] = Array.from({ length: slots });
  const bornMs = now();
  const indexNow = (): number => Math.floor(now() / slotMs);

  const current = (): Slot => {
    const index = indexNow();
    const known = ring[index % slots];
    if (known?.index === index) return known;
    const fresh = emptySlot(index);
    ring[index % slots] = fresh;
    return fresh;
  };

  /** The `count` slots before the current one, oldest first. */
  const past = (count: number): readonly Slot[] => {
    const last = indexNow();
    return Array.from({ length: count }, (_, at) => {
      const index = last - count + at;
      const known = index < 0 ? undefined : ring[index % slots];
      return known?.index === index ? known : emptySlot(index);
    });
  };

  return {
    finished: (ms, failed) => {
      const slot = current();
      slot.requests += 1;
      slot.errors += failed ? 1 : 0;
      slot.latencies ??= createHistogram();
      record(slot.latencies, ms);
    },
    tokens: (count) => {
      current().tokens += count;
    },
    series: () => {
      const all = past(slots - 1);
      return {
        stepSeconds: slotMs / 1000,
        requests: all.map((slot) => slot.requests),
        errors: all.map((slot) => slot.errors),
        tokens: all.map((slot) => slot.tokens),
        p50Ms: all.map((slot) => percentileOrNull(slot, 0.5)),
        p95Ms: all.map((slot) => percentileOrNull(slot, 0.95)),
      };
    },
    rates: () => {
      const lately = [...past(Math.min(slots - 1, Math.round(RATE_MS / slotMs) - 1)), current()];
      const seconds = Math.max(slotMs, Math.min(RATE_MS, now() - bornMs)) / 1000;
      const perSecond = (of: (slot: Slot) => number): number =>
        tenths(lately.reduce((sum, slot) => sum + of(slot), 0) / seconds);
      return {
        requestsPerSecond: perSecond((slot) => slot.requests),
        tokensPerSecond: perSecond((slot) => slot.tokens),
      };
    },
    latency: () => {
      const sum = createHistogram();
      for (const { latencies } of [...past(slots - 1), current()]) if (latencies) addTo(sum, latencies);
      return latencyOf(sum);
    },
  };
};
