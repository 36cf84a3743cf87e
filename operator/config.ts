// The operator's configuration: one schema over the environment, reporting every fault at once.
import { z } from 'zod';
import { LOG_LEVELS } from '../common/obs/log.ts';
import type { LogLevel } from '../common/obs/log.ts';
import type { DesiredConfig, DeviceProfile } from './desired/config.ts';

const flag = z.enum(['true', 'false', '1', '0']).transform((value) => value === 'true' || value === '1');
const seconds = (fallback: number) => z.coerce.number().int().positive().default(fallback);
const text = z.string().min(1);

const quantities = z.record(z.string(), z.coerce.string());
const resources = z.strictObject({ requests: quantities.optional(), limits: quantities.optional() });
const profile = z.strictObject({
  resources: resources.optional(),
  nodeSelector: z.record(z.string(), z.string()).optional(),
  tolerations: z.array(z.looseObject({})).optional(),
  affinity: z.looseObject({}).optional(),
  runtimeClassName: z.string().optional(),
  priorityClassName: z.string().optional(),
});
const variables = z.record(z.string(), z.coerce.string());

/** What `KUBEMBED_RUNTIME_DEFAULTS` holds, as JSON: the chart's `runtime` values. */
const runtimeDefaults = z.strictObject({
  cpu: profile.default({}),
  gpu: profile.default({}),
  gpuResource: text.default('nvidia.com/gpu'),
  podLabels: z.record(z.string(), z.string()).default({}),
  podAnnotations: z.record(z.string(), z.string()).default({}),
  imagePullSecrets: z.array(z.strictObject({ name: text })).default([]),
  fetchEnv: variables.default({}),
  serveEnv: variables.default({}),
  startupSeconds: z.int().positive().default(600),
  preStopSeconds: z.int().positive().default(5),
  drainSeconds: z.int().positive().default(30),
});

const json = z.string().transform((value, context): unknown => {
  try {
    return JSON.parse(value);
  } catch (error) {
    context.addIssue({
      code: 'custom',
      message: `is not JSON: ${error instanceof Error ? error.message : 'unreadable'}`,
    });
    return z.NEVER;
  }
});

const environment = z.object({
  /** Namespace of the operator itself: Lease, list of supported models, router Service. */
  KUBEMBED_NAMESPACE: text.default('kubembed'),
  /** One namespace whose EmbeddingModels are reconciled; all when absent or empty. */
  KUBEMBED_WATCH_NAMESPACE: z.string().default(''),
  KUBEMBED_CATALOG_CONFIGMAP: text.default('kubembed-catalog'),
  KUBEMBED_CATALOG_KEY: text.default('supported_models.txt'),
  /** Service whose EndpointSlices name the routers, and its port with `/internal/demand`. */
  KUBEMBED_ROUTER_SERVICE: text.default('kubembed-router-internal'),
  KUBEMBED_ROUTER_PORT_NAME: text.default('internal'),
  KUBEMBED_RUNTIME_IMAGE: text.default('kubembed-runtime:latest'),
  KUBEMBED_RUNTIME_GPU_IMAGE: text.default('kubembed-runtime-gpu:latest'),
  KUBEMBED_IMAGE_PULL_POLICY: z.enum(['IfNotPresent', 'Always', 'Never']).default('IfNotPresent'),
  KUBEMBED_RUNTIME_DEFAULTS: json.pipe(runtimeDefaults).default(() => runtimeDefaults.parse({})),
  HF_ENDPOINT: z.string().optional(),
  KUBEMBED_HOST: text.default('0.0.0.0'),
  KUBEMBED_PORT: z.coerce.number().int().min(0).max(65_535).default(8081),
  KUBEMBED_LEADER_ELECTION: flag.default(true),
  KUBEMBED_LEASE_NAME: text.default('kubembed-operator'),
  /** Who holds the Lease: the pod's name. */
  KUBEMBED_IDENTITY: z.string().optional(),
  KUBEMBED_WORKERS: z.coerce.number().int().min(1).max(64).default(4),
  KUBEMBED_DRAIN_BACKLOG_SECONDS: seconds(10),
  KUBEMBED_SCALE_DOWN_SECONDS: seconds(120),
  KUBEMBED_DEMAND_STALE_SECONDS: seconds(5),
  KUBEMBED_LOG_LEVEL: z.enum(LOG_LEVELS).default('info'),
});

export interface ScalerConfig {
  /** Time in which a backlog should be worked off. */
  readonly drainBacklogMs: number;
  /** A smaller count must have been enough for this long before replicas go. */
  readonly scaleDownMs: number;
  /** A router not heard for longer is unreachable. */
  readonly staleMs: number;
}

export interface OperatorConfig {
  readonly namespace: string;
  /** Undefined: all namespaces. */
  readonly watchNamespace: string | undefined;
  readonly catalog: { readonly configMap: string; readonly key: string };
  readonly router: { readonly service: string; readonly portName: string };
  readonly desired: DesiredConfig;
  readonly scaler: ScalerConfig;
  readonly host: string;
  readonly port: number;
  readonly leaderElection: { readonly enabled: boolean; readonly leaseName: string; readonly identity: string };
  /** Reconciles at the same time; never two of one model. */
  readonly workers: number;
  readonly logLevel: LogLevel;
}

/** Small enough for a laptop, Burstable with a memory limit so that a leak ends one pod and not the node. */
const DEFAULT_RESOURCES: Readonly<Record<'cpu' | 'gpu', DeviceProfile['resources']>> = {
  cpu: { requests: { cpu: '1', memory: '1Gi' }, limits: { cpu: '2', memory: '2Gi' } },
  gpu: { requests: { cpu: '1', memory: '4Gi' }, limits: { cpu: '4', memory: '8Gi' } },
};

type Environment = z.infer<typeof environment>;

const toEnv = (values: Readonly<Record<string, string>>): DesiredConfig['fetchEnv'] =>
  Object.entries(values).map(([name, value]) => ({ name, value }));

const withoutUndefined = <T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as never;

function desiredConfig(given: Environment): DesiredConfig {
  const defaults = given.KUBEMBED_RUNTIME_DEFAULTS;
  const profileOf = (device: 'cpu' | 'gpu', image: string): DeviceProfile => {
    const { resources: own, ...rest } = defaults[device];
    return {
      ...withoutUndefined(rest),
      image,
      resources: own === undefined ? DEFAULT_RESOURCES[device] : withoutUndefined(own),
    };
  };
  return {
    profiles: {
      cpu: profileOf('cpu', given.KUBEMBED_RUNTIME_IMAGE),
      gpu: profileOf('gpu', given.KUBEMBED_RUNTIME_GPU_IMAGE),
    },
    imagePullPolicy: given.KUBEMBED_IMAGE_PULL_POLICY,
    imagePullSecrets: defaults.imagePullSecrets,
    gpuResource: defaults.gpuResource,
    port: 8080,
    podLabels: defaults.podLabels,
    podAnnotations: defaults.podAnnotations,
    fetchEnv: toEnv({ ...(given.HF_ENDPOINT ? { HF_ENDPOINT: given.HF_ENDPOINT } : {}), ...defaults.fetchEnv }),
    serveEnv: toEnv(defaults.serveEnv),
    startupSeconds: defaults.startupSeconds,
    preStopSeconds: defaults.preStopSeconds,
    drainSeconds: defaults.drainSeconds,
  };
}

/** @throws z.ZodError naming every variable that is wrong. */
export function readOperatorConfig(env: Readonly<Record<string, string | undefined>>): OperatorConfig {
  const given = environment.parse(env);
  return {
    namespace: given.KUBEMBED_NAMESPACE,
    watchNamespace: given.KUBEMBED_WATCH_NAMESPACE || undefined,
    catalog: { configMap: given.KUBEMBED_CATALOG_CONFIGMAP, key: given.KUBEMBED_CATALOG_KEY },
    router: { service: given.KUBEMBED_ROUTER_SERVICE, portName: given.KUBEMBED_ROUTER_PORT_NAME },
    desired: desiredConfig(given),
    scaler: {
      drainBacklogMs: given.KUBEMBED_DRAIN_BACKLOG_SECONDS * 1000,
      scaleDownMs: given.KUBEMBED_SCALE_DOWN_SECONDS * 1000,
      staleMs: given.KUBEMBED_DEMAND_STALE_SECONDS * 1000,
    },
    host: given.KUBEMBED_HOST,
    port: given.KUBEMBED_PORT,
    leaderElection: {
      enabled: given.KUBEMBED_LEADER_ELECTION,
      leaseName: given.KUBEMBED_LEASE_NAME,
      identity: given.KUBEMBED_IDENTITY ?? given.KUBEMBED_LEASE_NAME,
    },
    workers: given.KUBEMBED_WORKERS,
    logLevel: given.KUBEMBED_LOG_LEVEL,
  };
}
