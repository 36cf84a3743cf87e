// Latencies as counts in buckets that grow by an eighth of an octave: percentiles within 5 %, in constant space. Pure.

const LEAST_MS = 0.1;
const PER_OCTAVE = 8;
/** 0.1 ms to about 28 minutes. */
const BUCKETS = 192;

export type Histogram = Uint32Array;

export const createHistogram = (): Histogram => new Uint32Array(BUCKETS);

const bucketOf = (ms: number): number => {
  const index = Math.round(Math.log2(Math.max(ms, LEAST_MS) / LEAST_MS) * PER_OCTAVE);
  return Math.min(BUCKETS - 1, index);
};

export const record = (histogram: Histogram, ms: number): void => {
  const bucket = bucketOf(ms);
  histogram[bucket] = (histogram[bucket] ?? 0) + 1;
};

export const addTo = (sum: Histogram, other: Histogram): void => {
  for (const [bucket, count] of other.entries()) sum[bucket] = (sum[bucket] ?? 0) + count;
};

/** Nearest rank; undefined for no values. */
export const percentileOf = (histogram: Histogram, fraction: number): number | undefined => {
  const total = histogram.reduce((sum, count) => sum + count, 0);
  if (total === 0) return undefined;
  let left = Math.max(1, Math.ceil(fraction * total));
  const bucket = histogram.findIndex((count) => (left -= count) <= 0);
  return LEAST_MS * 2 ** (bucket / PER_OCTAVE);
};
