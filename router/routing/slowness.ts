// How slow an endpoint is against its peers, from the time its answers took. Pure.

export interface Pace {
  /** Moving average of milliseconds per token, queue before it included. */
  readonly msPerToken: number;
  readonly atMs: number;
}

const WEIGHT = 0.3;
/** Small requests are all overhead: below this many tokens time does not grow with them. */
const FLOOR_TOKENS = 64;
/** Differences below this factor are noise. */
const TOLERANCE = 2.5;
/** An outlier is forgiven by half every so often, so that it is tried again. */
const HALF_LIFE_MS = 10_000;

export const notePace = (
  pace: Pace | undefined,
  sample: { tookMs: number; tokensAhead: number },
  nowMs: number,
): Pace => {
  const seen = sample.tookMs / Math.max(FLOOR_TOKENS, sample.tokensAhead);
  const msPerToken = pace === undefined ? seen : pace.msPerToken * (1 - WEIGHT) + seen * WEIGHT;
  return { msPerToken, atMs: nowMs };
};

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[(values.length - 1) >> 1] ?? 0;

/** One factor per endpoint, 1 or more. The lower median is the norm, so one slow endpoint of two is still an outlier. */
export const slownessOf = (paces: readonly (Pace | undefined)[], nowMs: number): readonly number[] => {
  const known = paces.filter((pace) => pace !== undefined).map(({ msPerToken }) => msPerToken);
  const norm = known.length < 2 ? 0 : median(known);
  return paces.map((pace) => {
    if (pace === undefined || norm <= 0) return 1;
    const excess = pace.msPerToken / norm - 1;
    const factor = 1 + excess * 0.5 ** ((nowMs - pace.atMs) / HALF_LIFE_MS);
    return factor > TOLERANCE ? factor : 1;
  });
};
