// The runtime's configuration: the environment as one value, or every fault in it at once.
import * as z from 'zod';
import { LOG_LEVELS } from '../common/obs/log-level.ts';
import type { LogLevel } from '../common/obs/log-level.ts';
import { readTracing } from '../common/obs/tracing.ts';
import type { TracingConfig } from '../common/obs/tracing.ts';
import { flag, port, readEnvironment, seconds, whole } from '../common/util/env.ts';
import type { Environment } from '../common/util/env.ts';
import { homeFolder } from '../common/util/process.ts';
import { parseJson } from '../hub/files.ts';
import { readModelSettings } from '../hub/paths.ts';
import { defaultPrecision, precisionFault } from './model/precision.ts';
import { POOLING_CHOICES } from './model/modules.ts';
import type { PoolingChoice } from './model/modules.ts';
import type { HubSettings } from '../hub/paths.ts';

export interface RuntimeConfig {
  readonly model: string;
  /** Branch, tag or commit asked for. */
  readonly revision: string;
  /** Commit that the operator recorded; wins over `revision`. */
  readonly resolvedRevision: string | undefined;
  readonly store: string;
  readonly hub: HubSettings;
  readonly host: string;
  readonly port: number;
  readonly device: 'cpu' | 'gpu';
  readonly precision: 'float32' | 'float16' | 'int8';
  readonly pooling: PoolingChoice;
  /** By served name, as in the EmbeddingModel. */
  readonly prompts: Readonly<Record<string, string>>;
  readonly overlongInput: 'truncate' | 'error';
  /** Undefined: what the cgroup quota allows. */
  readonly threads: number | undefined;
  readonly maxQueueTokens: number;
  readonly maxBodyBytes: number;
  readonly maxConnections: number;
  readonly drainMs: number;
  readonly logLevel: LogLevel;
  readonly terminationLog: string;
  /** Undefined: nothing is traced. */
  readonly tracing: TracingConfig | undefined;
}

// 2048 inputs of 512 tokens: the largest request that a model of the usual length can get.
const MAX_QUEUE_TOKENS = 2048 * 512;

const variables = z.object({
  KUBEMBED_MODEL: z.string(),
  KUBEMBED_REVISION: z.string().default('main'),
  KUBEMBED_RESOLVED_REVISION: z.string().optional(),
  KUBEMBED_HOST: z.string().default('::'),
  KUBEMBED_PORT: port.default(8080),
  KUBEMBED_DEVICE: z.enum(['cpu', 'gpu']).default('cpu'),
  KUBEMBED_PRECISION: z.enum(['float32', 'float16', 'int8']).optional(),
  KUBEMBED_POOLING: z.enum(POOLING_CHOICES).default('mean'),
  KUBEMBED_PROMPTS: z
    .string()
    .default('{}')
    .transform((text, context) => {
      const read = z.record(z.string(), z.string()).safeParse(parseJson(text));
      if (read.success) return read.data;
      context.addIssue('must be a JSON object of prompts by served name');
      return z.NEVER;
    }),
  KUBEMBED_OVERLONG_INPUT: z.enum(['truncate', 'error']).default('truncate'),
  KUBEMBED_THREADS: whole(1, 1024).optional(),
  KUBEMBED_MAX_QUEUE_TOKENS: whole(1, 2 ** 31).default(MAX_QUEUE_TOKENS),
  KUBEMBED_MAX_BODY_BYTES: whole(1024, 2 ** 30).default(32 * 1024 * 1024),
  KUBEMBED_MAX_CONNECTIONS: whole(1, 2 ** 20).default(4096),
  KUBEMBED_DRAIN_SECONDS: seconds(0, 3600).default(25_000),
  KUBEMBED_LOG_LEVEL: z.enum(LOG_LEVELS).default('info'),
  KUBEMBED_TERMINATION_LOG: z.string().default('/dev/termination-log'),
  // Read by hub/paths.ts; here only so that they are known, and a value which means nothing is a fault.
  KUBEMBED_STORE: z.string().optional(),
  KUBEMBED_HUB_USERNAME: z.string().optional(),
  KUBEMBED_HUB_PASSWORD: z.string().optional(),
  KUBEMBED_PROXY_USERNAME: z.string().optional(),
  KUBEMBED_PROXY_PASSWORD: z.string().optional(),
  HF_HUB_OFFLINE: flag.optional(),
});

const schema = variables.check(({ value, issues }) => {
  const { KUBEMBED_DEVICE: device, KUBEMBED_PRECISION: precision } = value;
  const fault = precision && precisionFault(device, precision);
  if (fault !== undefined)
    issues.push({ code: 'custom', path: ['KUBEMBED_PRECISION'], message: fault, input: precision });
});

/** Throws `ConfigError`, whose message has a line for each fault. */
export function readRuntimeConfig(env: Environment, home: string = homeFolder(env)): RuntimeConfig {
  const read = readEnvironment(schema, env);
  return {
    model: read.KUBEMBED_MODEL,
    revision: read.KUBEMBED_REVISION,
    resolvedRevision: read.KUBEMBED_RESOLVED_REVISION,
    ...readModelSettings(env, home),
    host: read.KUBEMBED_HOST,
    port: read.KUBEMBED_PORT,
    device: read.KUBEMBED_DEVICE,
    precision: read.KUBEMBED_PRECISION ?? defaultPrecision(read.KUBEMBED_DEVICE),
    pooling: read.KUBEMBED_POOLING,
    prompts: read.KUBEMBED_PROMPTS,
    overlongInput: read.KUBEMBED_OVERLONG_INPUT,
    threads: read.KUBEMBED_THREADS,
    maxQueueTokens: read.KUBEMBED_MAX_QUEUE_TOKENS,
    maxBodyBytes: read.KUBEMBED_MAX_BODY_BYTES,
    maxConnections: read.KUBEMBED_MAX_CONNECTIONS,
    drainMs: read.KUBEMBED_DRAIN_SECONDS,
    logLevel: read.KUBEMBED_LOG_LEVEL,
    terminationLog: read.KUBEMBED_TERMINATION_LOG,
    tracing: readTracing(env),
  };
}
