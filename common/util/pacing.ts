// Pacing: a token bucket, which fills steadily and pays for what is taken, and exponential back-off after failures. Pure.

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

// Exponential back-off: how long to wait after so many failures in a row. Pure.

export interface BackoffPolicy {
  readonly initialMs: number;
  readonly maxMs: number;
}

/** Doubles from `initialMs` to `maxMs`; `failures` counts from 1. */
export const backoffMs = ({ initialMs, maxMs }: BackoffPolicy, failures: number): number =>
  Math.min(initialMs * 2 ** Math.min(Math.max(failures - 1, 0), 30), maxMs);

/** Drawn from the upper half of the delay, so that those who failed together do not return together; `random` in [0, 1). */
export const jittered = (delayMs: number, random: number): number => delayMs * (0.5 + random / 2);
