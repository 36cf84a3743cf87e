// The cold-start bench: a model sleeps, a request wakes it, and each stage until the answer is timed; on the test cluster, or on any other.
import { spawn } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LABEL_MODEL, SERVE_CONTAINER } from '../../api/names.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import { errorText } from '../../common/util/text.ts';
import { systemClock, silentLog } from '../../kube/clock.ts';
import { loadConnection } from '../../kube/config.ts';
import { createInformer } from '../../kube/informer.ts';
import { ENDPOINT_SLICES, PODS } from '../../kube/resources.ts';
import type { Pod } from '../../kube/resources.ts';
import { createRestClient } from '../../kube/rest.ts';
import { parseKey } from '../../kube/types.ts';
import type { ObjectKey } from '../../kube/types.ts';
import { installChart, startCluster } from '../../tests/helpers/cluster.ts';
import type { Cluster } from '../../tests/helpers/cluster.ts';
import { readRepository, serveHub } from '../../tests/helpers/cluster-hub.ts';
import { folderClaim } from '../../tests/helpers/cluster-volume.ts';
import { binaries } from '../../tests/helpers/helm.ts';
import { MINILM, minilm } from '../../tests/helpers/minilm.ts';
import { circumstances } from '../machine.ts';
import type { ColdStartOptions } from '../options.ts';
import { exitOnSignals, freePort, startChild } from '../process.ts';
import { publish } from '../report.ts';
import { hasReadyEndpoint, renderColdStarts, stagesOfLog, stagesOfPod } from './stages.ts';
import type { ColdStarts, Stage, Start } from './stages.ts';

const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** A kubectl and the cluster that it reaches. */
interface Target {
  readonly kubectl: string;
  readonly kubeconfig: string | undefined;
  /** Of the release. */
  readonly namespace: string;
}

const environmentOf = ({ kubeconfig }: Target): Record<string, string> =>
  kubeconfig === undefined ? {} : { KUBECONFIG: kubeconfig };

/** After a pod is gone: what the cluster still does about it must not be part of the next start. */
const SETTLE_MS = 2000;
const MAX_SLEEP_MS = 900_000;
/** A log is written in blocks. */
const LOG_MS = 1500;

async function outputOf(target: Target, args: readonly string[]): Promise<string> {
  const child = spawn(target.kubectl, args, {
    env: { ...process.env, ...environmentOf(target) },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let text = '';
  for await (const chunk of child.stdout) text += String(chunk);
  return text;
}

/** What the cluster shows of one model, as it happens. */
async function watchModel(target: Target, { namespace, name }: ObjectKey, signal: AbortSignal) {
  const env = { ...process.env, ...environmentOf(target) };
  const client = createRestClient(await loadConnection({ env, clock: systemClock }), {
    clock: systemClock,
    userAgent: 'kubembed-bench',
  });
  const environment = { clock: systemClock, random: Math.random, log: silentLog };
  const selection = { namespace, labelSelector: `${LABEL_MODEL}=${name}` };
  const pods = createInformer(client, PODS, environment, selection);
  const slices = createInformer(client, ENDPOINT_SLICES, environment, selection);
  let seen: Partial<Record<Stage, number>> = {};
  const note = (stage: Stage): void => void (seen[stage] ??= Date.now());
  pods.onChange((_old, pod) => pod && stagesOfPod(pod).forEach(note));
  slices.onChange((_old, slice) => slice && hasReadyEndpoint(slice) && note('endpoint'));
  const running = Promise.all([pods.run(signal), slices.run(signal)]);
  running.catch(() => undefined);
  await Promise.all([pods.whenSynced(signal), slices.whenSynced(signal)]);
  const model = await client.get(EMBEDDING_MODELS, { namespace, name });
  return {
    servedName: model.status?.servedNames?.[0] ?? model.spec.model,
    pods: (): readonly Pod[] => pods.store.list(),
    /** Begins anew. */
    restart: (): void => void (seen = {}),
    seen: (): Partial<Record<Stage, number>> => seen,
    close: async (): Promise<void> => await client.close(),
  };
}

type WatchedModel = Awaited<ReturnType<typeof watchModel>>;

async function untilAsleep(model: WatchedModel): Promise<void> {
  const end = Date.now() + MAX_SLEEP_MS;
  while (model.pods().length > 0) {
    if (Date.now() > end) throw new Error('The model did not fall asleep; its idleSeconds may be long.');
    await sleep(200);
  }
  await sleep(SETTLE_MS);
}

interface Wake {
  readonly target: Target;
  readonly url: string;
  readonly model: WatchedModel;
  readonly namespace: string;
}

async function wake({ target, url, model, namespace }: Wake): Promise<Start> {
  await untilAsleep(model);
  model.restart();
  const startedMs = Date.now();
  const response = await fetch(`${url}/v1/embeddings`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: model.servedName, input: 'How long does it take from nothing to a vector?' }),
  });
  const text = await response.text();
  const answeredMs = Date.now();
  if (response.status !== 200) throw new Error(`The router answered ${response.status}: ${text.slice(0, 500)}`);
  const [pod] = model.pods();
  await sleep(LOG_MS);
  const log = await outputOf(target, ['logs', '-n', namespace, pod?.metadata.name ?? '', '-c', SERVE_CONTAINER]);
  const all = { ...model.seen(), ...stagesOfLog(log), answered: answeredMs };
  return Object.fromEntries(Object.entries(all).map(([stage, ms]) => [stage, ms - startedMs]));
}

interface Sleeper {
  readonly key: ObjectKey;
  readonly what: string;
  readonly goalMs?: ColdStarts['goalMs'];
}

interface Series {
  readonly target: Target;
  readonly url: string;
  readonly sleeper: Sleeper;
  readonly wakes: number;
}

async function wakeAgain(series: Series, signal: AbortSignal): Promise<ColdStarts> {
  const { target, url, sleeper, wakes } = series;
  const { key, what, goalMs } = sleeper;
  const model = await watchModel(target, key, signal);
  const starts: Start[] = [];
  // The first finds weights and caches of the node cold, and its revision unknown.
  const failures: string[] = [];
  for (let count = 0; count <= wakes; count += 1) {
    const told = `${what}: ${count === 0 ? 'first' : `${count} of ${wakes}`}`;
    try {
      const start = await wake({ target, url, model, namespace: key.namespace });
      say(`${told}, ${((start.answered ?? 0) / 1000).toFixed(2)} s`);
      if (count > 0) starts.push(start);
    } catch (error) {
      say(`${told}: ${errorText(error)}`);
      failures.push(errorText(error));
    }
  }
  await model.close();
  return { what, goalMs, starts, failures };
}

async function measure(target: Target, sleepers: readonly Sleeper[], wakes: number): Promise<readonly ColdStarts[]> {
  const logs = await mkdtemp(join(tmpdir(), 'kubembed-cold-start-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const args = ['port-forward', '-n', target.namespace, 'svc/kubembed', `${port}:http`];
  const forward = startChild({ file: target.kubectl, args, env: environmentOf(target) }, join(logs, 'forward.log'));
  const ending = new AbortController();
  try {
    await forward.until(async () => (await fetch(`${url}/readyz`)).status === 200);
    const measured: ColdStarts[] = [];
    for (const sleeper of sleepers) measured.push(await wakeAgain({ target, url, sleeper, wakes }, ending.signal));
    return measured;
  } finally {
    ending.abort();
    await forward.stop();
    await rm(logs, { recursive: true, force: true });
  }
}

// The test cluster, with a model whose weights a hub beside it has, and one whose weights are on the node

const NAMESPACE = 'kubembed';
const IDLE_SECONDS = 2;
const CLAIM = 'cold-weights';
const RESOURCES = { requests: { cpu: '100m', memory: '256Mi' }, limits: { cpu: '2', memory: '1Gi' } };

const sleeper = (name: string, cache: object): object => ({
  apiVersion: 'kubembed.dev/v1alpha1',
  kind: 'EmbeddingModel',
  metadata: { name, namespace: NAMESPACE },
  spec: { model: MINILM, servedNames: [`cold/${name}`], cache, scaling: { idleSeconds: IDLE_SECONDS } },
});

/** @param weights a folder of the node, which is this machine */
async function prepare(cluster: Cluster, weights: string): Promise<{ readonly close: () => Promise<void> }> {
  const { snapshotDir } = await minilm();
  const hub = await serveHub(cluster.host);
  hub.commit(MINILM, await readRepository(snapshotDir));
  await installChart(cluster, {
    supportedModels: `${MINILM}\n`,
    'huggingFace.endpoint': hub.endpoint,
    'runtime.cpu.resources': RESOURCES,
  });
  await cluster.apply(
    ...(await folderClaim(cluster, { name: CLAIM, namespace: NAMESPACE, path: weights })),
    sleeper('on-node', { existingClaim: CLAIM }),
    sleeper('from-hub', { emptyDir: {} }),
  );
  for (const name of ['on-node', 'from-hub'])
    await cluster.kubectl(['wait', '-n', NAMESPACE, `em/${name}`, '--for=condition=Accepted', '--timeout=60s']);
  return hub;
}

async function onTestCluster(wakes: number): Promise<readonly ColdStarts[]> {
  const cluster = await startCluster();
  // A cluster that nobody asked for would be left behind.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void cluster.stop().finally(() => process.exit(130)));
  const weights = await mkdtemp(join(tmpdir(), 'kubembed-cold-weights-'));
  // Whoever the pods run as.
  await chmod(weights, 0o777);
  try {
    const hub = await prepare(cluster, weights);
    const target = { kubectl: join(binaries(), 'kubectl'), kubeconfig: cluster.kubeconfig, namespace: NAMESPACE };
    const sleepers = [
      {
        key: { namespace: NAMESPACE, name: 'on-node' },
        what: 'Weights on the node',
        goalMs: { median: 2200, p95: 3000 },
      },
      {
        key: { namespace: NAMESPACE, name: 'from-hub' },
        what: '90 MB from a hub beside it',
        goalMs: { median: 3000, p95: 3000 },
      },
    ];
    try {
      return await measure(target, sleepers, wakes);
    } finally {
      await hub.close();
    }
  } finally {
    await cluster.stop();
    await rm(weights, { recursive: true, force: true });
  }
}

async function onGivenCluster(target: Target, model: string, wakes: number): Promise<readonly ColdStarts[]> {
  exitOnSignals();
  return await measure(target, [{ key: parseKey(model), what: model }], wakes);
}

export async function benchColdStart({ model, namespace, wakes, write }: ColdStartOptions): Promise<void> {
  const all =
    model === undefined
      ? await onTestCluster(wakes)
      : await onGivenCluster({ kubectl: 'kubectl', kubeconfig: undefined, namespace }, model, wakes);
  const shared = model === undefined ? 'shared with the whole cluster and the hub' : 'that ask, not those that serve';
  await publish(renderColdStarts(all, circumstances(shared)), 'bench:cold-start', write);
}
