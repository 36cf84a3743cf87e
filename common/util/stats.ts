// Order statistics of a few numbers. Pure.

/** Nearest rank, `share` in [0, 1]; undefined for no values. Of an even number of values the lower middle is the median. */
export function quantile(values: readonly number[], share: number): number | undefined {
  const ascending = values.toSorted((a, b) => a - b);
  return ascending[Math.max(0, Math.ceil(share * ascending.length) - 1)];
}

export const median = (values: readonly number[]): number | undefined => quantile(values, 0.5);
