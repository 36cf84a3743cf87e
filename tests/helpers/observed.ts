// One of each process on loopback, with work that reaches every kind of metric: a router, a runtime on a tiny model, an operator.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import { createRegistry } from '../../common/obs/metrics.ts';
import type { KubeClient } from '../../kube/client.ts';
import { systemClock } from '../../kube/clock.ts';
import { DEPLOYMENTS, PODS } from '../../kube/resources.ts';
import type { Deployment, Pod } from '../../kube/resources.ts';
import { createStoreClient, ApiStore } from '../../local/apiserver/store.ts';
import { readOperatorConfig } from '../../operator/config.ts';
import { createApiCallMetrics, createOperatorApp } from '../../operator/metrics.ts';
import { startOperator } from '../../operator/start.ts';
import { manifest, ownedBy } from './builders.ts';
import { NAMESPACE, statedDemand, writtenCatalog } from './operator-fixture.ts';
import { TINY_MODEL, createTinyStore, startRuntime } from './runtime-process.ts';
import { embed, eventually, startStubCluster } from './stub-runtime-cluster.ts';
import { startStubRuntime } from './stub-runtime.ts';

export interface Observed extends AsyncDisposable {
  /** Where each serves its metrics. */
  readonly urls: Readonly<Record<'router' | 'runtime' | 'operator', string>>;
  /** As Kubernetes discovery would see them. */
  readonly pods: readonly Pod[];
}

const BUSY_EVERY_MS = 250;
const SLEEP_EVERY = 6;

export async function startObserved(): Promise<Observed> {
  const stack = new AsyncDisposableStack();
  const runtime = await startTinyRuntime(stack);
  const router = await startBusyRouter(stack, Number(new URL(runtime).port));
  const operator = await startBusyOperator(stack);
  const urls = { router, runtime, operator };
  return {
    urls,
    pods: [
      podOf('kubembed-router', router, { 'app.kubernetes.io/name': 'kubembed' }),
      podOf('kubembed-operator', operator, { 'app.kubernetes.io/name': 'kubembed' }),
      podOf('em-tiny', runtime, { 'kubembed.dev/model': 'tiny' }, 'ns'),
    ],
    [Symbol.asyncDispose]: async () => await stack.disposeAsync(),
  };
}

function podOf(name: string, url: string, labels: Record<string, string>, namespace = NAMESPACE): Pod {
  const { hostname, port } = new URL(url);
  const annotations = {
    'prometheus.io/scrape': 'true',
    'prometheus.io/port': port,
    'prometheus.io/path': '/metrics',
  };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels, annotations },
    spec: { containers: [{ name: 'main', image: 'image', ports: [{ containerPort: Number(port) }] }] },
    status: { podIP: hostname },
  };
}

/** Repeats until the stack is disposed of. */
function repeat(stack: AsyncDisposableStack, work: (round: number) => Promise<unknown>): void {
  const stopping = new AbortController();
  const { signal } = stopping;
  const running = (async () => {
    for (let round = 0; !signal.aborted; round += 1) {
      await work(round).catch(() => undefined);
      await sleep(BUSY_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  })();
  stack.defer(async () => {
    stopping.abort();
    await running;
  });
}

async function startTinyRuntime(stack: AsyncDisposableStack): Promise<string> {
  const store = stack.use(await createTinyStore());
  return await stack.use(startRuntime(store.store)).ready();
}

/** Answers, errors, truncation, cache hits, retries, an ejection, and a model that is woken now and then. */
async function startBusyRouter(stack: AsyncDisposableStack, runtimePort: number): Promise<string> {
  const [healthy, dead] = await Promise.all([startStubRuntime({ model: 'org/pair' }), startStubRuntime()]);
  stack.defer(async () => await healthy.kill());
  const cluster = await startStubCluster({ KUBEMBED_CACHE_MODELS: '*' });
  stack.defer(async () => await cluster.close());
  const { url } = cluster.router;
  for (const [name, model] of [
    ['tiny', TINY_MODEL],
    ['pair', 'org/pair'],
    ['sleeper', 'org/sleeper'],
  ] as const)
    await cluster.model(name, { spec: { model }, revision: 'rev-1' });
  await cluster.endpoints('tiny', [runtimePort]);
  await cluster.endpoints('pair', [healthy.port, dead.port]);
  await cluster.router.synced;
  await dead.kill();
  const sleeper = await startStubRuntime({ model: 'org/sleeper' });
  stack.defer(async () => await sleeper.kill());
  repeat(stack, async (round) => {
    const text = `abc ${round}`;
    const asked = [
      embed(url, { model: TINY_MODEL, input: [text, 'a '.repeat(200)] }),
      embed(url, { model: 'org/pair', input: text }),
      embed(url, { model: 'org/pair', input: 'always the same' }),
      embed(url, { model: 'nobody/nothing', input: text }),
    ];
    if (round % SLEEP_EVERY === 0) {
      await cluster.endpoints('sleeper', []);
      // A router that does not know yet would still send it there.
      await eventually(async () => (await readyEndpoints(url, 'org/sleeper')) === 0);
      asked.push(embed(url, { model: 'org/sleeper', input: text }));
      await sleep(BUSY_EVERY_MS);
      await cluster.endpoints('sleeper', [sleeper.port]);
    }
    await Promise.all(asked);
  });
  return url;
}

/** That has done all that a pod does until it is ready. */
const readyPod = (deployment: Deployment): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: `${deployment.metadata.name}-1`,
    namespace: 'ns',
    labels: { 'kubembed.dev/model': 'tiny' },
    ownerReferences: [ownedBy(deployment)],
  },
  spec: { nodeName: 'node', containers: [{ name: 'runtime', image: 'image' }] },
});
const READY_POD = {
  podIP: '127.0.0.1',
  initContainerStatuses: [{ name: 'fetch', ready: true, restartCount: 0, state: { terminated: { exitCode: 0 } } }],
  containerStatuses: [{ name: 'runtime', ready: true, restartCount: 0, state: { running: {} } }],
};

/** What a cluster does about Deployments, with one pod. */
async function keepUp(client: KubeClient): Promise<void> {
  const { items } = await client.list(DEPLOYMENTS, { namespace: 'ns' });
  for (const deployment of items) {
    const { metadata, spec } = deployment;
    const replicas = spec.replicas ?? 0;
    if (replicas > 0) {
      const pod = await client.apply(PODS, readyPod(deployment), { fieldManager: 'test', force: true });
      const { name } = pod.metadata;
      await client.patch(PODS, { namespace: 'ns', name }, { status: READY_POD }, { subresource: 'status' });
    }
    const counts = { replicas, readyReplicas: replicas, updatedReplicas: replicas };
    const status = { ...counts, observedGeneration: metadata.generation };
    await client.patch(DEPLOYMENTS, { namespace: 'ns', name: metadata.name }, { status }, { subresource: 'status' });
  }
}

async function readyEndpoints(url: string, model: string): Promise<number> {
  const { ready_endpoints: ready } = (await (await fetch(`${url}/v1/models/${model}`)).json()) as {
    ready_endpoints: number;
  };
  return ready;
}

/** One model that is asked for and served, and calls of an API server that is not there. */
async function startBusyOperator(stack: AsyncDisposableStack): Promise<string> {
  const registry = createRegistry();
  const client = createStoreClient(new ApiStore({ clock: systemClock, newUid: randomUUID }));
  const observe = createApiCallMetrics(registry);
  const demand = statedDemand();
  const log = pino({ level: 'silent' });
  const operator = startOperator({
    client,
    config: readOperatorConfig({ KUBEMBED_NAMESPACE: NAMESPACE, KUBEMBED_LEADER_ELECTION: 'false' }),
    log,
    registry,
    catalog: writtenCatalog('org/tiny', 'ns').source,
    demand: demand.source,
  });
  stack.defer(async () => await operator.stop());
  // In the list's place.
  const spec = { model: 'org/tiny', servedNames: ['org/tiny'] };
  await client.create(EMBEDDING_MODELS, manifest('tiny', spec, 'ns'));
  repeat(stack, async (round) => {
    observe({ method: 'GET', status: round % 2 === 0 ? 200 : 0, seconds: 0.01 });
    demand.state('ns/tiny', { offeredRequests: round, queuedRequests: 1, activations: round });
    const changed = manifest('tiny', { ...spec, scaling: { idleSeconds: 60 + round } }, 'ns');
    await client.apply(EMBEDDING_MODELS, changed, { fieldManager: 'test', force: true });
    await keepUp(client);
  });
  const server = createServer(createOperatorApp({ isReady: operator.ready, registry, log }));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
