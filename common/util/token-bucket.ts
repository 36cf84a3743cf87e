// A token bucket: fills steadily up to a limit, pays for what is taken. Pure.

export interface BucketPolicy {
  /** Most tokens it holds. */
  readonly burst: number;
  readonly perMs: number;
}

export interface Bucket {
  /** Negative: promised already. */
  readonly tokens: number;
  readonly atMs: number;
}

export const fullBucket = ({ burst }: BucketPolicy, nowMs: number): Bucket => ({ tokens: burst, atMs: nowMs });

export const refill = ({ burst, perMs }: BucketPolicy, { tokens, atMs }: Bucket, nowMs: number): Bucket => ({
  tokens: Math.min(burst, tokens + perMs * Math.max(0, nowMs - atMs)),
  atMs: nowMs,
});

/** The bucket less `amount`; undefined if that is not there. More than it ever holds is given when it is full. */
export const take = (policy: BucketPolicy, bucket: Bucket, amount: number, nowMs: number): Bucket | undefined => {
  const filled = refill(policy, bucket, nowMs);
  return filled.tokens >= Math.min(amount, policy.burst) ? { ...filled, tokens: filled.tokens - amount } : undefined;
};

/** Milliseconds until `take` gives `amount`. */
export const waitMs = (policy: BucketPolicy, bucket: Bucket, amount: number, nowMs: number): number => {
  const short = Math.min(amount, policy.burst) - refill(policy, bucket, nowMs).tokens;
  return short <= 0 ? 0 : short / policy.perMs;
};

/** Takes one token, on credit if need be; `delayMs` is until that credit is paid. */
export const reserve = (
  policy: BucketPolicy,
  bucket: Bucket,
  nowMs: number,
): { readonly bucket: Bucket; readonly delayMs: number } => {
  const filled = refill(policy, bucket, nowMs);
  const tokens = filled.tokens - 1;
  return { bucket: { ...filled, tokens }, delayMs: Math.max(0, Math.ceil(-tokens / policy.perMs)) };
};
