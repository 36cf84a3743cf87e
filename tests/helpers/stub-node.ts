// A node of a real API server whose pods run in this process: operators and routers for real, from the environment that the chart gives
// them, and stand-ins for runtimes, with real sockets, a start that takes its time and an end that refuses. Controllers and scheduler are
// Kubernetes' own. The address of a pod, 10.245.x.y, is 127.245.x.y on this machine, all of which is loopback.
import { request } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { FETCH_CONTAINER, SERVE_CONTAINER } from '../../api/names.ts';
import { ifPresent } from '../../kube/client.ts';
import type { KubeClient } from '../../kube/client.ts';
import { silentLog, systemClock } from '../../kube/clock.ts';
import { createController } from '../../kube/controller.ts';
import { createInformer } from '../../kube/informer.ts';
import { ENDPOINT_SLICES, PODS } from '../../kube/resources.ts';
import type { Container, EndpointSlice, EnvVar, Pod } from '../../kube/resources.ts';
import { formatKey, keyOf } from '../../kube/types.ts';
import type { KubeObject, ObjectKey } from '../../kube/types.ts';
import { readOperatorConfig } from '../../operator/config.ts';
import { startOperator } from '../../operator/start.ts';
import { readRouterConfig } from '../../router/config.ts';
import { startRouter } from '../../router/start.ts';
import { FETCHED_WORDS } from './builders.ts';
import type { ControlPlane } from './control-plane.ts';
import { startStubRuntime } from './stub-runtime.ts';

export interface StubNode {
  readonly stop: () => Promise<void>;
}

export interface StubNodeOptions {
  /** Until a stand-in for a runtime is ready. */
  readonly startMs: number;
}

const NAME = 'stub';
const WORKERS = 64;
const HTTP_PORT = 8080;
const PROBE_MS = 100;
const HEARTBEAT_MS = 60_000;
const log = pino({ level: 'silent' });

/** What runs in a pod. */
interface Program {
  readonly isReady: () => boolean;
  /** As SIGTERM: settles when the process has ended. */
  readonly end: () => Promise<void>;
}

type Environment = Readonly<Record<string, string>>;
type Start = (env: Environment, host: string, client: KubeClient) => Promise<Program>;

const onLoopback = (address: string): string => address.replace(/^10\.245\./, '127.245.');

const withLoopback = <T extends KubeObject>(object: T): T => {
  if (object.kind !== ENDPOINT_SLICES.kind) return object;
  const slice = object as unknown as EndpointSlice;
  const endpoints = (slice.endpoints ?? []).map((one) => ({ ...one, addresses: one.addresses.map(onLoopback) }));
  return { ...object, endpoints };
};

/** Reads pods' addresses as those on which they listen here. */
export const loopbackClient = (client: KubeClient): KubeClient => ({
  ...client,
  list: async (type, options) => {
    const list = await client.list(type, options);
    const items = list.items.map((one) => ({ ...one, kind: type.kind })).map(withLoopback);
    return { ...list, items };
  },
  watch: async function* (type, options) {
    for await (const event of client.watch(type, options))
      yield event.type === 'BOOKMARK' ? event : { ...event, object: withLoopback(event.object) };
  },
});

const PROGRAMS: Readonly<Record<string, Start>> = {
  runtime: async ({ KUBEMBED_MODEL: model = '', IMAGE: revision = '' }, host) => {
    const stub = await startStubRuntime({ model, host, port: HTTP_PORT, revision, latencyMs: 5 });
    return {
      isReady: () => stub.misbehave === 'none',
      end: async () => {
        stub.misbehave = 'draining';
        while (stub.inFlight() > 0) await sleep(PROBE_MS);
        await stub.kill();
      },
    };
  },
  router: async (env, host, client) => {
    const config = readRouterConfig({ ...env, KUBEMBED_HOST: host });
    const router = await startRouter({ client, config, log });
    return { isReady: router.ready, end: router.close };
  },
  operator: async (env, _host, client) => {
    const operator = startOperator({ client, config: readOperatorConfig(env), log });
    await Promise.resolve();
    return { isReady: operator.ready, end: operator.stop };
  },
};

/** One address for each pod that ever is. */
function createAddresses(): () => string {
  let last = 0;
  return () => {
    last += 1;
    return `10.245.${last >> 8}.${last & 255}`;
  };
}

const valueOf = ({ value, valueFrom }: EnvVar, { metadata }: Pod): string | undefined => {
  const path = valueFrom?.fieldRef?.fieldPath;
  return path === undefined
    ? value
    : { 'metadata.name': metadata.name, 'metadata.namespace': metadata.namespace }[path];
};

const environmentOf = (pod: Pod, { env = [], image }: Container): Environment => {
  const given = env.flatMap((one) => {
    const value = valueOf(one, pod);
    return value === undefined ? [] : [[one.name, value] as const];
  });
  return { ...Object.fromEntries(given), IMAGE: image };
};

function statusOf(pod: Pod, podIP: string, isReady: boolean): Pod['status'] & object {
  const now = new Date().toISOString();
  const container = { restartCount: 0, imageID: '' };
  const fetched = { exitCode: 0, reason: 'Completed', message: JSON.stringify(FETCHED_WORDS) };
  const conditions = (['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'] as const).map((type) => {
    const isTrue = isReady || !type.includes('Ready');
    return { type, status: isTrue ? 'True' : 'False', lastTransitionTime: now };
  });
  const inits = (pod.spec.initContainers ?? []).map(({ name, image }) => ({
    ...{ ...container, name, image, ready: true },
    state: { terminated: name === FETCH_CONTAINER ? fetched : { exitCode: 0 } },
  }));
  const running = pod.spec.containers.map(({ name, image }) => ({
    ...{ ...container, name, image, ready: isReady },
    state: { running: { startedAt: now } },
  }));
  return {
    ...{ phase: 'Running', podIP, podIPs: [{ ip: podIP }], conditions },
    ...{ initContainerStatuses: inits, containerStatuses: running },
  };
}

/** As a kubelet does when a pod's processes have ended. */
async function removeNow({ connection }: ControlPlane, { metadata: { namespace, name, uid } }: Pod): Promise<void> {
  const url = `${connection.server}/api/v1/namespaces/${namespace}/pods/${name}`;
  const body = JSON.stringify({ gracePeriodSeconds: 0, preconditions: { uid } });
  await new Promise<void>((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const call = request(url, { ...connection.tls, method: 'DELETE', headers }, (answer) => {
      answer.resume().once('end', resolve);
    });
    call.once('error', reject);
    call.end(body);
  });
}

/** The control plane must have been started with controllers and without fake nodes. */
export async function startStubNode(plane: ControlPlane, { startMs }: StubNodeOptions): Promise<StubNode> {
  const client = plane.client('stub-node');
  const stopping = new AbortController();
  const { signal } = stopping;
  const nextAddress = createAddresses();
  const running = new Map<string, Program>();
  const environment = { clock: systemClock, random: Math.random, log: silentLog };
  const pods = createInformer(client, PODS, environment, { fieldSelector: `spec.nodeName=${NAME}` });

  const capacity = { cpu: '10k', memory: '10Ti', pods: '1000', 'ephemeral-storage': '10Ti' };
  const beat = async (): Promise<void> => {
    const now = new Date().toISOString();
    const ready = { type: 'Ready', status: 'True', reason: 'Stub', message: '', lastHeartbeatTime: now };
    const status = { capacity, allocatable: capacity, conditions: [{ ...ready, lastTransitionTime: now }] };
    const patch = ['patch', 'node', NAME, '--subresource=status', '--type=merge', '-p', JSON.stringify({ status })];
    await plane.kubectl(patch);
  };
  const labels = { 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'amd64', 'kubernetes.io/hostname': NAME };
  await plane.kubectl(
    ['apply', '-f', '-'],
    JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name: NAME, labels } }),
  );
  await beat();
  const heart = setInterval(() => void beat().catch(() => undefined), HEARTBEAT_MS);

  const say = async (pod: Pod, podIP: string, isReady: boolean): Promise<void> => {
    const status = statusOf(pod, podIP, isReady);
    await ifPresent(client.patch(PODS, keyOf(pod), { status }, { subresource: 'status' }));
  };

  async function start(pod: Pod, id: string): Promise<void> {
    const component = pod.metadata.labels?.['app.kubernetes.io/component'] ?? '';
    const container = pod.spec.containers.find(({ name }) => name === SERVE_CONTAINER) ?? pod.spec.containers[0]!;
    const begin = PROGRAMS[component];
    if (begin === undefined) throw new Error(`Nobody knows how to run ${component}`);
    const podIP = nextAddress();
    const program = begin(environmentOf(pod, container), onLoopback(podIP), loopbackClient(plane.client(id)));
    running.set(id, await program);
    await say(pod, podIP, false);
    if (component === 'runtime') await sleep(startMs);
    const isGone = (): boolean =>
      signal.aborted || pods.store.get(keyOf(pod))?.metadata.deletionTimestamp !== undefined;
    while (running.get(id)?.isReady() !== true && !isGone()) await sleep(PROBE_MS);
    if (!isGone()) await say(pod, podIP, true);
  }

  async function end(pod: Pod, id: string): Promise<void> {
    const [container] = pod.spec.containers;
    const { preStop } = (container?.['lifecycle'] ?? {}) as { preStop?: { sleep?: { seconds: number } } };
    await sleep((preStop?.sleep?.seconds ?? 0) * 1000);
    await running.get(id)?.end();
    running.delete(id);
    await removeNow(plane, pod);
  }

  const reconcile = async (key: ObjectKey) => {
    const pod = pods.store.get(key);
    const id = pod?.metadata.uid ?? formatKey(key);
    if (pod?.metadata.deletionTimestamp !== undefined) await end(pod, id);
    else if (pod !== undefined && !running.has(id)) await start(pod, id);
    return {};
  };
  const controller = createController({ name: NAME, workers: WORKERS, deadlineMs: 600_000, reconcile }, environment);
  controller.watch(pods);
  const all = Promise.all([pods.run(signal), controller.run(signal)]);
  await pods.whenSynced(signal);
  return {
    stop: async () => {
      clearInterval(heart);
      stopping.abort();
      await all;
      await Promise.all([...running.values()].map(async (program) => await program.end()));
    },
  };
}
