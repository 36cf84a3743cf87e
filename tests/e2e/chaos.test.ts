// A real cluster under continuous load at half of its capacity while things go wrong: no request fails and no vector is wrong.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, installChart, startCluster } from '../helpers/cluster.ts';
import type { Cluster } from '../helpers/cluster.ts';
import { serveHub } from '../helpers/cluster-hub.ts';
import { prepareLoad } from '../helpers/cluster-load.ts';
import type { Load } from '../helpers/cluster-load.ts';
import * as model from '../helpers/cluster-model.ts';
import * as node from '../helpers/cluster-node.ts';
import { slowDown } from '../helpers/slow-process.ts';
import { tinyModel } from '../helpers/tiny-model.ts';

/** Longer outages by `npm run test:chaos`. */
const OUTAGE_MS = Number(process.env['CHAOS_OUTAGE_SECONDS'] ?? 60) * 1000;
const NODE = 'node1';
const ALIAS = 'going-soon';

let cluster: Cluster;
let load: Load;
const cleanup: (() => Promise<void>)[] = [];

interface Trouble {
  readonly name: string;
  /** Reaches below Kubernetes. */
  readonly onNode?: true;
  readonly make: () => Promise<void>;
}

const runtimeOf = async (): Promise<number> => {
  const [pod] = await model.replicasOf(cluster);
  return await node.processOf(pod!.metadata.uid!, 'dist/runtime/main.js');
};

/** The only node is also where the replacement has to go: as soon as one pod is evicted, the node takes pods again. */
async function drain(selector: string, namespace: string): Promise<void> {
  const before = new Set((await model.livePods(cluster, selector, namespace)).map(({ metadata }) => metadata.uid));
  const flags = ['--delete-emptydir-data', '--force', '--timeout=150s'];
  const draining = cluster.kubectl(['drain', NODE, `--pod-selector=${selector}`, ...flags]);
  try {
    await eventually('an eviction', async () => {
      const pods = await model.livePods(cluster, selector, namespace);
      return pods.some(({ metadata }) => !before.has(metadata.uid)) ? true : undefined;
    });
  } finally {
    await cluster.kubectl(['uncordon', NODE]);
  }
  await draining;
}

const TROUBLES: readonly Trouble[] = [
  {
    name: 'a rolling update',
    make: async () => {
      const before = await model.replicasOf(cluster);
      await cluster.apply(model.pair('210m'));
      await model.replaced(cluster, before);
    },
  },
  { name: 'a pod deleted with grace', make: async () => await model.deletePod(cluster) },
  {
    name: 'a pod deleted by force',
    make: async () => await model.deletePod(cluster, '--grace-period=0', '--force'),
  },
  {
    name: 'a runtime killed',
    onNode: true,
    make: async () => {
      process.kill(await runtimeOf(), 'SIGKILL');
      await eventually('a restart', async () => {
        const pods = await model.replicasOf(cluster);
        return pods.some(({ status }) => (status?.containerStatuses?.[0]?.restartCount ?? 0) > 0) ? true : undefined;
      });
      await model.twoReady(cluster);
    },
  },
  {
    name: 'a drain of the node',
    make: async () => {
      const before = await model.replicasOf(cluster);
      await drain('kubembed.dev/model', model.NAMESPACE);
      await model.replaced(cluster, before);
    },
  },
  {
    name: 'a rollout of the routers',
    make: async () => {
      await cluster.kubectl(['rollout', 'restart', '-n', 'kubembed', 'deploy/kubembed-router']);
      await model.rolledOut(cluster, 'router');
    },
  },
  {
    name: 'no operator, and a pod less meanwhile',
    make: async () => {
      await cluster.kubectl(['scale', '-n', 'kubembed', 'deploy/kubembed-operator', '--replicas=0']);
      await sleep(OUTAGE_MS / 2);
      await model.deletePod(cluster);
      await sleep(OUTAGE_MS / 2);
      await cluster.kubectl(['scale', '-n', 'kubembed', 'deploy/kubembed-operator', '--replicas=2']);
      await model.rolledOut(cluster, 'operator');
    },
  },
  {
    name: 'no API server, and a runtime killed meanwhile',
    onNode: true,
    make: async () => {
      const victim = await runtimeOf();
      await node.controlPlane.kill('kube-apiserver');
      await sleep(OUTAGE_MS / 2);
      process.kill(victim, 'SIGKILL');
      await sleep(OUTAGE_MS / 2);
      await node.controlPlane.start();
      await model.twoReady(cluster);
    },
  },
  {
    name: 'a restart of etcd',
    onNode: true,
    make: async () => {
      const before = await model.replicasOf(cluster);
      await node.controlPlane.kill('etcd');
      await sleep(5000);
      await node.controlPlane.start();
      await eventually('writes to succeed', async () => await cluster.apply(model.pair('220m')).then(() => true));
      // The operator may have to find its leader first: what comes next must not begin before this has ended.
      await model.replaced(cluster, before);
    },
  },
  {
    name: 'watches cut, so that a DELETED is missed',
    onNode: true,
    make: async () => await missDeletion(),
  },
  {
    name: 'an endpoint whose packets vanish',
    onNode: true,
    make: async () => {
      const [pod] = await model.replicasOf(cluster);
      await node.blackHoled(pod!.status!.podIP!, async () => await sleep(OUTAGE_MS));
    },
  },
  {
    name: 'an endpoint ten times slower',
    onNode: true,
    make: async () => {
      const recover = slowDown(await runtimeOf());
      await sleep(OUTAGE_MS);
      await recover();
      await model.twoReady(cluster);
    },
  },
];

const served = async (routerIp: string): Promise<readonly string[]> => {
  const response = await fetch(`http://${routerIp}:8080/v1/models`);
  return ((await response.json()) as { data: { id: string }[] }).data.map(({ id }) => id);
};

/** Routers come back to an API server that no longer knows what happened: only a new list tells them. */
async function missDeletion(): Promise<void> {
  const other = { name: 'other', namespace: model.NAMESPACE };
  await cluster.apply({
    apiVersion: 'kubembed.dev/v1alpha1',
    kind: 'EmbeddingModel',
    metadata: other,
    // The list makes another EmbeddingModel for the id; the alias goes with this one.
    spec: { model: 'org/other', servedNames: ['org/other', ALIAS] },
  });
  const routers = (await model.componentPods(cluster, 'router')).map(({ status }) => status!.podIP!);
  const everyRouter = async (what: string, knows: boolean): Promise<void> => {
    await eventually(what, async () => {
      const lists = await Promise.all(routers.map(served));
      return lists.every((ids) => ids.includes(ALIAS) === knows) ? true : undefined;
    });
  };
  await everyRouter('routers that know the model', true);
  await node.controlPlane.kill('kube-apiserver');
  await node.cutFromApi(routers, async () => {
    await node.controlPlane.start();
    await cluster.kubectl(['delete', 'embeddingmodel', other.name, '-n', other.namespace, '--timeout=60s']);
    await model.deletePod(cluster, '--grace-period=0', '--force');
    // With an empty watch cache it answers 410 to whoever asks for older versions.
    await node.controlPlane.kill('kube-apiserver');
    await node.controlPlane.start();
  });
  await everyRouter('routers that have forgotten the model', false);
  await model.twoReady(cluster);
}

beforeAll(async () => {
  cluster = await startCluster({ test: import.meta.filename });
  cleanup.push(cluster.stop);
  const hub = await serveHub(cluster.host);
  cleanup.push(async () => await hub.close());
  hub.commit(model.MODEL, await tinyModel());
  await installChart(cluster, { supportedModels: 'org/tiny\norg/other\n', 'huggingFace.endpoint': hub.endpoint });
  await cluster.apply(model.pair('200m'));
  await model.twoReady(cluster);
  load = await prepareLoad(cluster, model.MODEL);
});

afterAll(async () => {
  for (const undo of cleanup.toReversed()) await undo();
});

describe('no request fails through', () => {
  const possible = TROUBLES.filter(({ onNode }) => onNode === undefined || node.HAS_NODE);
  it.each(possible.map(({ name, make }) => [name, make] as const))('%s', async (name, make) => {
    const { answered, failed, failures, skipped, p99 } = await load.during(make);
    const numbers = `${String(answered)} answered at ${String(load.perSecond)}/s, ${String(skipped)} not sent`;
    console.log(`${name}: ${numbers}; p99 ${String(p99.before)} ms before, ${String(p99.during)} ms during`);
    expect({ failed, failures }).toEqual({ failed: 0, failures: [] });
    expect(answered).toBeGreaterThan(50);
  });
});
