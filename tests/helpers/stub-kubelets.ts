// What a cluster would do about the operator's Deployments, and no more: pods that run at once, their EndpointSlices, and the end of both.
import { randomUUID } from 'node:crypto';
import { FETCH_CONTAINER, LABEL_MANAGED_BY, LABEL_MODEL, MANAGED_BY, SERVE_CONTAINER } from '../../api/names.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import { ifPresent } from '../../kube/client.ts';
import type { KubeClient } from '../../kube/client.ts';
import { silentLog, systemClock } from '../../kube/clock.ts';
import { createController } from '../../kube/controller.ts';
import { createInformer } from '../../kube/informer.ts';
import { DEPLOYMENTS, ENDPOINT_SLICES, PODS, SERVICE_ACCOUNTS, SERVICES } from '../../kube/resources.ts';
import type { Deployment, Pod } from '../../kube/resources.ts';
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

export interface KubeletOptions {
  /** Where all endpoints are said to listen. */
  readonly port: number;
  /** Puts pods where the API server reads them, past its front door: tens of thousands would take it half an hour. */
  readonly put?: (pods: readonly Pod[]) => Promise<void>;
}

/** What the API server made of the pod, under another name and address. */
function twinOf(pod: Pod, name: string, address: string): Pod {
  // Versions are the store's.
  const metadata = Object.fromEntries(Object.entries(pod.metadata).filter(([field]) => field !== 'resourceVersion'));
  const status = { ...pod.status, podIP: address, podIPs: [{ ip: address }] };
  return { ...pod, metadata: { ...metadata, name, uid: randomUUID() }, status };
}

export async function startKubelets(client: KubeClient, { port, put }: KubeletOptions): Promise<Kubelets> {
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
    return await client.patch(PODS, { namespace, name }, { status }, { subresource: 'status' });
  }

  async function runPods(deployment: Deployment, addresses: readonly string[]): Promise<void> {
    const named = addresses.map((address, index) => ({ name: `${deployment.metadata.name}-${index}`, address }));
    if (put === undefined) {
      await Promise.all(named.map(({ name, address }) => runPod(deployment, name, address)));
      return;
    }
    const [first, ...others] = named;
    if (first === undefined) return;
    const pod = await runPod(deployment, first.name, first.address);
    await put(others.map(({ name, address }) => twinOf(pod, name, address)));
  }

  async function grow(deployment: Deployment): Promise<void> {
    const key = keyOf(deployment);
    const { name, namespace, labels } = deployment.metadata;
    const { replicas = 1 } = deployment.spec;
    if ((running.get(idOf(key))?.length ?? 0) === replicas) return;
    // The model's Service has the Deployment's name; it is tried again until that is there.
    const { metadata: service } = await client.get(SERVICES, key);
    const ownerReferences = [{ apiVersion: 'v1', kind: 'Service', name, uid: service.uid ?? '', controller: true }];
    const addresses = Array.from({ length: replicas }, nextAddress);
    running.set(idOf(key), addresses);
    await runPods(deployment, addresses);
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
