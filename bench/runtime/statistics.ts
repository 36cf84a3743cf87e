// Samples → the numbers of the tables. Pure.
import { quantile } from '../../common/util/stats.ts';

/** Nearest rank; NaN for no values. */
export const percentile = (values: readonly number[], share: number): number => quantile(values, share) ?? Number.NaN;

export interface Timed {
  readonly startMs: number;
  readonly endMs: number;
  readonly tokens: number;
}

/**
 * Tokens of a window: a request that was under way at one of its edges counts by the share of its time inside. Counting
 * whole requests would make the windows of large requests a matter of luck.
 */
export function tokensWithin(requests: readonly Timed[], fromMs: number, toMs: number): number {
  return requests.reduce((sum, { startMs, endMs, tokens }) => {
    const inside = Math.min(endMs, toMs) - Math.max(startMs, fromMs);
    return inside <= 0 ? sum : sum + (tokens * inside) / Math.max(endMs - startMs, Number.EPSILON);
  }, 0);
}

export interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export const spreadOf = (values: readonly number[]): Spread => ({
  min: Math.min(...values),
  median: median(values),
  max: Math.max(...values),
});

/** One window of one peer. */
export interface Sample {
  readonly peer: string;
  readonly cell: string;
  readonly round: number;
  readonly tokensPerSecond: number;
  readonly cpuPerMillion: number;
  /** Absent for the limit line, which answers nobody. */
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  readonly requests?: number;
  readonly errors: number;
  readonly seconds: number;
  readonly foreignCores: number;
  readonly clientCores: number;
  /** A word from one core to another and back, nanoseconds, before or after the window, whichever was longer. */
  readonly roundTripNs: number;
  /** Beside the load, where asked for. */
  readonly healthP99Ms?: number;
  readonly eventLoopP99Ms?: number;
}

export const samplesOf = (samples: readonly Sample[], cell: string, peer: string): Sample[] =>
  samples.filter((sample) => sample.cell === cell && sample.peer === peer);

export interface Pair {
  readonly cell: string;
  readonly of: string;
  readonly to: string;
}

/**
 * The median over rounds of one peer's number as a share of another's in the same round: drift of the machine meets both.
 * NaN when they share no round.
 */
export function pairedRatio(samples: readonly Sample[], pair: Pair, read: (sample: Sample) => number): number {
  const others = new Map(samplesOf(samples, pair.cell, pair.to).map((sample) => [sample.round, sample]));
  return median(
    samplesOf(samples, pair.cell, pair.of).flatMap((sample) => {
      const other = others.get(sample.round);
      return other === undefined ? [] : [read(sample) / read(other)];
    }),
  );
}

/** The order of one round: everyone goes first once in as many rounds as there are peers. */
export const rotated = <T>(items: readonly T[], by: number): T[] => {
  const start = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
};
