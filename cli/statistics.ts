// Percentiles and rates of a load run. Pure.

/** Nearest-rank percentile of ascending values; NaN for none. */
export function percentile(ascending: readonly number[], fraction: number): number {
  const rank = Math.max(0, Math.ceil(fraction * ascending.length) - 1);
  return ascending[rank] ?? Number.NaN;
}

export interface LoadResult {
  readonly seconds: number;
  readonly latenciesMs: readonly number[];
  readonly tokens: number;
  readonly inputs: number;
  readonly errors: Readonly<Record<string, number>>;
}

export interface LoadSummary {
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly inputsPerSecond: number;
  readonly tokensPerSecond: number;
  readonly latencyMs: { readonly p50: number; readonly p90: number; readonly p99: number; readonly max: number };
  readonly errors: Readonly<Record<string, number>>;
}

export function summarize({ seconds, latenciesMs, tokens, inputs, errors }: LoadResult): LoadSummary {
  const ascending = latenciesMs.toSorted((a, b) => a - b);
  return {
    requests: ascending.length,
    requestsPerSecond: ascending.length / seconds,
    inputsPerSecond: inputs / seconds,
    tokensPerSecond: tokens / seconds,
    latencyMs: {
      p50: percentile(ascending, 0.5),
      p90: percentile(ascending, 0.9),
      p99: percentile(ascending, 0.99),
      max: ascending.at(-1) ?? Number.NaN,
    },
    errors,
  };
}
