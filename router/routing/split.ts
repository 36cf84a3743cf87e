// Splitting a big input array: how many shards, and which run of inputs goes in each. Pure.

/** Inputs `start` up to, not including, `end`. */
export interface Shard {
  readonly start: number;
  readonly end: number;
  readonly tokens: number;
}

export interface SplitLimits {
  /** Endpoints that could take a shard now. */
  readonly endpoints: number;
  /** What one endpoint does in the time worth splitting for. */
  readonly targetTokens: number;
}

export const shardCount = (tokens: readonly number[], limits: SplitLimits): number => {
  const total = tokens.reduce((sum, one) => sum + one, 0);
  const wanted = Math.ceil(total / Math.max(1, limits.targetTokens));
  return Math.max(1, Math.min(wanted, limits.endpoints, tokens.length));
};

/**
 * Contiguous shards of about equal tokens, at most `count`, never an empty one. Each boundary is put where the running
 * sum is nearest to its share, so no shard exceeds its share by more than one input.
 */
export const planShards = (tokens: readonly number[], count: number): readonly Shard[] => {
  const total = tokens.reduce((sum, one) => sum + one, 0);
  const shards: Shard[] = [];
  let start = 0;
  let sum = 0;
  let before = 0;
  for (const [at, one] of tokens.entries()) {
    const goal = (total * (shards.length + 1)) / count;
    // Closing before this input is nearer to the goal than closing after it.
    if (at > start && shards.length < count - 1 && sum + one / 2 > goal) {
      shards.push({ start, end: at, tokens: sum - before });
      start = at;
      before = sum;
    }
    sum += one;
  }
  if (start < tokens.length) shards.push({ start, end: tokens.length, tokens: sum - before });
  return shards;
};
