// Under continuous load from another pod, nothing that an administrator does to pods fails a request.
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Deployment, Pod } from '../../kube/resources.ts';
import { CLIENTS, eventually, installChart, startCluster } from '../helpers/cluster.ts';
import type { Cluster } from '../helpers/cluster.ts';
import { serveHub } from '../helpers/cluster-hub.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { tinyModel } from '../helpers/tiny-model.ts';

const NAMESPACE = 'default';
const URL_OF_SERVICE = 'http://kubembed.kubembed.svc/v1/embeddings';
let cluster: Cluster;
let hub: HubServer;
const cleanup: (() => Promise<void>)[] = [];

interface Load {
  readonly answered: number;
  readonly failed: number;
  readonly failures: readonly string[];
}

const model = (cpu: string): object => ({
  apiVersion: 'kubembed.dev/v1alpha1',
  kind: 'EmbeddingModel',
  metadata: { name: 'tiny', namespace: NAMESPACE },
  spec: {
    model: 'org/tiny',
    scaling: { minReplicas: 2, maxReplicas: 2 },
    resources: { requests: { cpu, memory: '64Mi' }, limits: { cpu: '1', memory: '512Mi' } },
  },
});

const livePods = async (): Promise<readonly Pod[]> => {
  const { items } = await cluster.get<{ items: Pod[] }>('pods', '-n', NAMESPACE, '-l', 'kubembed.dev/model=tiny');
  return items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
};

// Read from the Deployment, which is true without an operator as well.
const twoReady = async (): Promise<void> => {
  await eventually('two ready replicas and no other', async () => {
    const { status } = await cluster.get<Deployment>('deploy', 'em-tiny', '-n', NAMESPACE);
    const settled = status?.readyReplicas === 2 && status.replicas === 2 && status.updatedReplicas === 2;
    return settled && (await livePods()).length === 2 ? true : undefined;
  });
};

const deletePod = async (...flags: readonly string[]): Promise<void> => {
  const [pod] = await livePods();
  await cluster.kubectl(['delete', 'pod', '-n', NAMESPACE, pod!.metadata.name, ...flags]);
  await twoReady();
};

/** Load all the while the action takes, and until the action's aftermath is over. */
async function underLoad(action: () => Promise<void>): Promise<Load> {
  const inClient = ['exec', '-n', CLIENTS, 'client', '--'];
  await cluster.kubectl([...inClient, 'rm', '-f', '/tmp/stop']);
  const request = { model: 'org/tiny', input: 'under load' };
  const load = cluster.inClient<Load>('load.mjs', URL_OF_SERVICE, request);
  try {
    await action();
  } finally {
    await cluster.kubectl([...inClient, 'touch', '/tmp/stop']);
  }
  return await load;
}

beforeAll(async () => {
  cluster = await startCluster();
  cleanup.push(cluster.stop);
  hub = await serveHub(cluster.host);
  cleanup.push(async () => await hub.close());
  hub.commit('org/tiny', await tinyModel());
  await installChart(cluster, { supportedModels: 'org/tiny\n', 'huggingFace.endpoint': hub.endpoint });
  await cluster.apply(model('10m'));
  await twoReady();
});

afterAll(async () => {
  for (const undo of cleanup.toReversed()) await undo();
});

it.each<readonly [string, () => Promise<void>]>([
  [
    'a rolling update of the model',
    async () => {
      const before = new Set((await livePods()).map(({ metadata }) => metadata.uid));
      await cluster.apply(model('20m'));
      await eventually('two new replicas', async () =>
        (await livePods()).every(({ metadata }) => !before.has(metadata.uid)) ? true : undefined,
      );
      await twoReady();
    },
  ],
  ['a pod deleted with grace', async () => await deletePod()],
  ['a pod deleted by force', async () => await deletePod('--grace-period=0', '--force')],
  [
    'a rollout of the routers',
    async () => {
      await cluster.kubectl(['rollout', 'restart', '-n', 'kubembed', 'deploy/kubembed-router']);
      await cluster.kubectl(['rollout', 'status', '-n', 'kubembed', 'deploy/kubembed-router', '--timeout=180s']);
      await eventually('old routers to be gone', async () => {
        const { items } = await cluster.get<{ items: Pod[] }>(
          'pods',
          '-n',
          'kubembed',
          '-l',
          'app.kubernetes.io/component=router',
        );
        return items.length === 2 ? true : undefined;
      });
    },
  ],
  [
    'no operator at all, then a new one',
    async () => {
      await cluster.kubectl(['scale', '-n', 'kubembed', 'deploy/kubembed-operator', '--replicas=0']);
      await deletePod();
      await cluster.kubectl(['scale', '-n', 'kubembed', 'deploy/kubembed-operator', '--replicas=2']);
      await cluster.kubectl(['rollout', 'status', '-n', 'kubembed', 'deploy/kubembed-operator', '--timeout=180s']);
    },
  ],
])('%s fails no request', async (_what, action) => {
  const { answered, failed, failures } = await underLoad(action);
  expect({ failed, failures }).toEqual({ failed: 0, failures: [] });
  expect(answered).toBeGreaterThan(100);
});
