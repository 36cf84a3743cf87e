// The runtime's configuration: the environment as one frozen value, or every fault in it at once.
import { homedir } from 'node:os';
import * as z from 'zod';
import { LOG_LEVELS } from '../common/obs/log.ts';
import type { LogLevel } from '../common/obs/log.ts';
import { readTracing } from '../common/obs/tracing.ts';
import type { TracingConfig } from '../common/obs/tracing.ts';
import { readModelSettings } from '../hub/paths.ts';
import type { HubSettings, ModelSettings } from '../hub/paths.ts';

export interface RuntimeConfig {
  readonly model: string;
  /** Commit that the operator recorded, else the branch, tag or commit asked for. */
  readonly revision: string;
  readonly pinnedRevision?: string;
  readonly store: string;
  readonly hub: HubSettings;
  readonly host: string;
  readonly port: number;
  readonly device: 'cpu' | 'gpu';
  readonly precision: 'float32' | 'float16' | 'int8';
  readonly pooling: 'mean' | 'cls';
  readonly overlongInput: 'truncate' | 'error';
  /** Omitted: what the cgroup quota allows. */
  readonly threads?: number;
  readonly maxQueueTokens: number;
  readonly maxBodyBytes: number;
  readonly drainMs: number;
  readonly logLevel: LogLevel;
  readonly terminationLog: string;
  /** Omitted: nothing is traced. */
  readonly tracing?: TracingConfig;
}

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

const PREFIX = 'KUBEMBED_';
/** Kubernetes gives pods variables for each Service of the namespace; ours may be called kubembed. */
const SERVICE_LINK = /_(SERVICE_(HOST|PORT(_.+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_.+)?)?)$/;

const count = (minimum: number, maximum: number) => z.coerce.number().int().min(minimum).max(maximum);
const flag = z.stringbool({ truthy: ['1', 'true', 'yes', 'on'], falsy: ['0', 'false', 'no', 'off'] });

// 2048 inputs of 512 tokens: the largest request that a model of the usual length can get.
const MAX_QUEUE_TOKENS = 2048 * 512;

const schema = z.object({
  KUBEMBED_MODEL: z.string(),
  KUBEMBED_REVISION: z.string().default('main'),
  KUBEMBED_PINNED_REVISION: z.string().optional(),
  KUBEMBED_STORE: z.string().optional(),
  KUBEMBED_HOST: z.string().default('0.0.0.0'),
  KUBEMBED_PORT: count(0, 65_535).default(8080),
  KUBEMBED_DEVICE: z.enum(['cpu', 'gpu']).default('cpu'),
  KUBEMBED_PRECISION: z.enum(['float32', 'float16', 'int8']).optional(),
  KUBEMBED_POOLING: z.enum(['mean', 'cls']).default('mean'),
  KUBEMBED_OVERLONG_INPUT: z.enum(['truncate', 'error']).default('truncate'),
  KUBEMBED_THREADS: count(1, 1024).optional(),
  KUBEMBED_MAX_QUEUE_TOKENS: count(1, 2 ** 31).default(MAX_QUEUE_TOKENS),
  KUBEMBED_MAX_BODY_BYTES: count(1024, 2 ** 30).default(32 * 1024 * 1024),
  KUBEMBED_DRAIN_SECONDS: z.coerce.number().min(0).max(3600).default(25),
  KUBEMBED_LOG_LEVEL: z.enum(LOG_LEVELS).default('info'),
  KUBEMBED_TERMINATION_LOG: z.string().default('/dev/termination-log'),
  // Read by hub/paths.ts; here only so that a value which means nothing is a fault.
  HF_HUB_OFFLINE: flag.optional(),
});

export type Environment = Readonly<Record<string, string | undefined>>;

/** Throws `ConfigError`, whose message has a line for each fault. */
export function readRuntimeConfig(env: Environment, home: string = homedir()): RuntimeConfig {
  const known = Object.keys(schema.shape);
  const unknown = Object.keys(env).filter(
    (name) => name.startsWith(PREFIX) && !known.includes(name) && !SERVICE_LINK.test(name),
  );
  // An empty value counts as unset: that is how a pod template leaves one out.
  const given: Environment = Object.fromEntries(
    known.map((name) => [name, env[name]] as const).filter(([, value]) => value !== ''),
  );
  const result = schema.safeParse(given);
  const faults = [
    ...unknown.map((name) => `${name}: unknown variable`),
    ...(result.error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`),
  ];
  if (!result.success || faults.length > 0) throw new ConfigError(faults.join('\n'));
  return { ...toConfig(result.data, readModelSettings(env, home)), ...optional('tracing', readTracing(env)) };
}

function toConfig(read: z.infer<typeof schema>, { store, hub }: ModelSettings): RuntimeConfig {
  return {
    model: read.KUBEMBED_MODEL,
    revision: read.KUBEMBED_REVISION,
    ...optional('pinnedRevision', read.KUBEMBED_PINNED_REVISION),
    store,
    hub,
    host: read.KUBEMBED_HOST,
    port: read.KUBEMBED_PORT,
    device: read.KUBEMBED_DEVICE,
    precision: read.KUBEMBED_PRECISION ?? (read.KUBEMBED_DEVICE === 'gpu' ? 'float16' : 'float32'),
    pooling: read.KUBEMBED_POOLING,
    overlongInput: read.KUBEMBED_OVERLONG_INPUT,
    ...optional('threads', read.KUBEMBED_THREADS),
    maxQueueTokens: read.KUBEMBED_MAX_QUEUE_TOKENS,
    maxBodyBytes: read.KUBEMBED_MAX_BODY_BYTES,
    drainMs: read.KUBEMBED_DRAIN_SECONDS * 1000,
    logLevel: read.KUBEMBED_LOG_LEVEL,
    terminationLog: read.KUBEMBED_TERMINATION_LOG,
  };
}

function optional<K extends string, V>(key: K, value: V | undefined): Partial<Readonly<Record<K, V>>> {
  return value === undefined ? {} : ({ [key]: value } as Partial<Readonly<Record<K, V>>>);
}
