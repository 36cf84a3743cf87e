// The controllers of local mode: Deployments become pods, Services get EndpointSlices, pods get processes.
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { ifPresent } from '../kube/client.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Environment } from '../kube/clock.ts';
import { createController } from '../kube/controller.ts';
import type { Reconcile } from '../kube/controller.ts';
import { createInformer } from '../kube/informer.ts';
import { DEPLOYMENTS, ENDPOINT_SLICES, PODS, SERVICES } from '../kube/resources.ts';
import type { Deployment, EndpointSlice, Pod, Service } from '../kube/resources.ts';
import { formatKey, keyOf } from '../kube/types.ts';
import type { ObjectKey } from '../kube/types.ts';
import { POD_FINALIZER, PORT_ANNOTATION } from './kubelet/kubelet.ts';
import type { Kubelet } from './kubelet/kubelet.ts';

const TEMPLATE_HASH_LABEL = 'pod-template-hash';
/** On an EndpointSlice: the Service it belongs to. */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';
/** On an EndpointSlice: who keeps it, as on a cluster; others' slices are left alone. */
const SLICE_MANAGER_LABEL = 'endpointslice.kubernetes.io/managed-by';
const SLICE_MANAGER = 'endpointslice-controller';

/** Each holds one of the kubelet's workers while its process ends. */
const MAX_PODS_AT_ONCE = 64;

export interface ControllersDeps {
  readonly client: KubeClient;
  readonly kubelet: Pick<Kubelet, 'reconcile'>;
  /** Five characters, never the same twice. */
  readonly suffix: () => string;
}

type Work = (...args: Parameters<Reconcile>) => Promise<unknown>;

/** Runs until the signal. What the controllers decide by they read anew: the store is here, and a cache lags behind it. */
export async function runControllers(
  deps: ControllersDeps,
  environment: Environment,
  signal: AbortSignal,
): Promise<void> {
  const { client, kubelet } = deps;
  const deployments = createInformer(client, DEPLOYMENTS, environment);
  const pods = createInformer(client, PODS, environment);
  const services = createInformer(client, SERVICES, environment);
  const slices = createInformer(client, ENDPOINT_SLICES, environment);

  const controller = (name: string, work: Work, workers = 1) => {
    const reconcile: Reconcile = async (key, context) => {
      await work(key, context);
      return {};
    };
    return createController({ name, reconcile, workers }, environment);
  };

  const deployment = controller('deployment', async (key) => await ifPresent(reconcileDeployment(key, deps)));
  deployment.watch(deployments);
  deployment.watch(pods, ({ metadata: { namespace = '', ownerReferences = [] } }) =>
    ownerReferences.filter(({ kind }) => kind === DEPLOYMENTS.kind).map(({ name }) => ({ namespace, name })),
  );

  const endpointSlice = controller('endpointslice', async (key) => await reconcileSlices(key, client));
  endpointSlice.watch(services);
  endpointSlice.watch(pods, (pod) => {
    const selecting = services.store.list().filter((service) => selects(service, pod));
    return selecting.map(keyOf);
  });
  endpointSlice.watch(slices, ({ metadata: { namespace = '', labels } }) => {
    const name = labels?.[SERVICE_NAME_LABEL];
    return name === undefined ? [] : [{ namespace, name }];
  });

  const pod = controller('kubelet', kubelet.reconcile, MAX_PODS_AT_ONCE);
  pod.watch(pods);

  const parts = [deployments, pods, services, slices, deployment, endpointSlice, pod];
  await Promise.all(parts.map(async (part) => await part.run(signal)));
}

// Deployments: a rolling update with one surge and none unavailable

interface PodsPlan {
  /** How many pods of the current template to create. */
  readonly create: number;
  readonly remove: readonly Pod[];
}

const hasReadyCondition = (pod: Pod): boolean =>
  (pod.status?.conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True');

const isReady = (pod: Pod): boolean => pod.metadata.deletionTimestamp === undefined && hasReadyCondition(pod);

const age = (pod: Pod): string => pod.metadata.creationTimestamp ?? '';

/** Not-ready pods go first, then the youngest: what has served longest stays. */
const cheapestFirst = (a: Pod, b: Pod): number =>
  Number(isReady(a)) - Number(isReady(b)) || (age(a) < age(b) ? 1 : age(a) > age(b) ? -1 : 0);

/**
 * @param pods every pod the Deployment owns, terminating ones included
 * @param hash of the current pod template, as pods made from it bear it
 */
export function planPods(deployment: Deployment, pods: readonly Pod[], hash: string): PodsPlan {
  const wanted = deployment.spec.replicas ?? 1;
  const alive = pods.filter((pod) => pod.metadata.deletionTimestamp === undefined);
  const current = alive.filter((pod) => pod.metadata.labels?.[TEMPLATE_HASH_LABEL] === hash);
  const old = alive.filter((pod) => pod.metadata.labels?.[TEMPLATE_HASH_LABEL] !== hash);

  const create =
    old.length === 0 ? wanted - current.length : Math.min(wanted - current.length, wanted + 1 - alive.length);
  const excess = [...current].sort(cheapestFirst).slice(0, Math.max(0, current.length - wanted));

  // An old pod may go when it serves nobody, or when the ready ones suffice without it.
  let spare = alive.filter(isReady).length - wanted;
  const replaceable = [...old].sort(cheapestFirst).filter((pod) => !isReady(pod) || spare-- > 0);
  return { create: Math.max(0, create), remove: [...excess, ...replaceable] };
}

/** `status` of the Deployment, as the real controller would report it. */
export function deploymentStatus(
  deployment: Deployment,
  pods: readonly Pod[],
  hash: string,
): NonNullable<Deployment['status']> {
  const alive = pods.filter((pod) => pod.metadata.deletionTimestamp === undefined);
  const updated = alive.filter((pod) => pod.metadata.labels?.[TEMPLATE_HASH_LABEL] === hash);
  const ready = alive.filter(isReady).length;
  const wanted = deployment.spec.replicas ?? 1;
  return {
    ...(deployment.metadata.generation === undefined ? {} : { observedGeneration: deployment.metadata.generation }),
    replicas: alive.length,
    updatedReplicas: updated.length,
    readyReplicas: ready,
    availableReplicas: ready,
    conditions: [
      {
        type: 'Available',
        status: ready >= wanted ? 'True' : 'False',
        reason: ready >= wanted ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
      },
    ],
  };
}

const templateHash = ({ spec }: Deployment): string =>
  createHash('sha256').update(JSON.stringify(spec.template)).digest('hex').slice(0, 10);

const isOwnedBy = (pod: Pod, deployment: Deployment): boolean =>
  (pod.metadata.ownerReferences ?? []).some(({ uid }) => uid === deployment.metadata.uid);

function podFrom(deployment: Deployment, hash: string, suffix: string): Pod {
  const { name, namespace, uid } = deployment.metadata;
  const { metadata, spec } = deployment.spec.template;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${name}-${hash}-${suffix}`,
      ...(namespace === undefined ? {} : { namespace }),
      labels: { ...metadata.labels, [TEMPLATE_HASH_LABEL]: hash },
      finalizers: [POD_FINALIZER],
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name, uid: uid ?? '', controller: true }],
    },
    spec,
  };
}

async function reconcileDeployment(key: ObjectKey, { client, suffix }: ControllersDeps): Promise<void> {
  const deployment = await client.get(DEPLOYMENTS, key);
  if (deployment.metadata.deletionTimestamp !== undefined) return;
  const { namespace } = key;
  const hash = templateHash(deployment);
  const owned = (await client.list(PODS, { namespace })).items.filter((pod) => isOwnedBy(pod, deployment));
  const { create, remove } = planPods(deployment, owned, hash);
  for (let made = 0; made < create; made++) await client.create(PODS, podFrom(deployment, hash, suffix()));
  for (const { metadata } of remove) await ifPresent(client.delete(PODS, { namespace, name: metadata.name }));
  const status = deploymentStatus(deployment, owned, hash);
  if (!isDeepStrictEqual({ ...deployment.status }, status))
    await client.patch(DEPLOYMENTS, key, { status }, { subresource: 'status' });
}

// EndpointSlices: one per pod, since every process has its own port

/** A Service that is going, or has no selector, selects nothing. */
const selects = ({ metadata, spec: { selector } }: Service, pod: Pod): boolean =>
  selector !== undefined &&
  metadata.deletionTimestamp === undefined &&
  metadata.namespace === pod.metadata.namespace &&
  Object.entries(selector).every(([key, value]) => pod.metadata.labels?.[key] === value);

function sliceFor(service: Service, pod: Pod, port: number): EndpointSlice {
  const { namespace = '', labels = {}, uid = '' } = service.metadata;
  const ready = hasReadyCondition(pod);
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${service.metadata.name}-${pod.metadata.name}`,
      namespace,
      labels: { ...labels, [SERVICE_NAME_LABEL]: service.metadata.name, [SLICE_MANAGER_LABEL]: SLICE_MANAGER },
      ownerReferences: [
        {
          apiVersion: 'v1',
          kind: SERVICES.kind,
          name: service.metadata.name,
          uid,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    addressType: 'IPv4',
    endpoints: [
      {
        addresses: ['127.0.0.1'],
        conditions: { ready: ready && !terminating, serving: ready, terminating },
        targetRef: {
          kind: 'Pod',
          name: pod.metadata.name,
          ...(pod.metadata.uid === undefined ? {} : { uid: pod.metadata.uid }),
        },
      },
    ],
    ports: (service.spec.ports ?? []).map(({ name }) => ({ ...(name === undefined ? {} : { name }), port })),
  };
}

export const desiredSlices = (service: Service, pods: readonly Pod[]): readonly EndpointSlice[] =>
  pods
    .filter((pod) => selects(service, pod))
    .flatMap((pod) => {
      const port = Number(pod.metadata.annotations?.[PORT_ANNOTATION]);
      return Number.isInteger(port) && port > 0 ? [sliceFor(service, pod, port)] : [];
    });

const partsOf = ({ endpoints, ports, metadata }: EndpointSlice) => [
  endpoints,
  ports,
  metadata.labels,
  metadata.ownerReferences,
];
const same = (a: EndpointSlice, b: EndpointSlice): boolean => isDeepStrictEqual(partsOf(a), partsOf(b));

async function reconcileSlices(key: ObjectKey, client: KubeClient): Promise<void> {
  const { namespace, name } = key;
  const service = await ifPresent(client.get(SERVICES, key));
  const { items: pods } = await client.list(PODS, { namespace });
  const labelSelector = `${SERVICE_NAME_LABEL}=${name},${SLICE_MANAGER_LABEL}=${SLICE_MANAGER}`;
  const { items: existing } = await client.list(ENDPOINT_SLICES, { namespace, labelSelector });
  const left = new Map(existing.map((slice) => [formatKey(keyOf(slice)), slice]));
  for (const slice of service === undefined ? [] : desiredSlices(service, pods)) {
    const id = formatKey(keyOf(slice));
    const current = left.get(id);
    left.delete(id);
    if (current === undefined || !same(current, slice))
      await client.apply(ENDPOINT_SLICES, slice, { fieldManager: SLICE_MANAGER, force: true });
  }
  for (const slice of left.values()) await ifPresent(client.delete(ENDPOINT_SLICES, keyOf(slice)));
}
