// The pod template of a model: an init container that fetches, with the token; a serving container without, locked down.
import type { EmbeddingModel, ResolvedSpec } from '../../api/types.ts';
import {
  FETCH_CONTAINER,
  HTTP_PORT_NAME,
  SERVE_CONTAINER,
  cacheClaimName,
  childName,
  pinConfigMapName,
  pinKey,
  podSelector,
} from '../../api/names.ts';
import type { Container, EnvVar, PodSpec } from '../../kube/resources.ts';
import type { DesiredConfig } from './config.ts';
import { canonicalJson } from './manifest.ts';
import { fetchingResources, servingResources, threads } from './resources.ts';
import type { ContainerResources } from './resources.ts';

const STORE = '/models';
/** `nonroot` of the images. */
const UID = 65_532;
/** Beyond pre-stop and drain: to close and to exit. */
const EXIT_SECONDS = 5;

interface PodParts {
  readonly model: EmbeddingModel;
  readonly spec: ResolvedSpec;
  readonly config: DesiredConfig;
}

const CONTAINER_SECURITY = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
};

const literal = (name: string, value: string): EnvVar => ({ name, value });

/** The runtime contract of docs/architecture.md, as far as both commands share it. */
const sharedEnv = ({ model, spec }: PodParts): readonly EnvVar[] => [
  literal('KUBEMBED_MODEL', spec.model),
  literal('KUBEMBED_REVISION', spec.revision),
  {
    name: 'KUBEMBED_PINNED_REVISION',
    valueFrom: {
      // Optional: before the first fetch there is nothing to pin, and the template must not change when there is.
      configMapKeyRef: { name: pinConfigMapName(model.metadata.name), key: pinKey(spec.revision), optional: true },
    },
  },
  literal('KUBEMBED_STORE', STORE),
  literal('KUBEMBED_DEVICE', spec.device),
  literal('KUBEMBED_PRECISION', spec.precision),
  literal('KUBEMBED_POOLING', spec.pooling),
];

const tokenEnv = ({ model }: PodParts): readonly EnvVar[] => {
  const secret = model.spec.tokenSecretRef;
  if (secret === undefined) return [];
  return [{ name: 'HF_TOKEN', valueFrom: { secretKeyRef: { name: secret.name, key: secret.key ?? 'HF_TOKEN' } } }];
};

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

const nonEmpty = (field: string, value: object | undefined): object =>
  value === undefined || Object.keys(value).length === 0 ? {} : { [field]: value };

const distinct = (items: readonly object[]): readonly object[] => [
  ...new Map(items.map((item) => [canonicalJson(item), item])).values(),
];

/** What a user may place pods with: the spec's over the profile's; tolerations and pull secrets add up. */
function placement({ model: { spec }, spec: { device }, config }: PodParts): object {
  const profile = config.profiles[device];
  const runtimeClassName = spec.runtimeClassName ?? profile.runtimeClassName;
  const priorityClassName = spec.priorityClassName ?? profile.priorityClassName;
  return {
    ...nonEmpty('nodeSelector', { ...profile.nodeSelector, ...spec.nodeSelector }),
    ...nonEmpty('affinity', spec.affinity ?? profile.affinity),
    ...nonEmpty(
      'tolerations',
      distinct([
        ...(device === 'gpu' ? [{ key: config.gpuResource, operator: 'Exists', effect: 'NoSchedule' }] : []),
        ...(profile.tolerations ?? []),
        ...(spec.tolerations ?? []),
      ]),
    ),
    ...nonEmpty('imagePullSecrets', [...config.imagePullSecrets, ...(spec.imagePullSecrets ?? [])]),
    ...(runtimeClassName !== undefined && { runtimeClassName }),
    ...(priorityClassName !== undefined && { priorityClassName }),
  };
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
