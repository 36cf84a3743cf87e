// The router's configuration: one schema over the environment, with defaults that suit a pod.
import { z } from 'zod';
import { LOG_LEVELS } from '../common/obs/log-level.ts';
import { readTracing } from '../common/obs/tracing.ts';
import { flag, port, readEnvironment, seconds, whole } from '../common/util/env.ts';
import type { Environment } from '../common/util/env.ts';
import type { KeyPlace } from './auth/api-keys.ts';

const MB = 1024 * 1024;
const BODIES_AT_ONCE = 4;

const environment = z.object({
  KUBEMBED_HOST: z.string().default('::'),
  KUBEMBED_PORT: port.default(8080),
  KUBEMBED_INTERNAL_HOST: z.string().optional(),
  KUBEMBED_INTERNAL_PORT: port.default(8081),
  /** Namespaces to serve, with spaces or commas between them; all of them when absent or empty. */
  KUBEMBED_WATCH_NAMESPACES: z.string().default(''),
  /** Releases whose models are served, by the Leases of their operators: `namespace/name`; those of all when absent. */
  KUBEMBED_RELEASES: z.string().optional(),
  KUBEMBED_REQUEST_SECONDS: seconds(1).default(600_000),
  KUBEMBED_CONNECT_TIMEOUT_MS: whole(1).default(500),
  KUBEMBED_MAX_BODY_BYTES: whole(1).default(32 * MB),
  /** Of all that is held for clients: bodies, requests that wait, answers on their way. Default: four bodies of the largest size. */
  KUBEMBED_MAX_HELD_BYTES: whole(1).optional(),
  KUBEMBED_MAX_CONNECTIONS: whole(1).default(8192),
  /** From one IPv4 address or IPv6 /64. Default: half of all where no keys are asked for, else no bound. */
  KUBEMBED_MAX_CONNECTIONS_PER_SOURCE: whole(1).optional(),
  /** Origins whose pages may call the router, such as `https://app.example.com`, or `*`; none when empty. */
  KUBEMBED_CORS_ORIGINS: z.string().default(''),
  /** Names under which local mode may be called, beside loopback and its own address. */
  KUBEMBED_ALLOWED_HOSTS: z.string().default(''),
  /** The activation queue: bounds of what waits for a model. */
  KUBEMBED_QUEUE_MAX_REQUESTS: whole(1).default(2000),
  KUBEMBED_QUEUE_MAX_BYTES: whole(1).default(64 * MB),
  KUBEMBED_QUEUE_SECONDS: seconds(1).default(300_000),
  /** An input array worth more than this much time of one endpoint is split. */
  KUBEMBED_SPLIT_MILLISECONDS: whole(1).default(100),
  KUBEMBED_SPLIT: flag.default(true),
  KUBEMBED_SLOW_START_SECONDS: seconds(1).default(10_000),
  KUBEMBED_DRAIN_SECONDS: seconds(1).default(25_000),
  /** After SIGTERM: not ready, but still taking requests, until load balancers have heard of it. */
  KUBEMBED_LINGER_SECONDS: seconds(0).default(0),
  KUBEMBED_LOG_LEVEL: z.enum(LOG_LEVELS).default('info'),
  /** Serves the status page at `/` and its numbers at `/status.json`. */
  KUBEMBED_STATUS_PAGE: flag.default(false),
  /** File of API keys (docs: sha256 of each key, never the key). Absent: no keys are asked for. */
  KUBEMBED_API_KEYS_FILE: z.string().optional(),
  /** `namespace/name` of a Secret with the same content under `keys.yaml`. */
  KUBEMBED_API_KEYS_SECRET: z
    .string()
    .regex(/^[^/]+\/[^/]+$/, 'must be namespace/name')
    .optional(),
  /** Routers that share the limits of a key: each gives its part. */
  KUBEMBED_ROUTERS: whole(1).default(1),
  /** Served names (or `*`) whose identical requests are answered from memory. */
  KUBEMBED_CACHE_MODELS: z.string().default(''),
  KUBEMBED_CACHE_BYTES: whole(1).default(64 * MB),
});

const words = (list: string): readonly string[] => list.split(/[\s,]+/).filter((word) => word !== '');

const secretOf = (reference: string | undefined): KeyPlace['secret'] => {
  const [namespace, name] = reference?.split('/') ?? [];
  return namespace !== undefined && name !== undefined ? { namespace, name } : undefined;
};

const hasKeys = (given: z.infer<typeof environment>): boolean =>
  (given.KUBEMBED_API_KEYS_FILE ?? given.KUBEMBED_API_KEYS_SECRET) !== undefined;

/** Throws `ConfigError`. Times are in milliseconds. */
export const readRouterConfig = (env: Environment) => {
  const given = readEnvironment(environment, env);
  return {
    host: given.KUBEMBED_HOST,
    port: given.KUBEMBED_PORT,
    internalHost: given.KUBEMBED_INTERNAL_HOST ?? given.KUBEMBED_HOST,
    internalPort: given.KUBEMBED_INTERNAL_PORT,
    namespaces: words(given.KUBEMBED_WATCH_NAMESPACES),
    releases: given.KUBEMBED_RELEASES === undefined ? undefined : words(given.KUBEMBED_RELEASES),
    requestMs: given.KUBEMBED_REQUEST_SECONDS,
    connectMs: given.KUBEMBED_CONNECT_TIMEOUT_MS,
    maxBodyBytes: given.KUBEMBED_MAX_BODY_BYTES,
    maxHeldBytes: given.KUBEMBED_MAX_HELD_BYTES ?? given.KUBEMBED_MAX_BODY_BYTES * BODIES_AT_ONCE,
    limits: {
      maxConnections: given.KUBEMBED_MAX_CONNECTIONS,
      maxConnectionsPerSource:
        given.KUBEMBED_MAX_CONNECTIONS_PER_SOURCE ??
        (hasKeys(given) ? undefined : Math.ceil(given.KUBEMBED_MAX_CONNECTIONS / 2)),
    },
    corsOrigins: words(given.KUBEMBED_CORS_ORIGINS),
    allowedHosts: words(given.KUBEMBED_ALLOWED_HOSTS),
    routers: given.KUBEMBED_ROUTERS,
    queue: {
      maxRequests: given.KUBEMBED_QUEUE_MAX_REQUESTS,
      maxBytes: given.KUBEMBED_QUEUE_MAX_BYTES,
      maxMs: given.KUBEMBED_QUEUE_SECONDS,
    },
    /** `targetMs` 0: nothing is split. */
    split: { targetMs: given.KUBEMBED_SPLIT ? given.KUBEMBED_SPLIT_MILLISECONDS : 0 },
    slowStartMs: given.KUBEMBED_SLOW_START_SECONDS,
    lingerMs: given.KUBEMBED_LINGER_SECONDS,
    drainMs: given.KUBEMBED_DRAIN_SECONDS,
    logLevel: given.KUBEMBED_LOG_LEVEL,
    statusPage: given.KUBEMBED_STATUS_PAGE,
    keys: { file: given.KUBEMBED_API_KEYS_FILE, secret: secretOf(given.KUBEMBED_API_KEYS_SECRET) },
    tracing: readTracing(env),
    cache: { models: words(given.KUBEMBED_CACHE_MODELS), maxBytes: given.KUBEMBED_CACHE_BYTES },
  };
};

export type RouterConfig = ReturnType<typeof readRouterConfig>;
