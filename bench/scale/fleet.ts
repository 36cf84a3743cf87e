// What a cluster would do about Deployments, and no more: pods that run at once, their EndpointSlices, and the end of both.
import { silentLog, systemClock } from '../../kube/clock.ts';
import { ifPresent } from '../../kube/client.ts';
import type { KubeClient } from '../../kube/client.ts';
import { createController } from '../../kube/controller.ts';
import { createInformer } from '../../kube/informer.ts';
import { keyOf } from '../../kube/types.ts';
import { DEPLOYMENTS, ENDPOINT_SLICES, PODS, SERVICE_ACCOUNTS, SERVICES } from '../../kube/resources.ts';
import type { Deployment, Pod } from '../../kube/resources.ts';
import type { KubeObject, ObjectKey, ResourceType } from '../../kube/types.ts';
import { FETCH_CONTAINER, LABEL_MANAGED_BY, LABEL_MODEL, MANAGED_BY, SERVE_CONTAINER } from '../../api/names.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import { FETCHED_WORDS } from '../../tests/helpers/builders.ts';

export interface Fleet {
  /** Pods that run. */
  readonly endpoints: () => number;
  readonly stop: () => Promise<void>;
}

const WORKERS = 24;
const FIELD_MANAGER = 'fleet';

/** One address for each endpoint, all in 10.245.0.0/16, which is this machine's own. */
function createAddresses(): () => string {
  let last = 255;
  return () => {
    last += 1;
    return `10.245.${last >> 8}.${last & 255}`;
  };
}

const IMAGE = { image: 'kubembed-runtime:latest', imageID: '' };

const podStatus = (address: string, now: string) => ({
  phase: 'Running',
  podIP: address,
  conditions: ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map((type) => ({
    type,
    status: 'True',
    lastTransitionTime: now,
  })),
  initContainerStatuses: [
    {
      name: FETCH_CONTAINER,
      ready: true,
      restartCount: 0,
      ...IMAGE,
      state: { terminated: { exitCode: 0, reason: 'Completed', message: JSON.stringify(FETCHED_WORDS) } },
    },
  ],
  containerStatuses: [
    {
      name: SERVE_CONTAINER,
      ready: true,
      restartCount: 0,
      ...IMAGE,
      state: { running: { startedAt: now } },
    },
  ],
});

const sliceOf = ({ metadata }: Deployment, addresses: readonly string[], port: number) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: metadata.name, namespace: metadata.namespace, labels: { ...metadata.labels } },
  addressType: 'IPv4',
  ports: [{ name: 'http', port, protocol: 'TCP' }],
  endpoints: addresses.map((address, index) => ({
    addresses: [address],
    conditions: { ready: true, serving: true, terminating: false },
    targetRef: { kind: 'Pod', namespace: metadata.namespace, name: `${metadata.name}-${index}` },
  })),
});

/** @param port where all endpoints are said to listen */
export async function startFleet(client: KubeClient, port: number): Promise<Fleet> {
  const stopping = new AbortController();
  const environment = { clock: systemClock, random: Math.random, log: silentLog };
  const selection = { labelSelector: `${LABEL_MANAGED_BY}=${MANAGED_BY}` };
  const deployments = createInformer(client, DEPLOYMENTS, environment, selection);
  const models = createInformer(client, EMBEDDING_MODELS, environment);
  const nextAddress = createAddresses();
  const running = new Map<string, readonly string[]>();
  const idOf = ({ namespace, name }: ObjectKey): string => `${namespace}/${name}`;

  async function runPod(deployment: Deployment, name: string, address: string): Promise<void> {
    const { namespace } = deployment.metadata;
    const { template } = deployment.spec;
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...template.metadata, name, namespace },
      spec: { ...template.spec, nodeName: 'nowhere' },
    } as Pod;
    await client.create(PODS, pod);
    const status = podStatus(address, new Date().toISOString());
    await client.patch(PODS, { namespace: namespace ?? '', name }, { status }, { subresource: 'status' });
  }

  async function grow(deployment: Deployment): Promise<void> {
    const key = keyOf(deployment);
    const { replicas = 1 } = deployment.spec;
    if (running.get(idOf(key))?.length === replicas) return;
    const addresses = Array.from({ length: replicas }, nextAddress);
    running.set(idOf(key), addresses);
    await Promise.all(
      addresses.map(async (address, index) => await runPod(deployment, `${key.name}-${index}`, address)),
    );
    await client.apply(ENDPOINT_SLICES, sliceOf(deployment, addresses, port), {
      fieldManager: FIELD_MANAGER,
      force: true,
    });
    const status = {
      observedGeneration: deployment.metadata.generation,
      replicas,
      updatedReplicas: replicas,
      readyReplicas: replicas,
      availableReplicas: replicas,
    };
    await client.patch(DEPLOYMENTS, key, { status }, { subresource: 'status' });
  }

  /** The garbage collector's part. */
  async function bury(key: ObjectKey): Promise<void> {
    const addresses = running.get(idOf(key)) ?? [];
    running.delete(idOf(key));
    const doomed: readonly [ResourceType, string][] = [
      [ENDPOINT_SLICES, key.name],
      ...addresses.map((_address, index): [ResourceType, string] => [PODS, `${key.name}-${index}`]),
      [SERVICES, key.name],
      [SERVICE_ACCOUNTS, key.name],
      [DEPLOYMENTS, key.name],
    ];
    for (const [type, name] of doomed) await ifPresent(client.delete(type, { namespace: key.namespace, name }));
  }

  const isOrphan = ({ metadata }: KubeObject): boolean => {
    const name = metadata.labels?.[LABEL_MODEL] ?? '';
    const model = models.store.get({ namespace: metadata.namespace ?? '', name });
    return model?.metadata.uid !== metadata.ownerReferences?.[0]?.uid;
  };
  const controller = createController(
    {
      name: 'fleet',
      workers: WORKERS,
      reconcile: async (key) => {
        const deployment = deployments.store.get(key);
        if (deployment === undefined) return {};
        await (isOrphan(deployment) ? bury(key) : grow(deployment));
        return {};
      },
    },
    environment,
  );
  controller.watch(deployments);
  controller.watch(models, ({ metadata: { namespace = '', name } }) => [{ namespace, name: `em-${name}` }]);
  const { signal } = stopping;
  const all = Promise.all([deployments.run(signal), models.run(signal), controller.run(signal)]);
  await Promise.all([deployments.whenSynced(signal), models.whenSynced(signal)]);
  return {
    endpoints: () => [...running.values()].reduce((sum, { length }) => sum + length, 0),
    stop: async () => {
      stopping.abort();
      await all;
    },
  };
}
