// The operator beside the real controllers: rollouts, scaling, garbage collection, and many idle models.
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { findCondition } from '../../api/conditions.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModelSpec } from '../../api/types.ts';
import type { RunningOperator } from '../../operator/start.ts';
import { ifPresent } from '../../kube/client.ts';
import { DEPLOYMENTS, POD_DISRUPTION_BUDGETS, PODS, SERVICES } from '../../kube/resources.ts';
import type { KubeObject, OwnerReference, ResourceType } from '../../kube/types.ts';
import { manifest, ownedBy, SHA } from '../helpers/builders.ts';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';
import { NAMESPACE, runOperator, statedDemand, writtenCatalog } from '../helpers/operator-fixture.ts';
import { MARKERS, passMarker, settled } from '../helpers/operator-markers.ts';
import type { MarkedOperator } from '../helpers/operator-markers.ts';

const CRD = new URL('../../crds/embeddingmodels.yaml', import.meta.url).pathname;
const patient = { timeout: 60_000, interval: 200 };
const AGENT = 'operator-under-test';
const STATUS = { subresource: 'status' } as const;

let plane: ControlPlane;
const running: RunningOperator[] = [];

beforeAll(async () => {
  plane = await startControlPlane({ audit: true, controllers: true, crds: [CRD] });
  for (const name of [NAMESPACE, 'team', MARKERS]) await plane.kubectl(['create', 'namespace', name]);
  const enforce = 'pod-security.kubernetes.io/enforce=restricted';
  await plane.kubectl(['label', 'namespace', 'team', enforce]);
});
afterAll(async () => await plane.stop());
afterEach(async () => {
  await Promise.all(running.splice(0).map(async (operator) => await operator.stop()));
});

const find = async <T extends KubeObject>(type: ResourceType<T>, name: string, namespace = 'team') =>
  await ifPresent(plane.admin.get(type, { namespace, name }));
const create = async (name: string, spec: Partial<EmbeddingModelSpec>) =>
  await plane.admin.create(EMBEDDING_MODELS, manifest(name, { revision: SHA, ...spec }, 'team'));
const condition = async (name: string, type: 'Ready' | 'Progressing' | 'Available') =>
  findCondition((await find(EMBEDDING_MODELS, name))?.status?.conditions, type);
const podsOf = async (name: string) =>
  (await plane.admin.list(PODS, { namespace: 'team', labelSelector: `kubembed.dev/model=${name}` })).items;

function start(list: string, env: Readonly<Record<string, string>> = {}) {
  const demand = statedDemand();
  const catalog = writtenCatalog(list);
  const { operator, registry } = runOperator({
    client: plane.client(AGENT),
    catalog: catalog.source,
    demand: demand.source,
    env: { KUBEMBED_SCALE_DOWN_SECONDS: '2', ...env },
  });
  running.push(operator);
  return { registry, demand, catalog };
}

/** What waits before a marker is done when the marker is. */
const ONE_BY_ONE = { KUBEMBED_WORKERS: '1' };

const writesOfOperator = async (mark: number) =>
  (await plane.writesSince(mark)).filter(({ userAgent, namespace }) => userAgent === AGENT && namespace !== MARKERS);

const quiet = async (operator: MarkedOperator) =>
  await settled(plane.admin, operator, async (pass) => {
    const mark = await plane.countWrites();
    await pass();
    return (await writesOfOperator(mark)).filter(({ resource }) => resource !== 'leases');
  });

describe('life of a model', () => {
  test('wakes on demand, is Ready when its pods are, scales by /scale, sleeps when idle', async () => {
    const { demand } = start('org/a');
    await create('life', { model: 'org/a', scaling: { maxReplicas: 3, idleSeconds: 4 } });
    await vi.waitFor(async () => expect((await condition('life', 'Ready'))?.reason).toBe('NotFetched'), patient);
    demand.state('team/life', { offeredRequests: 1, queuedRequests: 1, activations: 1 });
    await plane.kubectl(['wait', '--for=condition=Available', 'em/life', '-n', 'team', '--timeout=60s']);
    await vi.waitFor(async () => {
      expect(await condition('life', 'Ready')).toMatchObject({ status: 'True', reason: 'Ready' });
      expect(await condition('life', 'Progressing')).toMatchObject({ status: 'False', reason: 'Stable' });
      expect((await find(EMBEDDING_MODELS, 'life'))?.status).toMatchObject({ replicas: 1, readyReplicas: 1 });
    }, patient);
    demand.state('team/life', { completedRequests: 1, queuedRequests: 0 });
    await vi.waitFor(async () => expect(await podsOf('life')).toEqual([]), patient);
    expect((await find(EMBEDDING_MODELS, 'life'))?.status?.scalingDecision).toBe('no demand for 4 s');

    await plane.kubectl(['scale', 'em/life', '-n', 'team', '--replicas=3']);
    await vi.waitFor(async () => {
      const model = await find(EMBEDDING_MODELS, 'life');
      expect(model?.status).toMatchObject({ replicas: 3, readyReplicas: 3 });
      expect(model?.status?.scalingDecision).toBeUndefined();
    }, patient);
    expect(await find(POD_DISRUPTION_BUDGETS, 'em-life')).toBeDefined();
    await plane.kubectl(['scale', 'em/life', '-n', 'team', '--replicas=0']);
    await vi.waitFor(async () => {
      expect(await condition('life', 'Ready')).toMatchObject({ status: 'False', reason: 'Stopped' });
      expect(await podsOf('life')).toEqual([]);
    }, patient);
  });

  test('a HorizontalPodAutoscaler scales it through /scale, and nobody writes against it', async () => {
    start('org/h');
    await create('hpa', { model: 'org/h', replicas: 1 });
    await vi.waitFor(async () => expect((await condition('hpa', 'Ready'))?.reason).toBe('Ready'), patient);
    const mark = await plane.countWrites();
    const resource = { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } };
    const autoscaler = {
      apiVersion: 'autoscaling/v2',
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'hpa', namespace: 'team' },
      spec: {
        scaleTargetRef: { apiVersion: 'kubembed.dev/v1alpha1', kind: 'EmbeddingModel', name: 'hpa' },
        // Without metrics it still keeps to its least.
        minReplicas: 2,
        maxReplicas: 3,
        metrics: [{ type: 'Resource', resource }],
      },
    };
    await plane.kubectl(['apply', '-f', '-'], JSON.stringify(autoscaler));
    await vi.waitFor(async () => {
      expect((await find(EMBEDDING_MODELS, 'hpa'))?.status).toMatchObject({ replicas: 2, readyReplicas: 2 });
    }, patient);
    const writes = (await plane.writesSince(mark)).filter(({ name }) => name === 'hpa');
    const scaling = writes.filter(({ resource: written }) => written === 'embeddingmodels/scale');
    expect(scaling.map(({ user }) => user)).toEqual(['system:serviceaccount:kube-system:horizontal-pod-autoscaler']);
    expect(writes.filter(({ resource: written }) => written === 'embeddingmodels')).toEqual([]);
    expect((await find(EMBEDDING_MODELS, 'hpa'))?.spec.replicas).toBe(2);
    await plane.kubectl(['delete', 'hpa', 'hpa', '-n', 'team']);
    await plane.kubectl(['scale', 'em/hpa', '-n', 'team', '--replicas=0']);
  });

  test('a GPU that no node has is named in the condition', async () => {
    start('org/g');
    await create('gpu', { model: 'org/g', device: 'gpu', replicas: 1 });
    await vi.waitFor(async () => {
      expect(await condition('gpu', 'Ready')).toMatchObject({
        reason: 'Unschedulable',
        message: expect.stringMatching(/^No node has enough nvidia\.com\/gpu: /) as string,
      });
    }, patient);
    await plane.kubectl(['scale', 'em/gpu', '-n', 'team', '--replicas=0']);
  });

  test('a claim that does not exist or is not bound is named', async () => {
    start('org/p\norg/q');
    await create('gone', { model: 'org/p', replicas: 1, cache: { existingClaim: 'nowhere' } });
    await create('unbound', {
      model: 'org/q',
      replicas: 1,
      cache: { claim: { size: '1Gi', storageClassName: 'none' } },
    });
    await vi.waitFor(async () => {
      expect((await condition('gone', 'Ready'))?.reason).toBe('ClaimNotFound');
      expect(await condition('unbound', 'Ready')).toMatchObject({ reason: 'ClaimPending' });
    }, patient);
  });

  test('a claim that one pod has to itself passes on in a rollout: the old pod goes before the new one can come', async () => {
    const claim = { size: '1Gi', storageClassName: 'fixed', accessModes: ['ReadWriteOncePod'] } as const;
    const volume = {
      ...{ capacity: { storage: '1Gi' }, accessModes: claim.accessModes, storageClassName: 'fixed' },
      claimRef: { namespace: 'team', name: 'em-alone-cache' },
      hostPath: { path: '/nowhere' },
    };
    const objects = [
      { apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass', metadata: { name: 'fixed' }, provisioner: 'none' },
      { apiVersion: 'v1', kind: 'PersistentVolume', metadata: { name: 'alone' }, spec: volume },
    ];
    for (const one of objects) await plane.kubectl(['apply', '-f', '-'], JSON.stringify(one));
    start('org/w');
    await create('alone', { model: 'org/w', replicas: 1, cache: { claim } });
    await vi.waitFor(async () => expect((await condition('alone', 'Ready'))?.reason).toBe('Ready'), patient);
    const [before] = await podsOf('alone');
    const podTemplate = { metadata: { annotations: { changed: 'yes' } } };
    await plane.admin.patch(EMBEDDING_MODELS, { namespace: 'team', name: 'alone' }, { spec: { podTemplate } });
    await vi.waitFor(async () => {
      const pods = await podsOf('alone');
      expect(pods.map(({ metadata }) => metadata.annotations?.['changed'])).toEqual(['yes']);
      expect(pods[0]?.metadata.uid).not.toBe(before?.metadata.uid);
      expect((await condition('alone', 'Ready'))?.reason).toBe('Ready');
      expect((await condition('alone', 'Progressing'))?.reason).toBe('Stable');
    }, patient);
    await plane.kubectl(['scale', 'em/alone', '-n', 'team', '--replicas=0']);
  });

  test('pods that only have a model’s labels change nothing of what is said of it', async () => {
    const operator = start('org/l', ONE_BY_ONE);
    await create('told', { model: 'org/l', replicas: 1 });
    await vi.waitFor(async () => {
      expect((await condition('told', 'Ready'))?.reason).toBe('Ready');
      expect((await condition('told', 'Progressing'))?.reason).toBe('Stable');
    }, patient);
    const [own] = await podsOf('told');
    const without = <T extends object>(fields: T, name: string): T =>
      Object.fromEntries(Object.entries(fields).filter(([field]) => field !== name)) as T;
    const labels = without(own!.metadata.labels ?? {}, 'pod-template-hash');
    const deployment = (await find(DEPLOYMENTS, 'em-told'))!;
    const replicaSet = own!.metadata.ownerReferences![0]!;
    const before = (await find(EMBEDDING_MODELS, 'told'))?.status;
    const forgeries: Readonly<Record<string, readonly OwnerReference[]>> = {
      bare: [],
      direct: [ownedBy(deployment)],
      aside: [{ ...replicaSet, controller: false }],
    };
    for (const [name, ownerReferences] of Object.entries(forgeries)) {
      // Nobody schedules it: it is stuck for all to see.
      const spec = { ...without(own!.spec, 'nodeName'), schedulerName: 'nobody' };
      const metadata = { namespace: 'team', name, labels, ownerReferences };
      await plane.admin.create(PODS, { apiVersion: 'v1', kind: 'Pod', metadata, spec });
      const scheduled = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: 'forged' };
      await plane.admin.patch(PODS, { namespace: 'team', name }, { status: { conditions: [scheduled] } }, STATUS);
    }
    await passMarker(plane.admin, operator);
    expect((await find(EMBEDDING_MODELS, 'told'))?.status).toEqual(before);
    for (const name of Object.keys(forgeries)) await plane.admin.delete(PODS, { namespace: 'team', name });
    await plane.kubectl(['scale', 'em/told', '-n', 'team', '--replicas=0']);
  });

  test('a quota that refuses pods is told in its own words', async () => {
    await plane.kubectl(['create', 'namespace', 'tight']);
    await plane.kubectl(['create', 'quota', 'none', '-n', 'tight', '--hard=pods=0']);
    start('org/t');
    await plane.admin.create(EMBEDDING_MODELS, manifest('t', { model: 'org/t', replicas: 1 }, 'tight'));
    await vi.waitFor(async () => {
      const model = await find(EMBEDDING_MODELS, 't', 'tight');
      expect(findCondition(model?.status?.conditions, 'Ready')).toMatchObject({
        reason: 'PodsRefused',
        message: expect.stringContaining('exceeded quota') as string,
      });
    }, patient);
  });
});

describe('deletion', () => {
  test.each(['background', 'foreground', 'orphan'] as const)('in mode %s', async (mode) => {
    const operator = start('org/d', ONE_BY_ONE);
    const name = `del-${mode}`;
    await create(name, { model: 'org/d', replicas: 1 });
    await vi.waitFor(async () => expect((await condition(name, 'Ready'))?.reason).toBe('Ready'), patient);
    await plane.kubectl(['delete', 'em', name, '-n', 'team', `--cascade=${mode}`, '--timeout=60s']);
    if (mode === 'orphan') {
      // Let go by the garbage collector, and looked at by the operator after that.
      await vi.waitFor(async () => {
        expect((await find(DEPLOYMENTS, `em-${name}`))?.metadata.ownerReferences ?? []).toEqual([]);
      }, patient);
      await passMarker(plane.admin, operator);
      expect(await find(DEPLOYMENTS, `em-${name}`)).toBeDefined();
      await create(name, { model: 'org/d', replicas: 1 });
      await vi.waitFor(async () => {
        const [model, deployment] = [await find(EMBEDDING_MODELS, name), await find(DEPLOYMENTS, `em-${name}`)];
        expect(deployment?.metadata.ownerReferences?.map(({ uid }) => uid)).toEqual([model?.metadata.uid]);
      }, patient);
      await plane.kubectl(['delete', 'em', name, '-n', 'team', '--timeout=60s']);
    }
    await vi.waitFor(async () => {
      expect(await find(DEPLOYMENTS, `em-${name}`)).toBeUndefined();
      expect(await find(SERVICES, `em-${name}`)).toBeUndefined();
      expect(await podsOf(name)).toEqual([]);
    }, patient);
    await passMarker(plane.admin, operator);
    expect(await find(SERVICES, `em-${name}`)).toBeUndefined();
  });

  test('a model made anew under its name at once gets children of its own', async () => {
    start('org/d');
    for (let round = 0; round < 3; round++) {
      await create('again', { model: 'org/d', replicas: 1 });
      if (round < 2) {
        await vi.waitFor(async () => expect(await find(DEPLOYMENTS, 'em-again')).toBeDefined(), patient);
        await plane.kubectl(['delete', 'em', 'again', '-n', 'team', '--cascade=background']);
      }
    }
    await vi.waitFor(async () => {
      const [model, deployment] = [await find(EMBEDDING_MODELS, 'again'), await find(DEPLOYMENTS, 'em-again')];
      expect(deployment?.metadata.ownerReferences?.map(({ uid }) => uid)).toEqual([model?.metadata.uid]);
      expect((await condition('again', 'Ready'))?.reason).toBe('Ready');
    }, patient);
    await plane.kubectl(['delete', 'em', 'again', '-n', 'team']);
  });
});

/** Five minutes with `npm run test:idle`. */
const IDLE_SECONDS = Number(process.env['IDLE_SECONDS'] ?? 15);

test('fifty models, idle: no write but the Lease', { timeout: 240_000 + IDLE_SECONDS * 1000 }, async () => {
  const list = Array.from({ length: 50 }, (_, index) => `org/idle-${index}`).join('\n');
  const operator = start(list, { ...ONE_BY_ONE, KUBEMBED_LEADER_ELECTION: 'true' });
  await vi.waitFor(async () => {
    const { items } = await plane.admin.list(EMBEDDING_MODELS, { namespace: NAMESPACE });
    const ready = items.filter(({ status }) => findCondition(status?.conditions, 'Ready')?.reason === 'NotFetched');
    expect(ready).toHaveLength(50);
  }, patient);
  await quiet(operator);
  const mark = await plane.countWrites();
  const looks = operator.demand.looks();
  // It looks at demand every second, and might find a reason.
  await vi.waitFor(() => expect(operator.demand.looks()).toBeGreaterThanOrEqual(looks + IDLE_SECONDS), {
    timeout: 120_000 + IDLE_SECONDS * 1000,
    interval: 200,
  });
  const all = await writesOfOperator(mark);
  const writes = all.filter(({ resource }) => resource !== 'leases');
  console.log(`In ${IDLE_SECONDS} s: ${writes.length} writes, and ${all.length} of the Lease`);
  expect(writes).toEqual([]);
  expect(all.length).toBeGreaterThan(IDLE_SECONDS / 10);
  operator.catalog.write('org/idle-7');
  const names = ({ items }: { readonly items: readonly KubeObject[] }) => items.map(({ metadata }) => metadata.name);
  await vi.waitFor(async () => {
    expect(names(await plane.admin.list(EMBEDDING_MODELS, { namespace: NAMESPACE }))).toEqual(['org--idle-7']);
    // Nobody has asked for any of them.
    expect(names(await plane.admin.list(DEPLOYMENTS, { namespace: NAMESPACE }))).toEqual([]);
  }, patient);
});
