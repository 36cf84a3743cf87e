// The router's configuration: one schema over the environment, with defaults that suit a pod.
import { z } from 'zod';
import { LOG_LEVELS } from '../common/obs/log.ts';
import type { LogLevel } from '../common/obs/log.ts';
import { readTracing } from '../common/obs/tracing.ts';
import type { TracingConfig } from '../common/obs/tracing.ts';

const flag = z.enum(['true', 'false', '1', '0']).transform((value) => value === 'true' || value === '1');
const count = (fallback: number) => z.coerce.number().int().positive().default(fallback);
const port = (fallback: number) => z.coerce.number().int().min(0).max(65_535).default(fallback);

const environment = z.object({
  KUBEMBED_HOST: z.string().default('0.0.0.0'),
  KUBEMBED_PORT: port(8080),
  KUBEMBED_INTERNAL_HOST: z.string().optional(),
  KUBEMBED_INTERNAL_PORT: port(8081),
  /** One namespace to serve; all of them when absent. */
  KUBEMBED_NAMESPACE: z.string().min(1).optional(),
  KUBEMBED_REQUEST_SECONDS: count(600),
  KUBEMBED_CONNECT_TIMEOUT_MS: count(500),
  KUBEMBED_MAX_BODY_BYTES: count(32 * 1024 * 1024),
  KUBEMBED_HOLD_MAX_REQUESTS: count(2000),
  KUBEMBED_HOLD_MAX_BYTES: count(64 * 1024 * 1024),
  KUBEMBED_HOLD_SECONDS: count(300),
  /** An input array worth more than this much time of one endpoint is split. */
  KUBEMBED_SPLIT_MILLISECONDS: count(100),
  KUBEMBED_SPLIT: flag.default(true),
  KUBEMBED_SLOW_START_SECONDS: count(10),
  KUBEMBED_DRAIN_SECONDS: count(25),
  /** After SIGTERM: not ready, but still taking requests, until load balancers have heard of it. */
  KUBEMBED_LINGER_SECONDS: z.coerce.number().min(0).default(0),
  KUBEMBED_LOG_LEVEL: z.enum(LOG_LEVELS).default('info'),
  /** Serves the status page at `/` and its numbers at `/status.json`. */
  KUBEMBED_STATUS_PAGE: flag.default(false),
  /** File of API keys (docs: sha256 of each key, never the key). Absent: no keys are asked for. */
  KUBEMBED_API_KEYS_FILE: z.string().min(1).optional(),
  /** `namespace/name` of a Secret with the same content under `keys.yaml`. */
  KUBEMBED_API_KEYS_SECRET: z
    .string()
    .regex(/^[^/]+\/[^/]+$/, 'must be namespace/name')
    .optional(),
  /** Served names (or `*`) whose identical inputs are answered from memory. */
  KUBEMBED_CACHE_MODELS: z.string().default(''),
  KUBEMBED_CACHE_BYTES: count(64 * 1024 * 1024),
});

/** Milliseconds throughout. */
export interface RouterConfig {
  readonly host: string;
  readonly port: number;
  readonly internalHost: string;
  readonly internalPort: number;
  readonly namespace?: string;
  readonly requestMs: number;
  readonly connectMs: number;
  readonly maxBodyBytes: number;
  readonly hold: { readonly maxRequests: number; readonly maxBytes: number; readonly maxMs: number };
  /** `targetMs` 0 switches splitting off. */
  readonly split: { readonly targetMs: number };
  readonly slowStartMs: number;
  readonly lingerMs: number;
  readonly drainMs: number;
  readonly logLevel: LogLevel;
  readonly statusPage: boolean;
  readonly keys: { readonly file?: string; readonly secret?: { readonly namespace: string; readonly name: string } };
  /** Absent: nothing is traced. */
  readonly tracing?: TracingConfig;
  readonly cache: { readonly models: readonly string[]; readonly maxBytes: number };
}

const words = (list: string): readonly string[] => list.split(/[\s,]+/).filter((word) => word !== '');

const keySource = (file: string | undefined, secret: string | undefined): RouterConfig['keys'] => {
  const [namespace, name] = secret?.split('/') ?? [];
  return {
    ...(file !== undefined && { file }),
    ...(namespace !== undefined && name !== undefined && { secret: { namespace, name } }),
  };
};

/** Empty counts as unset; in a namespace with a Service named kubembed, Kubernetes sets KUBEMBED_PORT to its address. */
const isGiven = ([, value]: readonly [string, string | undefined]): boolean =>
  value !== undefined && value !== '' && !value.startsWith('tcp://');

export const readRouterConfig = (env: Readonly<Record<string, string | undefined>>): RouterConfig => {
  const given = environment.parse(Object.fromEntries(Object.entries(env).filter(isGiven)));
  const tracing = readTracing(env);
  return {
    host: given.KUBEMBED_HOST,
    port: given.KUBEMBED_PORT,
    internalHost: given.KUBEMBED_INTERNAL_HOST ?? given.KUBEMBED_HOST,
    internalPort: given.KUBEMBED_INTERNAL_PORT,
    ...(given.KUBEMBED_NAMESPACE !== undefined && { namespace: given.KUBEMBED_NAMESPACE }),
    requestMs: given.KUBEMBED_REQUEST_SECONDS * 1000,
    connectMs: given.KUBEMBED_CONNECT_TIMEOUT_MS,
    maxBodyBytes: given.KUBEMBED_MAX_BODY_BYTES,
    hold: {
      maxRequests: given.KUBEMBED_HOLD_MAX_REQUESTS,
      maxBytes: given.KUBEMBED_HOLD_MAX_BYTES,
      maxMs: given.KUBEMBED_HOLD_SECONDS * 1000,
    },
    split: { targetMs: given.KUBEMBED_SPLIT ? given.KUBEMBED_SPLIT_MILLISECONDS : 0 },
    slowStartMs: given.KUBEMBED_SLOW_START_SECONDS * 1000,
    lingerMs: given.KUBEMBED_LINGER_SECONDS * 1000,
    drainMs: given.KUBEMBED_DRAIN_SECONDS * 1000,
    logLevel: given.KUBEMBED_LOG_LEVEL,
    statusPage: given.KUBEMBED_STATUS_PAGE,
    keys: keySource(given.KUBEMBED_API_KEYS_FILE, given.KUBEMBED_API_KEYS_SECRET),
    ...(tracing !== undefined && { tracing }),
    cache: { models: words(given.KUBEMBED_CACHE_MODELS), maxBytes: given.KUBEMBED_CACHE_BYTES },
  };
};
