// Who a request is from, which models they may use, and how much per minute: the authenticator and the rate limiter.
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { OpenAIError } from '../../common/openai/errors.ts';
import { fullBucket, refill, take, waitMs } from '../../common/util/pacing.ts';
import type { Bucket, BucketPolicy } from '../../common/util/pacing.ts';
import type { ServedModel } from '../routing/table.ts';
import { mayUse } from './api-keys.ts';
import type { ApiKey } from './api-keys.ts';

/** What was charged for a request. */
export interface Charge {
  /** What the client is told of its limits. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The estimate that was charged gives way to what was used. */
  readonly settle: (tokens: number) => void;
}

/** Who sent a request. */
export interface Caller {
  /** What the key is called where it was written down; logged. */
  readonly keyName?: string;
  readonly mayUse: (model: ServedModel) => boolean;
  /** It may use every model. */
  readonly seesAll: boolean;
  /** Throws 429. */
  readonly charge: (tokens: number) => Charge;
}

export interface Authenticator {
  /** Nobody is asked for a key. */
  readonly isOpen: boolean;
  /** Whether anybody could be let in: false while the keys have not been read. */
  readonly isReady: () => boolean;
  /** Throws 401, or 503 while no keys have been read. */
  readonly authenticate: (headers: IncomingHttpHeaders) => Caller;
}

const FREE: Charge = { headers: [], settle: () => undefined };
const ANYBODY: Caller = { mayUse: () => true, seesAll: true, charge: () => FREE };

export const NO_AUTHENTICATION: Authenticator = { isOpen: true, isReady: () => true, authenticate: () => ANYBODY };

// The rate limiter: budgets per minute that refill steadily.

const MINUTE_MS = 60_000;

type Unit = 'requests' | 'tokens';

/** What is left of one limit of one key. */
interface Meter {
  readonly unit: Unit;
  readonly policy: BucketPolicy;
  bucket: Bucket;
}

/** As OpenAI prints it: `20ms`, `1s`, `6m0s`. */
export const printDuration = (ms: number): string => {
  if (ms < 1000) return `${Math.ceil(ms)}ms`;
  const seconds = Math.ceil(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
};

const metersOf = (key: ApiKey, nowMs: number, routers: number): readonly Meter[] => {
  const meter = (unit: Unit, perMinute: number | undefined): readonly Meter[] => {
    if (perMinute === undefined) return [];
    // Less than one at a time would be none at all.
    const policy = { burst: Math.max(1, perMinute / routers), perMs: perMinute / routers / MINUTE_MS };
    return [{ unit, policy, bucket: fullBucket(policy, nowMs) }];
  };
  return [...meter('requests', key.requestsPerMinute), ...meter('tokens', key.tokensPerMinute)];
};

const told = ({ unit, policy, bucket }: Meter, nowMs: number): readonly (readonly [string, string])[] => [
  [`x-ratelimit-limit-${unit}`, String(Math.floor(policy.burst))],
  [`x-ratelimit-remaining-${unit}`, String(Math.max(0, Math.floor(refill(policy, bucket, nowMs).tokens)))],
  [`x-ratelimit-reset-${unit}`, printDuration(waitMs(policy, bucket, policy.burst, nowMs))],
];

/** Throws 429 when one of the key's limits is reached, and charges nothing then. */
export type RateLimiter = (key: ApiKey, tokens: number) => Charge;

/** Each of several routers gives its share of what a key has, so that the sum is the key's wherever requests go; one at a time at least. */
export const createRateLimiter = (now: () => number, routers = 1): RateLimiter => {
  /** By name, so that a key's replacement does not start with a fresh minute. */
  const meters = new Map<string, readonly Meter[]>();

  const currentMeters = (key: ApiKey): readonly Meter[] => {
    const known = meters.get(key.name) ?? [];
    const current = metersOf(key, now(), routers).map(
      (fresh) => known.find(({ unit, policy }) => unit === fresh.unit && policy.burst === fresh.policy.burst) ?? fresh,
    );
    meters.set(key.name, current);
    return current;
  };

  return (key, tokens) => {
    const nowMs = now();
    const current = currentMeters(key);
    const amount = ({ unit }: Meter): number => (unit === 'requests' ? 1 : tokens);
    const taken = current.map((meter) => take(meter.policy, meter.bucket, amount(meter), nowMs));
    const short = current[taken.indexOf(undefined)];
    if (short) {
      const { unit, policy, bucket } = short;
      const retryAfterMs = waitMs(policy, bucket, amount(short), nowMs);
      throw new OpenAIError(
        'rate_limit_exceeded',
        `Rate limit reached for ${unit} per minute: limit ${Math.floor(policy.burst)}. Please try again in ${printDuration(retryAfterMs)}.`,
        { retryAfterMs, headers: Object.fromEntries(current.flatMap((meter) => told(meter, nowMs))) },
      );
    }
    for (const [at, meter] of current.entries()) meter.bucket = taken[at] ?? meter.bucket;
    const metered = current.find(({ unit }) => unit === 'tokens');
    return {
      headers: current.flatMap((meter) => told(meter, nowMs)),
      settle: (used) => {
        if (metered) metered.bucket = { ...metered.bucket, tokens: metered.bucket.tokens + tokens - used };
      },
    };
  };
};

// The authenticator

export const keysUnread = (): OpenAIError =>
  new OpenAIError('service_unavailable', 'The API keys have not been read yet.', { retryAfterMs: 1000 });

const BEARER = /^Bearer\s+(\S+)$/i;

const unauthorised = (message: string): OpenAIError =>
  new OpenAIError('invalid_api_key', message, { headers: { 'www-authenticate': 'Bearer' } });

export const createAuthenticator = (
  keys: () => ReadonlyMap<string, ApiKey> | undefined,
  limiter: RateLimiter,
): Authenticator => {
  const callerWith = (key: ApiKey): Caller => ({
    keyName: key.name,
    mayUse: ({ names }) => mayUse(key, names),
    seesAll: key.models === undefined,
    charge: (tokens) => limiter(key, tokens),
  });

  return {
    isOpen: false,
    isReady: () => keys() !== undefined,
    authenticate: ({ authorization = '' }) => {
      const known = keys();
      if (known === undefined) throw keysUnread();
      const given = BEARER.exec(authorization)?.[1];
      if (given === undefined) {
        throw unauthorised("You didn't provide an API key. Send it in a header: Authorization: Bearer YOUR_KEY.");
      }
      const key = known.get(createHash('sha256').update(given).digest('hex'));
      if (key === undefined) throw unauthorised('Incorrect API key provided.');
      return callerWith(key);
    },
  };
};
