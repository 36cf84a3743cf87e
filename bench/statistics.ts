// Order statistics of measurements, and comparisons between peers that were measured in turn. Pure.
import { quantile as nearestRank } from '../common/util/stats.ts';

/** Nearest rank; NaN for no values. */
export const quantile = (values: readonly number[], share: number): number => nearestRank(values, share) ?? Number.NaN;

/** Of an even number of values the middle of the two middle ones: with two rounds, neither is better than the other. */
export const median = (values: readonly number[]): number =>
  (quantile(values, 0.5) +
    -quantile(
      values.map((value) => -value),
      0.5,
    )) /
  2;

export const spreadOf = (values: readonly number[]) => ({
  min: Math.min(...values),
  median: median(values),
  max: Math.max(...values),
});

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

/** Whose measurement, of what, in which round. */
export interface Measured {
  readonly peer: string;
  readonly cell: string;
  readonly round: number;
}

export const samplesOf = <T extends Measured>(samples: readonly T[], cell: string, peer: string): T[] =>
  samples.filter((sample) => sample.cell === cell && sample.peer === peer);

type Pair = Readonly<Record<'cell' | 'of' | 'to', string>>;

/** One peer's number as a share of another's in the same round, for each round: drift of the machine meets both. */
export function pairedRatios<T extends Measured>(
  samples: readonly T[],
  pair: Pair,
  read: (sample: T) => number | undefined,
): readonly number[] {
  const others = new Map(samplesOf(samples, pair.cell, pair.to).map((sample) => [sample.round, sample]));
  return samplesOf(samples, pair.cell, pair.of).flatMap((sample) => {
    const other = others.get(sample.round);
    const [one, two] = [read(sample), other && read(other)];
    return one === undefined || two === undefined ? [] : [one / two];
  });
}

/** Their median over rounds. NaN when they share no round. */
export const pairedRatio = <T extends Measured>(
  samples: readonly T[],
  pair: Pair,
  read: (sample: T) => number | undefined,
): number => median(pairedRatios(samples, pair, read));

/** The order of one round: everyone goes first once in as many rounds as there are peers. */
export const rotated = <T>(items: readonly T[], by: number): T[] => {
  const start = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
};
