// Every way a model can fail on a real cluster has its own condition reason, and a message that names the cause.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findCondition } from '../../api/conditions.ts';
import type { Condition, ConditionType } from '../../api/conditions.ts';
import type { EmbeddingModel, EmbeddingModelSpec } from '../../api/types.ts';
import type { Event, Pod } from '../../kube/resources.ts';
import { REGISTRY, eventually, installChart, startCluster, tinyReplicas } from '../helpers/cluster.ts';
import type { Cluster } from '../helpers/cluster.ts';
import { serveHub } from '../helpers/cluster-hub.ts';
import { folderClaim } from '../helpers/cluster-volume.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { tinyModel } from '../helpers/tiny-model.ts';

interface Failure {
  readonly name: string;
  readonly spec?: Partial<EmbeddingModelSpec>;
  readonly condition: 'Accepted' | 'Fetched' | 'Available';
  readonly reason: string;
  /** Part of the message: what a person has to know to act. */
  readonly tells: RegExp;
}

const GPU = 'nvidia.com/gpu';
// The release's own: there an EmbeddingModel takes the place of the list's.
const NAMESPACE = 'kubembed';
const FAILURES: readonly Failure[] = [
  { name: 'absent', condition: 'Fetched', reason: 'RepositoryNotFound', tells: /org\/absent/ },
  { name: 'gated', condition: 'Fetched', reason: 'GatedRepository', tells: /org\/gated/ },
  { name: 'foreign', condition: 'Fetched', reason: 'UnsupportedArchitecture', tells: /WhisperModel/ },
  { name: 'corrupt', condition: 'Fetched', reason: 'CorruptWeights', tells: /model\.safetensors/ },
  {
    name: 'revision',
    spec: { revision: 'v9' },
    condition: 'Fetched',
    reason: 'RevisionNotFound',
    tells: /v9/,
  },
  {
    name: 'small',
    spec: { resources: { requests: { memory: '20Mi' }, limits: { memory: '20Mi' } } },
    condition: 'Available',
    reason: 'OutOfMemory',
    tells: /memory limit/,
  },
  { name: 'gpu', spec: { device: 'gpu' }, condition: 'Available', reason: 'Unschedulable', tells: /nvidia\.com\/gpu/ },
  {
    name: 'unbound',
    spec: { cache: { claim: { size: '1Gi', storageClassName: 'none' } } },
    condition: 'Available',
    reason: 'ClaimPending',
    // In the words of the claim's events: the scheduler only knows that it is not bound.
    tells: /PersistentVolumeClaim em-unbound-cache is not bound: .*"none"/,
  },
  {
    name: 'noclaim',
    spec: { cache: { existingClaim: 'missing' } },
    condition: 'Available',
    reason: 'ClaimNotFound',
    tells: /missing/,
  },
  {
    name: 'nomount',
    spec: { cache: { existingClaim: 'nomount' } },
    condition: 'Available',
    reason: 'VolumeUnavailable',
    tells: /\/nowhere/,
  },
  {
    name: 'nosecret',
    spec: { tokenSecretRef: { name: 'missing' } },
    condition: 'Available',
    reason: 'ContainerConfigError',
    tells: /missing/,
  },
  { name: 'unlisted', condition: 'Accepted', reason: 'NotInSupportedModels', tells: /kubembed-catalog/ },
];

let cluster: Cluster;
let hub: HubServer;
const cleanup: (() => Promise<void>)[] = [];

const manifest = (name: string, spec: Partial<EmbeddingModelSpec> = {}): object => ({
  apiVersion: 'kubembed.dev/v1alpha1',
  kind: 'EmbeddingModel',
  metadata: { name, namespace: NAMESPACE },
  spec: { model: `org/${name}`, scaling: { minReplicas: 1 }, ...spec },
});

const get = async (name: string): Promise<EmbeddingModel> =>
  await cluster.get<EmbeddingModel>('embeddingmodel', name, '-n', NAMESPACE);

const podsOf = async (name: string): Promise<readonly Pod[]> =>
  (await cluster.get<{ items: Pod[] }>('pods', '-n', NAMESPACE, '-l', `kubembed.dev/model=${name}`)).items;

/** Waits until the condition carries the reason and tells what it should; all conditions are told when it never does. */
const reasonOf = async (name: string, type: ConditionType, reason: string, tells: RegExp): Promise<Condition> =>
  await eventually(`${type} with reason ${reason}`, async () => {
    const { status } = await get(name);
    const current = findCondition(status?.conditions, type);
    if (current?.reason === reason && tells.test(current.message)) return current;
    throw new Error(JSON.stringify(status?.conditions?.map((c) => [c.type, c.status, c.reason, c.message])));
  });

beforeAll(async () => {
  cluster = await startCluster({ test: import.meta.filename });
  cleanup.push(cluster.stop);
  hub = await serveHub(cluster.host, { noCdn: true });
  cleanup.push(async () => await hub.close());
  const files = await tinyModel();
  for (const name of [
    'gated',
    'revision',
    'small',
    'gpu',
    'unbound',
    'noclaim',
    'nomount',
    'nosecret',
    'good',
    'rival',
  ]) {
    hub.commit(`org/${name}`, files);
  }
  hub.gate('org/gated');
  const bert = JSON.parse(files['config.json']!.toString()) as object;
  const whisper = JSON.stringify({ ...bert, architectures: ['WhisperModel'], model_type: 'whisper' });
  hub.commit('org/foreign', { ...files, 'config.json': Buffer.from(whisper) });
  const corrupt = hub.commit('org/corrupt', files, 'c'.repeat(40));
  hub.faults = [{ match: `${corrupt}/model.safetensors`, flip: true }];
  const listed = [...FAILURES.map(({ name }) => name), 'good', 'rival'].filter((name) => name !== 'unlisted');
  await installChart(cluster, {
    supportedModels: listed.map((name) => `org/${name}\n`).join(''),
    // The operator has to hold the line alone.
    'admissionPolicy.enabled': false,
    'huggingFace.endpoint': hub.endpoint,
    'images.runtimeGpu': { repository: 'kubembed/not-there', tag: 'v0', digest: '' },
    ...tinyReplicas('10m'),
    'runtime.gpu.resources': { requests: { cpu: '10m', memory: '64Mi' } },
  });
  await cluster.apply(...(await folderClaim(cluster, { name: 'nomount', namespace: NAMESPACE, path: '/nowhere' })));
  await cluster.apply(...FAILURES.map(({ name, spec }) => manifest(name, spec)));
});

afterAll(async () => {
  for (const undo of cleanup.toReversed()) await undo();
});

describe('reasons', () => {
  it.each(FAILURES)('$name: $condition is not True for $reason', async ({ name, condition, reason, tells }) => {
    const found = await reasonOf(name, condition, reason, tells);
    expect(found.status).not.toBe('True');
    expect(findCondition((await get(name)).status?.conditions, 'Ready')?.status).not.toBe('True');
  });

  it('are Warning events too', async () => {
    const { items } = await cluster.get<{ items: Event[] }>('events', '-n', NAMESPACE, '--field-selector=type=Warning');
    const told = new Set(
      items.filter(({ involvedObject }) => involvedObject.kind === 'EmbeddingModel').map(({ reason }) => reason),
    );
    expect([...new Set(FAILURES.map(({ reason }) => reason))].filter((reason) => !told.has(reason))).toEqual([]);
  });

  it('a name that an older model has goes to that one alone', async () => {
    await cluster.apply(manifest('good', { servedNames: ['good', 'shared'], scaling: { minReplicas: 0 } }));
    await cluster.kubectl(['wait', '-n', NAMESPACE, 'em/good', '--for=condition=Accepted', '--timeout=60s']);
    await cluster.apply(manifest('rival', { servedNames: ['shared'] }));
    const refused = await eventually('a verdict', async () =>
      findCondition((await get('rival')).status?.conditions, 'Accepted'),
    );
    expect(refused).toMatchObject({ status: 'False', reason: 'NameTaken' });
    expect(refused.message).toContain(`${NAMESPACE}/good`);
  });
});

describe('a GPU', () => {
  it('that appears lets the pod run, with the GPU image, limit and toleration', async () => {
    const amount = { [GPU]: '1' };
    const status = JSON.stringify({ status: { capacity: amount, allocatable: amount } });
    await cluster.kubectl(['patch', 'node', await firstNode(), '--subresource=status', '--type=merge', '-p', status]);
    const pod = await eventually('a scheduled pod', async () =>
      (await podsOf('gpu')).find(({ spec }) => spec.nodeName !== undefined),
    );
    expect(pod.spec.containers[0]).toMatchObject({
      image: `${REGISTRY}/kubembed/not-there:v0`,
      resources: { limits: amount },
    });
    expect(pod.spec['tolerations']).toContainEqual({ key: GPU, operator: 'Exists', effect: 'NoSchedule' });
  });

  it('image that cannot be pulled is named', async () => {
    await reasonOf('gpu', 'Available', 'ImagePullBackOff', /kubembed\/not-there:v0/);
  });
});

async function firstNode(): Promise<string> {
  const { items } = await cluster.get<{ items: { metadata: { name: string } }[] }>('nodes');
  return items[0]!.metadata.name;
}
