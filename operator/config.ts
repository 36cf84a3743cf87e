// The operator's configuration: one schema over the environment, reporting every fault at once.
import * as z from 'zod';
import type { CacheSpec, Device, ResourceRequirements, UnsetPooling } from '../api/types.ts';
import { specFaults } from '../api/validation.ts';
import { LOG_LEVELS } from '../common/obs/log-level.ts';
import type { LogLevel } from '../common/obs/log-level.ts';
import { readTracing } from '../common/obs/tracing.ts';
import type { TracingConfig } from '../common/obs/tracing.ts';
import { flag, port, readEnvironment, seconds, whole } from '../common/util/env.ts';
import type { Environment } from '../common/util/env.ts';
import { errorText } from '../common/util/text.ts';
import type { EnvVar } from '../kube/resources.ts';
import { isReservedVariable, templateFaults } from './manifests/template-faults.ts';

const text = z.string().min(1);
const texts = z.record(z.string(), z.string());
/** YAML's `cpu: 2` arrives as a number. */
const scalars = z.record(z.string(), z.coerce.string());
const positive = (fallback: number) => z.int().positive().default(fallback);

const removable = z.record(z.string(), z.string().nullable());

/** Of the chart: it may do what a spec's may not. */
const podTemplate = z
  .strictObject({
    metadata: z.strictObject({ labels: removable.optional(), annotations: removable.optional() }).optional(),
    spec: z.looseObject({}).optional(),
  })
  .check(({ value, issues }) => {
    for (const message of templateFaults(value, { isOpen: true }))
      issues.push({ code: 'custom', message, input: value });
  });

/** A container's environment, which has what is the operator's to set already. */
const variables = scalars.check(({ value, issues }) => {
  for (const name of Object.keys(value).filter(isReservedVariable))
    issues.push({ code: 'custom', message: `${name} is not to be set here: the operator does`, input: value });
});

/** Defaults of one device kind; what a spec says wins field by field. */
const profile = z.strictObject({
  resources: z.strictObject({ requests: scalars.default({}), limits: scalars.default({}) }).optional(),
  podTemplate: podTemplate.default({}),
});

/** As in a spec, and checked as there. */
const cache = z.custom<CacheSpec>().check(({ value, issues }) => {
  for (const fault of specFaults({ model: 'any', cache: value }))
    issues.push({ code: 'custom', message: fault.replace(/^spec\.cache/, ''), input: value });
});

const named = z.strictObject({ name: text });

/** The way to the hub. Secrets and ConfigMaps are those of each model's namespace. */
const hub = z
  .strictObject({
    tokenSecret: named.extend({ key: text.default('HF_TOKEN') }).optional(),
    /** With `username` and `password`, for a mirror that asks for them. */
    loginSecret: text.optional(),
    proxy: z.strictObject({ url: text, noProxy: text.optional(), secret: text.optional() }).optional(),
    certificates: z
      .strictObject({ configMap: text.optional(), secret: text.optional(), key: text.default('ca.crt') })
      .refine(({ configMap, secret }) => (configMap === undefined) !== (secret === undefined), {
        message: 'exactly one of configMap and secret must be set',
      })
      .optional(),
  })
  .default({});

/** What `KUBEMBED_RUNTIME_DEFAULTS` holds, as JSON: the chart's `runtime` values. */
const runtimeDefaults = z.strictObject({
  cpu: profile.prefault({}),
  gpu: profile.prefault({}),
  /** Extended resource that one GPU replica takes one of. */
  gpuResource: text.default('nvidia.com/gpu'),
  /** Of models on either device. */
  podTemplate: podTemplate.default({}),
  /** A spec's podTemplate may change image, command and service account, and add containers. */
  openPodTemplates: z.boolean().default(false),
  serviceAccount: z.strictObject({ annotations: texts.default({}) }).default({ annotations: {} }),
  imagePullSecrets: z.array(named).default([]),
  hub,
  /** Of models whose spec says nothing of it. */
  cache: cache.optional(),
  prefetch: z.boolean().default(false),
  /** For the fetching container alone: proxies. */
  fetchEnv: variables.default({}),
  /** For the serving container: log level, queue limits. */
  serveEnv: variables.default({}),
  /** Longest time in seconds a replica may take from start of `serve` to ready: only one that hangs meets it. */
  startupSeconds: positive(3600),
  /** Time in seconds that endpoints get to forget a pod before it stops taking requests. */
  preStopSeconds: positive(5),
  /** Time in seconds running requests get after that. */
  drainSeconds: positive(30),
});

const json = z.string().transform((value, context): unknown => {
  try {
    return JSON.parse(value);
  } catch (error) {
    context.addIssue({ code: 'custom', message: `is not JSON: ${errorText(error)}` });
    return z.NEVER;
  }
});

const networkPolicy = z.strictObject({ ingress: z.array(z.looseObject({})), egress: z.array(z.looseObject({})) });

const environment = z.object({
  /** Namespace of the operator itself: Lease, catalog, router Service. */
  KUBEMBED_NAMESPACE: text.default('kubembed'),
  /** Namespaces whose EmbeddingModels are reconciled, with spaces or commas between them; all when absent or empty. */
  KUBEMBED_WATCH_NAMESPACES: z.string().default(''),
  /** Label selector of such namespaces instead of their names; the own one is always among them. */
  KUBEMBED_WATCH_NAMESPACE_SELECTOR: text.optional(),
  /** Releases whose resources are this one's from now on, by their Leases: `namespace/name`, with spaces or commas between them. */
  KUBEMBED_TAKES_OVER: z.string().default(''),
  /** With spaces or commas between them, where one does not hold the whole list. */
  KUBEMBED_CATALOG_CONFIGMAP: text.default('kubembed-catalog'),
  KUBEMBED_CATALOG_KEY: text.default('supported_models.txt'),
  /** How long what serves goes on when its line is taken off the catalog. */
  KUBEMBED_CATALOG_REMOVAL_GRACE_SECONDS: seconds(0).default(600_000),
  /** Service whose EndpointSlices name the routers, and its port with the demand stream. */
  KUBEMBED_ROUTER_SERVICE: text.default('kubembed-router-internal'),
  KUBEMBED_ROUTER_PORT_NAME: text.default('internal'),
  KUBEMBED_RUNTIME_IMAGE: text.default('kubembed-runtime:latest'),
  KUBEMBED_RUNTIME_GPU_IMAGE: text.default('kubembed-runtime-gpu:latest'),
  /** What a spec without pooling means. */
  KUBEMBED_UNSET_POOLING: z.enum(['mean', 'declared']).default('mean'),
  KUBEMBED_IMAGE_PULL_POLICY: z.enum(['IfNotPresent', 'Always', 'Never']).default('IfNotPresent'),
  KUBEMBED_RUNTIME_DEFAULTS: json.pipe(runtimeDefaults).default(() => runtimeDefaults.parse({})),
  /** The chart's policy for models, JSON; none is made when absent. */
  KUBEMBED_NETWORK_POLICY: json.pipe(networkPolicy).optional(),
  HF_ENDPOINT: text.optional(),
  /** Whether there is somebody who runs Jobs. */
  KUBEMBED_JOBS: flag.default(true),
  KUBEMBED_HOST: text.default('::'),
  KUBEMBED_PORT: port.default(8081),
  KUBEMBED_LEADER_ELECTION: flag.default(true),
  KUBEMBED_LEASE_NAME: text.default('kubembed-operator'),
  /** Who holds the Lease: the pod's name. */
  KUBEMBED_IDENTITY: text.optional(),
  KUBEMBED_WORKERS: whole(1, 64).default(4),
  /** Models that serve and replace their pods at the same time. */
  KUBEMBED_MAX_ROLLOUTS: whole(1).default(3),
  KUBEMBED_DRAIN_BACKLOG_SECONDS: seconds(1).default(10_000),
  KUBEMBED_SCALE_DOWN_SECONDS: seconds(1).default(120_000),
  KUBEMBED_DEMAND_STALE_SECONDS: seconds(1).default(5_000),
  KUBEMBED_LOG_LEVEL: z.enum(LOG_LEVELS).default('info'),
});

export interface DeviceProfile extends Omit<z.infer<typeof profile>, 'resources'> {
  readonly image: string;
  readonly resources: ResourceRequirements;
}

/** What manifests need beside the spec: images, per-device defaults, limits. */
export interface ManifestConfig extends Omit<z.infer<typeof runtimeDefaults>, Device | 'fetchEnv' | 'serveEnv'> {
  /** What everything made is marked with: the Lease of the release's operators, `namespace/name`. */
  readonly release: string;
  readonly profiles: Readonly<Record<Device, DeviceProfile>>;
  /** Rules of the models' NetworkPolicies. */
  readonly networkPolicy: z.infer<typeof networkPolicy> | undefined;
  /** What a spec without pooling means. */
  readonly unsetPooling: UnsetPooling;
  readonly imagePullPolicy: 'IfNotPresent' | 'Always' | 'Never';
  readonly port: number;
  readonly runsJobs: boolean;
  readonly fetchEnv: readonly EnvVar[];
  readonly serveEnv: readonly EnvVar[];
}

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
  readonly takesOver: readonly string[];
  /** All namespaces where there are neither names nor a selector. */
  readonly watch: { readonly namespaces: readonly string[]; readonly selector: string | undefined };
  readonly catalog: { readonly configMaps: readonly string[]; readonly key: string; readonly removalGraceMs: number };
  readonly router: { readonly service: string; readonly portName: string };
  readonly manifests: ManifestConfig;
  readonly scaler: ScalerConfig;
  readonly host: string;
  readonly port: number;
  readonly leaderElection: { readonly enabled: boolean; readonly leaseName: string; readonly identity: string };
  /** Reconciles at the same time; never two of one model. */
  readonly workers: number;
  readonly maxRollouts: number;
  readonly logLevel: LogLevel;
  /** Undefined: nothing is traced. */
  readonly tracing: TracingConfig | undefined;
}

/** Small enough for a laptop, Burstable with a memory limit so that a leak ends one pod and not the node. */
const DEFAULT_RESOURCES: Readonly<Record<Device, ResourceRequirements>> = {
  cpu: { requests: { cpu: '1', memory: '1Gi' }, limits: { cpu: '2', memory: '2Gi' } },
  gpu: { requests: { cpu: '1', memory: '4Gi' }, limits: { cpu: '4', memory: '8Gi' } },
};

const toEnv = (values: Readonly<Record<string, string>>): readonly EnvVar[] =>
  Object.entries(values).map(([name, value]) => ({ name, value }));

function manifestConfig(given: z.infer<typeof environment>): ManifestConfig {
  const { cpu, gpu, fetchEnv, serveEnv, ...rest } = given.KUBEMBED_RUNTIME_DEFAULTS;
  const endpoint: Readonly<Record<string, string>> = given.HF_ENDPOINT ? { HF_ENDPOINT: given.HF_ENDPOINT } : {};
  return {
    ...rest,
    release: `${given.KUBEMBED_NAMESPACE}/${given.KUBEMBED_LEASE_NAME}`,
    profiles: {
      cpu: { ...cpu, resources: cpu.resources ?? DEFAULT_RESOURCES.cpu, image: given.KUBEMBED_RUNTIME_IMAGE },
      gpu: { ...gpu, resources: gpu.resources ?? DEFAULT_RESOURCES.gpu, image: given.KUBEMBED_RUNTIME_GPU_IMAGE },
    },
    imagePullPolicy: given.KUBEMBED_IMAGE_PULL_POLICY,
    networkPolicy: given.KUBEMBED_NETWORK_POLICY,
    unsetPooling: given.KUBEMBED_UNSET_POOLING,
    port: 8080,
    runsJobs: given.KUBEMBED_JOBS,
    fetchEnv: toEnv({ ...endpoint, ...fetchEnv }),
    serveEnv: toEnv(serveEnv),
  };
}

const words = (list: string): readonly string[] => list.split(/[\s,]+/).filter((word) => word !== '');

/** Throws `ConfigError`, whose message has a line for each fault. */
export function readOperatorConfig(env: Environment): OperatorConfig {
  const given = readEnvironment(environment, env);
  return {
    namespace: given.KUBEMBED_NAMESPACE,
    takesOver: words(given.KUBEMBED_TAKES_OVER),
    watch: {
      namespaces: words(given.KUBEMBED_WATCH_NAMESPACES),
      selector: given.KUBEMBED_WATCH_NAMESPACE_SELECTOR,
    },
    catalog: {
      configMaps: words(given.KUBEMBED_CATALOG_CONFIGMAP),
      key: given.KUBEMBED_CATALOG_KEY,
      removalGraceMs: given.KUBEMBED_CATALOG_REMOVAL_GRACE_SECONDS,
    },
    router: { service: given.KUBEMBED_ROUTER_SERVICE, portName: given.KUBEMBED_ROUTER_PORT_NAME },
    manifests: manifestConfig(given),
    scaler: {
      drainBacklogMs: given.KUBEMBED_DRAIN_BACKLOG_SECONDS,
      scaleDownMs: given.KUBEMBED_SCALE_DOWN_SECONDS,
      staleMs: given.KUBEMBED_DEMAND_STALE_SECONDS,
    },
    host: given.KUBEMBED_HOST,
    port: given.KUBEMBED_PORT,
    leaderElection: {
      enabled: given.KUBEMBED_LEADER_ELECTION,
      leaseName: given.KUBEMBED_LEASE_NAME,
      identity: given.KUBEMBED_IDENTITY ?? given.KUBEMBED_LEASE_NAME,
    },
    workers: given.KUBEMBED_WORKERS,
    maxRollouts: given.KUBEMBED_MAX_ROLLOUTS,
    logLevel: given.KUBEMBED_LOG_LEVEL,
    tracing: readTracing(env),
  };
}
