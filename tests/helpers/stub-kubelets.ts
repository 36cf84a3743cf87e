// What a cluster would do about the operator's Deployments, and no more: pods that run at once, their EndpointSlices, and the end of both.
import { FETCH_CONTAINER, LABEL_MANAGED_BY, LABEL_MODEL, MANAGED_BY, SERVE_CONTAINER } from '../../api/names.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import { ifPresent } from '../../kube/client.ts';
import type { KubeClient } from '../../kube/client.ts';
import { silentLog, systemClock } from '../../kube/clock.ts';
import { createController } from '../../kube/controller.ts';
import { createInformer } from '../../kube/informer.ts';
import { DEPLOYMENTS, ENDPOINT_SLICES, PODS, SERVICE_ACCOUNTS, SERVICES } from '../../kube/resources.ts';
import type { Deployment } from '../../kube/resources.ts';
import { keyOf } from '../../kube/types.ts';
import type { KubeObject, ObjectKey, ResourceType } from '../../kube/types.ts';
import { FETCHED_WORDS, ownedBy } from './builders.ts';

export interface Kubelets {
  /** Pods that run. */
  readonly pods: () => number;
  readonly stop: () => Promise<void>;
}

const WORKERS = 24;

/** One address for each pod, all in 10.245.0.0/16, which is this machine's own. */
function createAddresses(): () => string {
  let last = 255;
  return () => {
    last += 1;
    return `10.245.${last >> 8}.${last & 255}`;
  };
}

const podStatus = (address: string, now: string) => {
  const container = { ready: true, restartCount: 0, image: 'kubembed-runtime:latest', imageID: '' };
  const fetched = { exitCode: 0, reason: 'Completed', message: JSON.stringify(FETCHED_WORDS) };
  return {
    phase: 'Running',
    podIP: address,
    conditions: ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map((type) => ({
      ...{ type, status: 'True', lastTransitionTime: now },
    })),
    initContainerStatuses: [{ ...container, name: FETCH_CONTAINER, state: { terminated: fetched } }],
    containerStatuses: [{ ...container, name: SERVE_CONTAINER, state: { running: { startedAt: now } } }],
  };
};

/** @param port where all endpoints are said to listen */
export async function startKubelets(client: KubeClient, port: number): Promise<Kubelets> {
  const stopping = new AbortController();
  const environment = { clock: systemClock, random: Math.random, log: silentLog };
  const selection = { labelSelector: `${LABEL_MANAGED_BY}=${MANAGED_BY}` };
  const deployments = createInformer(client, DEPLOYMENTS, environment, selection);
  const models = createInformer(client, EMBEDDING_MODELS, environment);
  const nextAddress = createAddresses();
  const running = new Map<string, readonly string[]>();
  const idOf = ({ namespace, name }: ObjectKey): string => `${namespace}/${name}`;

  async function runPod(deployment: Deployment, name: string, address: string) {
    const { namespace = '' } = deployment.metadata;
    const { metadata, spec: pod } = deployment.spec.template;
    await client.create(PODS, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...metadata, name, namespace, ownerReferences: [ownedBy(deployment)] },
      spec: { ...pod, nodeName: 'nowhere' },
    });
    const status = podStatus(address, new Date().toISOString());
    await client.patch(PODS, { namespace, name }, { status }, { subresource: 'status' });
  }

  async function grow(deployment: Deployment): Promise<void> {
    const key = keyOf(deployment);
    const { name, namespace, labels } = deployment.metadata;
    const { replicas = 1 } = deployment.spec;
    if (running.get(idOf(key))?.length === replicas) return;
    // The model's Service has the Deployment's name; it is tried again until that is there.
    const { metadata: service } = await client.get(SERVICES, key);
    const ownerReferences = [{ apiVersion: 'v1', kind: 'Service', name, uid: service.uid ?? '', controller: true }];
    const addresses = Array.from({ length: replicas }, nextAddress);
    running.set(idOf(key), addresses);
    await Promise.all(addresses.map((address, index) => runPod(deployment, `${name}-${index}`, address)));
    const endpoints = addresses.map((address, index) => ({
      addresses: [address],
      conditions: { ready: true, serving: true, terminating: false },
      targetRef: { kind: 'Pod', namespace, name: `${name}-${index}` },
    }));
    const slice = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name, namespace, labels: { ...labels }, ownerReferences },
      addressType: 'IPv4',
      ports: [{ name: 'http', port }],
      endpoints,
    };
    await client.apply(ENDPOINT_SLICES, slice, { fieldManager: 'kubelets', force: true });
    const counts = { replicas, updatedReplicas: replicas, readyReplicas: replicas, availableReplicas: replicas };
    const status = { observedGeneration: deployment.metadata.generation, ...counts };
    await client.patch(DEPLOYMENTS, key, { status }, { subresource: 'status' });
  }

  /** The garbage collector's part. */
  async function remove({ namespace, name }: ObjectKey): Promise<void> {
    const addresses = running.get(idOf({ namespace, name })) ?? [];
    running.delete(idOf({ namespace, name }));
    const doomed: readonly [ResourceType, string][] = [
      [ENDPOINT_SLICES, name],
      ...addresses.map((_address, index): [ResourceType, string] => [PODS, `${name}-${index}`]),
      [SERVICES, name],
      [SERVICE_ACCOUNTS, name],
      [DEPLOYMENTS, name],
    ];
    for (const [type, child] of doomed) await ifPresent(client.delete(type, { namespace, name: child }));
  }

  const isOrphan = ({ metadata }: KubeObject): boolean => {
    const name = metadata.labels?.[LABEL_MODEL] ?? '';
    const model = models.store.get({ namespace: metadata.namespace ?? '', name });
    return model?.metadata.uid !== metadata.ownerReferences?.[0]?.uid;
  };
  const reconcile = async (key: ObjectKey) => {
    const deployment = deployments.store.get(key);
    if (deployment !== undefined) await (isOrphan(deployment) ? remove(key) : grow(deployment));
    return {};
  };
  const controller = createController({ name: 'kubelets', workers: WORKERS, reconcile }, environment);
  controller.watch(deployments);
  controller.watch(models, ({ metadata: { namespace = '', name } }) => [{ namespace, name: `em-${name}` }]);
  const { signal } = stopping;
  const all = Promise.all([deployments.run(signal), models.run(signal), controller.run(signal)]);
  await Promise.all([deployments.whenSynced(signal), models.whenSynced(signal)]);
  return {
    pods: () => [...running.values()].reduce((sum, { length }) => sum + length, 0),
    stop: async () => {
      stopping.abort();
      await all;
    },
  };
}
