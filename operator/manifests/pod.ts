// The pod template of a model: an init container that fetches, with the token, unless the cache is known to be full; a serving container
// without, locked down; the chart's and the spec's podTemplate laid over them; and what then has to fit together. The same makes the
// pod that only fetches. Pure.
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
import type { EmbeddingModel, PodTemplate, ResolvedSpec, ResourceRequirements } from '../../api/types.ts';
import type { Container, EnvVar, PodSpec } from '../../kube/resources.ts';
import type { ManifestConfig } from '../config.ts';
import { CERTIFICATES_VOLUME, certificatesMount, certificatesVolume, hubEnv, literal, tokenEnv } from './hub.ts';
import { canonicalJson, covers, parseQuantity } from './manifest.ts';
import { POD_TEMPLATE, overlay } from './overlay.ts';

const STORE = '/models';
const STORE_VOLUME = 'store';
/** `nonroot` of the images: files of a claim become its group's. As which user a container runs the image says, or the cluster. */
const GROUP = 65_532;
/** Beyond pre-stop and drain: to close and to exit. */
const EXIT_SECONDS = 5;

export interface PodParts {
  readonly model: EmbeddingModel;
  readonly spec: ResolvedSpec;
  readonly config: ManifestConfig;
  /** False: the weights are where pods look for them. */
  readonly fetches: boolean;
}

const CONTAINER_SECURITY = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
};

// Environment: the runtime contract of docs/architecture.md

/** Each name once, or the API server refuses the pod: who comes later wins. */
const distinct = (variables: readonly EnvVar[]): readonly EnvVar[] => [
  ...new Map(variables.map((variable) => [variable.name, variable])).values(),
];

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

// Containers

const common = ({ spec, config }: PodParts) => ({
  image: config.profiles[spec.device].image,
  imagePullPolicy: config.imagePullPolicy,
  terminationMessagePolicy: 'FallbackToLogsOnError',
  securityContext: CONTAINER_SECURITY,
});

const tmpMount = { name: 'tmp', mountPath: '/tmp' };

const fetchContainer = (parts: PodParts): Container => ({
  ...common(parts),
  name: FETCH_CONTAINER,
  args: ['fetch'],
  env: distinct([...sharedEnv(parts), ...hubEnv(parts), ...parts.config.fetchEnv, ...tokenEnv(parts)]),
  volumeMounts: [
    { name: STORE_VOLUME, mountPath: STORE, ...(parts.spec.cache.image && { readOnly: true }) },
    tmpMount,
    ...certificatesMount(parts),
  ],
});

const probe = (path: string, periodSeconds: number, failureThreshold: number) => ({
  httpGet: { path, port: HTTP_PORT_NAME },
  periodSeconds,
  timeoutSeconds: 5,
  failureThreshold,
});

const serveContainer = (parts: PodParts): Container => {
  const { spec, config } = parts;
  return {
    ...common(parts),
    name: SERVE_CONTAINER,
    args: ['serve'],
    env: distinct([
      ...sharedEnv(parts),
      literal('KUBEMBED_OVERLONG_INPUT', spec.overlongInput),
      literal('KUBEMBED_PORT', String(config.port)),
      literal('KUBEMBED_DRAIN_SECONDS', String(config.drainSeconds)),
      ...config.serveEnv,
    ]),
    ports: [{ name: HTTP_PORT_NAME, containerPort: config.port }],
    resources: config.profiles[spec.device].resources,
    startupProbe: probe('/readyz', 1, config.startupSeconds),
    readinessProbe: probe('/readyz', 2, 2),
    livenessProbe: probe('/healthz', 10, 3),
    lifecycle: { preStop: { sleep: { seconds: config.preStopSeconds } } },
    volumeMounts: [{ name: STORE_VOLUME, mountPath: STORE, readOnly: true }, tmpMount],
  };
};

// The pod around them

function storeVolume({ model, spec }: Pick<PodParts, 'model' | 'spec'>): object {
  const { existingClaim, claim, image, emptyDir } = spec.cache;
  if (existingClaim !== undefined) return { persistentVolumeClaim: { claimName: existingClaim } };
  if (claim !== undefined) return { persistentVolumeClaim: { claimName: cacheClaimName(model.metadata.name) } };
  if (image !== undefined) return { image };
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

interface FullTemplate {
  readonly metadata: { readonly labels: Readonly<Record<string, string>>; readonly annotations?: object };
  readonly spec: PodSpec;
}

function builtTemplate(parts: PodParts): FullTemplate {
  const { model, config } = parts;
  return {
    metadata: { labels: {} },
    spec: {
      serviceAccountName: childName(model.metadata.name),
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: config.preStopSeconds + config.drainSeconds + EXIT_SECONDS,
      securityContext: {
        runAsNonRoot: true,
        fsGroup: GROUP,
        fsGroupChangePolicy: 'OnRootMismatch',
        seccompProfile: { type: 'RuntimeDefault' },
      },
      initContainers: [fetchContainer(parts)],
      containers: [serveContainer(parts)],
      volumes: [
        { name: STORE_VOLUME, ...storeVolume(parts) },
        { name: 'tmp', emptyDir: {} },
        ...certificatesVolume(parts),
      ],
      topologySpreadConstraints: [spread(model.metadata.name)],
      ...(config.imagePullSecrets.length > 0 && { imagePullSecrets: config.imagePullSecrets }),
    },
  };
}

// What has to fit together, whoever said it: requests and limits, the GPU, the threads that they allow

type Quantities = Readonly<Record<string, string>>;

interface ContainerResources extends ResourceRequirements {
  readonly claims?: readonly object[];
}

const asText = (quantities: ResourceRequirements['limits'] = {}): Record<string, string> =>
  Object.fromEntries(Object.entries(quantities).map(([name, amount]) => [name, String(amount)]));

const isMore = (a: string | undefined, b: string | undefined): boolean =>
  a !== undefined && b !== undefined && (parseQuantity(a) ?? 0) > (parseQuantity(b) ?? 0);

/** As device plugins call whole GPUs, their MIG slices and shares of them. */
const isGpu = (resource: string, { gpuResource }: ManifestConfig): boolean =>
  resource === gpuResource || /^(nvidia|amd)\.com\/|gpu/i.test(resource);

/** Devices and huge pages: nothing is lent beyond the request, so the API server wants the limit to say the same. */
const isExact = (resource: string): boolean => resource.includes('/') || resource.startsWith('hugepages-');

/** Where a default request would exceed a limit (or the reverse), what the spec says wins: the API server refuses such pods. */
function servingResources(all: ContainerResources, own: ContainerResources, { spec, config }: PodParts) {
  const [requests, limits] = [asText(all.requests), asText(all.limits)];
  for (const [name, request] of Object.entries(requests)) {
    const limit = limits[name];
    if (limit === undefined && isExact(name)) limits[name] = request;
    if (limit === undefined || !isMore(request, limit)) continue;
    if (own.limits?.[name] === undefined) limits[name] = request;
    else requests[name] = limit;
  }
  const hasDevice = (all.claims ?? []).length > 0 || Object.keys(limits).some((name) => isGpu(name, config));
  if (spec.device === 'gpu' && !hasDevice) limits[config.gpuResource] = '1';
  return { ...all, requests, limits };
}

/** Devices are for computing: those that fetching would be given as well, on nodes that count them by container, it has no use for. */
const withoutDevices = ({ requests, limits }: ContainerResources, config: ManifestConfig): ContainerResources => {
  const without = (quantities: ResourceRequirements['limits'] = {}): Quantities =>
    asText(Object.fromEntries(Object.entries(quantities).filter(([name]) => !isGpu(name, config))));
  return { requests: without(requests), limits: without(limits) };
};

/** Whole threads that the CPU limit can feed, rounded up; without a limit the runtime asks its cgroup. */
function threadsEnv({ limits }: ContainerResources): readonly EnvVar[] {
  const cores = limits?.['cpu'] === undefined ? undefined : parseQuantity(limits['cpu']);
  return cores === undefined ? [] : [literal('KUBEMBED_THREADS', String(Math.max(1, Math.ceil(cores))))];
}

interface Toleration {
  readonly key?: string;
  readonly operator?: string;
}

/** The taint that nodes with the device usually carry, for whoever has not thought of it. */
function withTolerations(tolerations: readonly Toleration[], { spec, config }: PodParts): readonly object[] {
  const isTolerated = tolerations.some(
    ({ key, operator }) => key === config.gpuResource || (key === undefined && operator === 'Exists'),
  );
  if (spec.device !== 'gpu' || isTolerated) return tolerations;
  return [{ key: config.gpuResource, operator: 'Exists', effect: 'NoSchedule' }, ...tolerations];
}

const resourcesOf = (containers: readonly Container[] | undefined, name: string): ContainerResources =>
  containers?.find((container) => container.name === name)?.['resources'] ?? {};

function settled({ metadata, spec: pod }: FullTemplate, own: PodTemplate, parts: PodParts): FullTemplate {
  const { containers: ownContainers } = (own.spec ?? {}) as Partial<PodSpec>;
  const all = resourcesOf(pod.containers, SERVE_CONTAINER);
  const serving = servingResources(all, resourcesOf(ownContainers, SERVE_CONTAINER), parts);
  const fetching = overlay(withoutDevices(serving, parts.config), resourcesOf(pod.initContainers, FETCH_CONTAINER));
  const tolerations = withTolerations((pod['tolerations'] ?? []) as readonly Toleration[], parts);
  const inPlace = (name: string, change: (container: Container) => Container) => (container: Container) =>
    container.name === name ? change(container) : container;
  const serve = inPlace(SERVE_CONTAINER, (container) => ({
    ...container,
    env: distinct([...threadsEnv(serving), ...(container.env ?? [])]),
    resources: serving,
  }));
  const fetch = inPlace(FETCH_CONTAINER, (container) => ({ ...container, resources: fetching }));
  return {
    metadata,
    spec: {
      ...pod,
      initContainers: (pod.initContainers ?? []).map(fetch),
      containers: pod.containers.map(serve),
      ...(tolerations.length > 0 && { tolerations }),
    },
  };
}

/** Without the container that fetches, and without what it alone has. */
function withoutFetching({ metadata, spec: pod }: FullTemplate): FullTemplate {
  const { initContainers = [], volumes = [], ...rest } = pod as PodSpec & { readonly volumes?: readonly Named[] };
  const others = initContainers.filter(({ name }) => name !== FETCH_CONTAINER);
  return {
    metadata,
    spec: {
      ...rest,
      ...(others.length > 0 && { initContainers: others }),
      volumes: volumes.filter(({ name }) => name !== CERTIFICATES_VOLUME),
    },
  };
}

interface Named {
  readonly name: string;
}

/** The last one wins: what is built, the chart's for all and for the device, the fields of the spec, and its podTemplate. */
function wholeTemplate(parts: PodParts): FullTemplate {
  const { model, spec, config } = parts;
  const { resources, podTemplate: given = {} } = model.spec;
  const short = resources === undefined ? {} : { spec: { containers: [{ name: SERVE_CONTAINER, resources }] } };
  // One after the other: two laid over each other first would forget what they take away.
  const layers: readonly unknown[] = [config.podTemplate, config.profiles[spec.device].podTemplate, short, given];
  const lay = (below: unknown, layer: unknown): unknown => overlay(below, layer, POD_TEMPLATE);
  const own = lay(short, given) as PodTemplate;
  return settled(layers.reduce(lay, builtTemplate(parts)) as FullTemplate, own, parts);
}

export const podTemplate = (parts: PodParts): FullTemplate =>
  parts.fetches ? wholeTemplate(parts) : withoutFetching(wholeTemplate(parts));

/** What serving needs and fetching does not: a pod that only fetches waits for no device and spreads over nothing. */
const SERVING_ONLY: ReadonlySet<string> = new Set([
  'terminationGracePeriodSeconds',
  'topologySpreadConstraints',
  'resourceClaims',
]);

/** The pod that fills a cache before there are others: the same container, as the only one that runs to its end. */
export function prefetchTemplate(parts: PodParts): FullTemplate {
  const { metadata, spec: pod } = wholeTemplate(parts);
  const { initContainers = [], ...rest } = pod;
  return {
    metadata,
    spec: {
      ...(Object.fromEntries(Object.entries(rest).filter(([field]) => !SERVING_ONLY.has(field))) as unknown as PodSpec),
      restartPolicy: 'OnFailure',
      // A native sidecar, such as a mesh's, ends with the pod.
      initContainers: initContainers.filter(({ name }) => name !== FETCH_CONTAINER),
      containers: initContainers.filter(({ name }) => name === FETCH_CONTAINER),
    },
  };
}

const storeIn = (pod: PodSpec): Named | undefined =>
  ((pod['volumes'] ?? []) as readonly Named[]).find(({ name }) => name === STORE_VOLUME);

export const hasStore = (pod: PodSpec): boolean => storeIn(pod) !== undefined;

/** Whether a pod's store is where this cache is: a template, the spec's own or the chart's, may have put another in its place. */
export function usesCache(pod: PodSpec, { model, spec }: Pick<PodParts, 'model' | 'spec'>): boolean {
  const found = storeIn(pod);
  return found !== undefined && covers(found, storeVolume({ model, spec }));
}

export const hasFetchContainer = ({ initContainers = [], containers }: PodSpec): boolean =>
  [...initContainers, ...containers].some(({ name }) => name === FETCH_CONTAINER);
