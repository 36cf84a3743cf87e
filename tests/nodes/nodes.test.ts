// Two real nodes: where pods go, a claim that one node has to itself, and a node that is drained, or lost, under load.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findCondition } from '../../api/conditions.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { Event, Pod } from '../../kube/resources.ts';
import { ENDPOINT, eventually, FIRST_NODE, idlePod, installChart, startCluster } from '../helpers/cluster.ts';
import type { Cluster } from '../helpers/cluster.ts';
import { serveHub } from '../helpers/cluster-hub.ts';
import { prepareLoad } from '../helpers/cluster-load.ts';
import type { LoadReport } from '../helpers/cluster-load.ts';
import * as model from '../helpers/cluster-model.ts';
import { CLUSTER_STATE, cutOff } from '../helpers/cluster-node.ts';
import { exclusiveClaim } from '../helpers/cluster-volume.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { tinyModel } from '../helpers/tiny-model.ts';

const OTHER_NODE = 'node2';
const BOTH = [FIRST_NODE, OTHER_NODE];
const NAMESPACE = model.NAMESPACE;

let cluster: Cluster;
let hub: HubServer;
const cleanup: (() => Promise<void>)[] = [];

const nodeOf = ({ spec }: Pod): string => String(spec.nodeName);
const nodesOf = (pods: readonly Pod[]): readonly string[] => pods.map(nodeOf).toSorted();

beforeAll(async () => {
  cluster = await startCluster({ nodes: 2 });
  cleanup.push(cluster.stop);
  hub = await serveHub(cluster.host, { noCdn: true });
  cleanup.push(async () => await hub.close());
  const files = await tinyModel();
  for (const id of [model.MODEL, 'org/alone']) hub.commit(id, files);
  await installChart(cluster, {
    supportedModels: `${model.MODEL}\norg/alone\n`,
    'huggingFace.endpoint': hub.endpoint,
  });
  await cluster.apply(model.pair('200m'));
  await model.twoReady(cluster);
});

afterAll(async () => {
  for (const undo of cleanup.toReversed()) await undo();
});

describe('pods are spread', () => {
  const spread = async (): Promise<Readonly<Record<string, readonly string[]>>> => ({
    routers: nodesOf(await model.componentPods(cluster, 'router')),
    operators: nodesOf(await model.componentPods(cluster, 'operator')),
    replicas: nodesOf(await model.replicasOf(cluster)),
  });

  it('over both nodes: routers, operators, and the replicas of a model', async () => {
    expect(await spread()).toEqual({ routers: BOTH, operators: BOTH, replicas: BOTH });
  });

  it('still after all were replaced', async () => {
    const before = await model.replicasOf(cluster);
    await cluster.apply(model.pair('210m'));
    await model.replaced(cluster, before);
    for (const component of ['router', 'operator'] as const) {
      await cluster.kubectl(['rollout', 'restart', '-n', 'kubembed', `deploy/kubembed-${component}`]);
      await model.rolledOut(cluster, component);
    }
    expect(await spread()).toEqual({ routers: BOTH, operators: BOTH, replicas: BOTH });
  });
});

describe('a claim that one node has to itself', () => {
  const CLAIM = 'alone';
  const alone = (cpu: string): object => ({
    apiVersion: 'kubembed.dev/v1alpha1',
    kind: 'EmbeddingModel',
    metadata: { name: 'alone', namespace: NAMESPACE },
    spec: {
      model: 'org/alone',
      cache: { existingClaim: CLAIM },
      scaling: { minReplicas: 1, maxReplicas: 1 },
      resources: { requests: { cpu, memory: '64Mi' }, limits: { cpu: '1', memory: '512Mi' } },
    },
  });
  const podsOf = async (): Promise<readonly Pod[]> => await model.livePods(cluster, 'kubembed.dev/model=alone');
  const settled = async (cpu: string): Promise<Pod> =>
    await eventually(`one ready pod that asks for ${cpu}`, async () => {
      const [pod, ...others] = await podsOf();
      const asks = JSON.stringify(pod?.spec.containers).includes(`"cpu":"${cpu}"`);
      const ready = pod?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
      return asks && ready && others.length === 0 ? pod : undefined;
    });
  const weightsFetched = (): number =>
    hub.requests.filter(
      ({ method, path }) => method === 'GET' && path.startsWith('/org/alone/') && path.endsWith('model.safetensors'),
    ).length;

  /** Somebody else's, on a node of choice, with the same claim. */
  const intruder = (node: string): object =>
    idlePod({
      ...{ name: 'intruder', namespace: NAMESPACE },
      container: { volumeMounts: [{ name: 'store', mountPath: '/models' }] },
      spec: { nodeName: node, volumes: [{ name: 'store', persistentVolumeClaim: { claimName: CLAIM } }] },
    });

  beforeAll(async () => {
    const path = join(CLUSTER_STATE, 'volumes', CLAIM);
    await mkdir(path, { recursive: true });
    await cluster.apply(...exclusiveClaim({ name: CLAIM, namespace: NAMESPACE, path }));
    await cluster.apply(alone('100m'));
  });

  it('is refused to a second node', async () => {
    const pod = await settled('100m');
    expect(weightsFetched()).toBe(1);
    await cluster.apply(intruder(BOTH.find((node) => node !== nodeOf(pod))!));
    const told = await eventually('an attachment that is refused', async () => {
      const { items } = await cluster.get<{ items: Event[] }>('events', '-n', NAMESPACE);
      return items.find(
        ({ reason, involvedObject }) => reason === 'FailedAttachVolume' && involvedObject.name === 'intruder',
      );
    });
    expect(told.message).toContain('Multi-Attach error');
    await cluster.kubectl(['delete', 'pod', 'intruder', '-n', NAMESPACE, '--wait', '--timeout=120s']);
  });

  it('goes with the model’s pod to the other node, and the weights with it', async () => {
    const before = nodeOf(await settled('100m'));
    await cluster.kubectl(['cordon', before]);
    try {
      await cluster.apply(alone('110m'));
      expect(nodeOf(await settled('110m'))).not.toBe(before);
      await eventually('a model that says it is ready', async () => {
        const { status } = await cluster.get<EmbeddingModel>('em', 'alone', '-n', NAMESPACE);
        return findCondition(status?.conditions, 'Ready')?.status === 'True' ? true : undefined;
      });
    } finally {
      await cluster.kubectl(['uncordon', before]);
    }
    expect(weightsFetched()).toBe(1);
  });

  afterAll(async () => {
    await cluster.kubectl(['delete', 'em', 'alone', '-n', NAMESPACE, '--timeout=120s']);
  });
});

describe('under load', () => {
  const told = (what: string, { answered, skipped, p99 }: LoadReport): void => {
    console.log(
      `${what}: ${String(answered)} answered, ${String(skipped)} not sent; p99 ${String(p99.before)} ms before, ${String(p99.during)} ms during`,
    );
  };

  it('no request fails while a node is drained', async () => {
    const load = await prepareLoad(cluster, model.MODEL);
    const report = await load.during(async () => {
      await cluster.kubectl(['drain', OTHER_NODE, '--delete-emptydir-data', '--force', '--timeout=180s']);
      await model.twoReady(cluster);
      await model.rolledOut(cluster, 'router');
    });
    told('a drain', report);
    expect({ failed: report.failed, failures: report.failures }).toEqual({ failed: 0, failures: [] });
    expect(report.answered).toBeGreaterThan(50);
    expect(nodesOf(await model.replicasOf(cluster))).toEqual([FIRST_NODE, FIRST_NODE]);
    await cluster.kubectl(['uncordon', OTHER_NODE]);
  });

  it('no request to a router that is left fails while the other node is lost, and all is replaced', async () => {
    // Both nodes have one of each again.
    const before = await model.replicasOf(cluster);
    await cluster.apply(model.pair('220m'));
    await model.replaced(cluster, before);
    await cluster.kubectl(['rollout', 'restart', '-n', 'kubembed', 'deploy/kubembed-router']);
    await model.rolledOut(cluster, 'router');
    expect(nodesOf(await model.replicasOf(cluster))).toEqual(BOTH);
    const routers = await model.componentPods(cluster, 'router');
    const left = routers.find((pod) => nodeOf(pod) === FIRST_NODE);
    const load = await prepareLoad(cluster, model.MODEL, `${left!.status!.podIP!}:8080`);
    const report = await load.during(async () => {
      await cutOff(OTHER_NODE, async () => {
        await eventually('two replicas on the node that is left', async () => {
          const pods = await model.replicasOf(cluster);
          return nodesOf(pods).join() === [FIRST_NODE, FIRST_NODE].join() ? true : undefined;
        });
        await model.twoReady(cluster);
      });
    });
    told('a loss', report);
    expect({ failed: report.failed, failures: report.failures }).toEqual({ failed: 0, failures: [] });
    expect(report.answered).toBeGreaterThan(50);
  });

  it('a node that comes back is a node again, without what was replaced', async () => {
    await cluster.kubectl(['wait', '--for=condition=Ready', `node/${OTHER_NODE}`, '--timeout=120s']);
    await eventually('no pod that ends for ever', async () => {
      const { items } = await cluster.get<{ items: Pod[] }>('pods', '-n', NAMESPACE);
      return items.every(({ metadata }) => metadata.deletionTimestamp === undefined) ? true : undefined;
    });
    await model.twoReady(cluster);
    const request = { model: model.MODEL, input: 'good morning' };
    const { status } = await cluster.inClient<{ status: number }>('embed.mjs', `${ENDPOINT}/embeddings`, request);
    expect(status).toBe(200);
  });
});
