// The pod template of a model: an init container that fetches, with the token; a serving container without, locked down. Pure.
import {
  FETCH_CONTAINER,
  HTTP_PORT_NAME,
  SERVE_CONTAINER,
  cacheClaimName,
  childName,
  podSelector,
  revisionConfigMapName,
  revisionKey,
} from '../../api/names.ts';
import type { EmbeddingModel, EmbeddingModelSpec, ResolvedSpec, ResourceRequirements } from '../../api/types.ts';
import type { Container, EnvVar, PodSpec } from '../../kube/resources.ts';
import type { ManifestConfig } from '../config.ts';
import { canonicalJson, parseQuantity, withoutUndefined } from './manifest.ts';

const STORE = '/models';
/** `nonroot` of the images. */
const UID = 65_532;
/** Beyond pre-stop and drain: to close and to exit. */
const EXIT_SECONDS = 5;

interface PodParts {
  readonly model: EmbeddingModel;
  readonly spec: ResolvedSpec;
  readonly config: ManifestConfig;
}

const CONTAINER_SECURITY = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
};

// Environment: the runtime contract of docs/architecture.md

const literal = (name: string, value: string): EnvVar => ({ name, value });

/** As JSON in which no `$(NAME)` stands: a kubelet would put a variable there. */
const unexpanded = (value: unknown): string => canonicalJson(value).replaceAll('$', '\\u0024');

/** What both commands share. */
const sharedEnv = ({ model, spec }: PodParts): readonly EnvVar[] => [
  literal('KUBEMBED_MODEL', spec.model),
  literal('KUBEMBED_REVISION', spec.revision),
  {
    name: 'KUBEMBED_RESOLVED_REVISION',
    valueFrom: {
      // Optional: before the first fetch nothing is resolved, and the template must not change when there is.
      configMapKeyRef: {
        name: revisionConfigMapName(model.metadata.name),
        key: revisionKey(spec.revision),
        optional: true,
      },
    },
  },
  literal('KUBEMBED_STORE', STORE),
  literal('KUBEMBED_DEVICE', spec.device),
  literal('KUBEMBED_PRECISION', spec.precision),
  literal('KUBEMBED_POOLING', spec.pooling),
  ...(model.spec.prompts === undefined ? [] : [literal('KUBEMBED_PROMPTS', unexpanded(model.spec.prompts))]),
];

const tokenEnv = ({ model }: PodParts): readonly EnvVar[] => {
  const secret = model.spec.tokenSecretRef;
  if (secret === undefined) return [];
  return [{ name: 'HF_TOKEN', valueFrom: { secretKeyRef: { name: secret.name, key: secret.key ?? 'HF_TOKEN' } } }];
};

// Resources: the spec's over the device's defaults, consistent, with the GPU, and the threads they allow

type Quantities = Readonly<Record<string, string>>;

interface ContainerResources {
  readonly requests: Quantities;
  readonly limits: Quantities;
}

const asText = (quantities: ResourceRequirements['limits'] = {}): Quantities =>
  Object.fromEntries(Object.entries(quantities).map(([name, amount]) => [name, String(amount)]));

const isMore = (a: string | undefined, b: string | undefined): boolean =>
  a !== undefined && b !== undefined && (parseQuantity(a) ?? 0) > (parseQuantity(b) ?? 0);

/** Where a default request would exceed a limit (or the reverse), what the spec says wins: the API server refuses such pods. */
function servingResources(
  spec: EmbeddingModelSpec,
  { device }: ResolvedSpec,
  config: ManifestConfig,
): ContainerResources {
  const defaults = config.profiles[device].resources;
  const own = { requests: asText(spec.resources?.requests), limits: asText(spec.resources?.limits) };
  const requests: Record<string, string> = { ...asText(defaults.requests), ...own.requests };
  const limits: Record<string, string> = { ...asText(defaults.limits), ...own.limits };
  for (const [name, request] of Object.entries(requests)) {
    const limit = limits[name];
    if (limit === undefined || !isMore(request, limit)) continue;
    if (own.limits[name] === undefined) limits[name] = request;
    else requests[name] = limit;
  }
  if (device === 'gpu') limits[config.gpuResource] ??= '1';
  return { requests, limits };
}

/** The fetching container needs no GPU: a pod would hold one while it downloads. */
const fetchingResources = ({ requests, limits }: ContainerResources, gpuResource: string): ContainerResources => {
  const without = (quantities: Quantities): Quantities =>
    Object.fromEntries(Object.entries(quantities).filter(([name]) => name !== gpuResource));
  return { requests: without(requests), limits: without(limits) };
};

/** Whole threads that the CPU limit can feed, rounded up; undefined without a limit: the runtime then asks its cgroup. */
function threads({ limits }: ContainerResources): number | undefined {
  const cores = limits['cpu'] === undefined ? undefined : parseQuantity(limits['cpu']);
  return cores === undefined ? undefined : Math.max(1, Math.ceil(cores));
}

// Containers

const common = ({ spec, config }: PodParts) => ({
  image: config.profiles[spec.device].image,
  imagePullPolicy: config.imagePullPolicy,
  terminationMessagePolicy: 'FallbackToLogsOnError',
  securityContext: CONTAINER_SECURITY,
});

const tmpMount = { name: 'tmp', mountPath: '/tmp' };

const fetchContainer = (parts: PodParts, resources: ContainerResources): Container => ({
  ...common(parts),
  name: FETCH_CONTAINER,
  args: ['fetch'],
  env: [...sharedEnv(parts), ...parts.config.fetchEnv, ...tokenEnv(parts)],
  resources: fetchingResources(resources, parts.config.gpuResource),
  volumeMounts: [{ name: 'store', mountPath: STORE }, tmpMount],
});

const probe = (path: string, periodSeconds: number, failureThreshold: number) => ({
  httpGet: { path, port: HTTP_PORT_NAME },
  periodSeconds,
  timeoutSeconds: 5,
  failureThreshold,
});

function serveContainer(parts: PodParts, resources: ContainerResources): Container {
  const { spec, config } = parts;
  const count = threads(resources);
  return {
    ...common(parts),
    name: SERVE_CONTAINER,
    args: ['serve'],
    env: [
      ...sharedEnv(parts),
      literal('KUBEMBED_OVERLONG_INPUT', spec.overlongInput),
      literal('KUBEMBED_PORT', String(config.port)),
      literal('KUBEMBED_DRAIN_SECONDS', String(config.drainSeconds)),
      ...(count === undefined ? [] : [literal('KUBEMBED_THREADS', String(count))]),
      ...config.serveEnv,
    ],
    ports: [{ name: HTTP_PORT_NAME, containerPort: config.port }],
    resources,
    startupProbe: probe('/readyz', 1, config.startupSeconds),
    readinessProbe: probe('/readyz', 2, 2),
    livenessProbe: probe('/healthz', 10, 3),
    lifecycle: { preStop: { sleep: { seconds: config.preStopSeconds } } },
    volumeMounts: [{ name: 'store', mountPath: STORE, readOnly: true }, tmpMount],
  };
}

// The pod around them

function storeVolume({ model, spec }: PodParts): object {
  const { existingClaim, claim, emptyDir } = spec.cache;
  if (existingClaim !== undefined) return { persistentVolumeClaim: { claimName: existingClaim } };
  if (claim !== undefined) return { persistentVolumeClaim: { claimName: cacheClaimName(model.metadata.name) } };
  return { emptyDir: emptyDir?.sizeLimit === undefined ? {} : { sizeLimit: emptyDir.sizeLimit } };
}

/** Replicas spread over nodes where there are several; a full cluster still runs them. */
const spread = (name: string): object => ({
  maxSkew: 1,
  topologyKey: 'kubernetes.io/hostname',
  whenUnsatisfiable: 'ScheduleAnyway',
  labelSelector: { matchLabels: podSelector(name) },
  matchLabelKeys: ['pod-template-hash'],
});

const nonEmpty = <T extends object>(value: T | undefined): T | undefined =>
  value === undefined || Object.keys(value).length === 0 ? undefined : value;

const distinct = (items: readonly object[]): readonly object[] => [
  ...new Map(items.map((item) => [canonicalJson(item), item])).values(),
];

/** What a user may place pods with: the spec's over the profile's; tolerations and pull secrets add up. */
function placement({ model: { spec }, spec: { device }, config }: PodParts): object {
  const profile = config.profiles[device];
  const tolerations = [
    ...(device === 'gpu' ? [{ key: config.gpuResource, operator: 'Exists', effect: 'NoSchedule' }] : []),
    ...(profile.tolerations ?? []),
    ...(spec.tolerations ?? []),
  ];
  return withoutUndefined({
    nodeSelector: nonEmpty({ ...profile.nodeSelector, ...spec.nodeSelector }),
    affinity: nonEmpty(spec.affinity ?? profile.affinity),
    tolerations: nonEmpty(distinct(tolerations)),
    imagePullSecrets: nonEmpty([...config.imagePullSecrets, ...(spec.imagePullSecrets ?? [])]),
    runtimeClassName: spec.runtimeClassName ?? profile.runtimeClassName,
    priorityClassName: spec.priorityClassName ?? profile.priorityClassName,
  });
}

export function podSpec(parts: PodParts): PodSpec {
  const { model, spec, config } = parts;
  const resources = servingResources(model.spec, spec, config);
  return {
    serviceAccountName: childName(model.metadata.name),
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: config.preStopSeconds + config.drainSeconds + EXIT_SECONDS,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: UID,
      runAsGroup: UID,
      fsGroup: UID,
      fsGroupChangePolicy: 'OnRootMismatch',
      seccompProfile: { type: 'RuntimeDefault' },
    },
    initContainers: [fetchContainer(parts, resources)],
    containers: [serveContainer(parts, resources)],
    volumes: [
      { name: 'store', ...storeVolume(parts) },
      { name: 'tmp', emptyDir: {} },
    ],
    topologySpreadConstraints: [spread(model.metadata.name)],
    ...placement(parts),
  };
}
