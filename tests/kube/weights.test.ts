// Weights once, beside the real controllers: the Job that fills a cache, replicas that fetch nothing, and what happens when that was wrong.
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { findCondition } from '../../api/conditions.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModelSpec } from '../../api/types.ts';
import { ifPresent } from '../../kube/client.ts';
import { DEPLOYMENTS, EVENTS, JOBS, PODS } from '../../kube/resources.ts';
import type { Pod } from '../../kube/resources.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import type { RunningOperator } from '../../operator/start.ts';
import { FETCHED_WORDS, SHA, manifest } from '../helpers/builders.ts';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';
import { NAMESPACE, runOperator, statedDemand, writtenCatalog } from '../helpers/operator-fixture.ts';

const CRD = new URL('../../crds/embeddingmodels.yaml', import.meta.url).pathname;
const patient = { timeout: 60_000, interval: 200 };
const TEAM = 'team';
/** How often a model with a full cache is woken. */
const WAKES = Number(process.env['WAKES'] ?? 2);

let plane: ControlPlane;
const running: RunningOperator[] = [];

/** Bound without anybody who provides volumes. */
const volume = (namespace: string): string => `
apiVersion: v1
kind: PersistentVolume
metadata: { name: weights-${namespace} }
spec:
  capacity: { storage: 1Gi }
  accessModes: [ReadWriteMany]
  storageClassName: ''
  hostPath: { path: /nowhere }
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: weights, namespace: ${namespace} }
spec:
  accessModes: [ReadWriteMany]
  storageClassName: ''
  volumeName: weights-${namespace}
  resources: { requests: { storage: 1Gi } }
`;

beforeAll(async () => {
  plane = await startControlPlane({ controllers: true, imageVolumes: true, crds: [CRD] });
  for (const name of [NAMESPACE, TEAM, 'full']) await plane.kubectl(['create', 'namespace', name]);
  for (const name of [TEAM, 'full']) {
    await plane.kubectl(['label', 'namespace', name, 'pod-security.kubernetes.io/enforce=restricted']);
    await plane.kubectl(['apply', '-f', '-'], volume(name));
    await plane.kubectl(['wait', '-n', name, 'pvc/weights', '--for=jsonpath={.status.phase}=Bound', '--timeout=60s']);
  }
});
afterAll(async () => await plane.stop());
afterEach(async () => {
  await Promise.all(running.splice(0).map(async (operator) => await operator.stop()));
});

function start() {
  const demand = statedDemand();
  const { operator } = runOperator({
    client: plane.client('operator'),
    catalog: writtenCatalog('org/a').source,
    demand: demand.source,
    env: { KUBEMBED_RUNTIME_DEFAULTS: JSON.stringify({ cache: { existingClaim: 'weights' }, prefetch: true }) },
  });
  running.push(operator);
  return demand;
}

const find = async <T extends KubeObject>(type: ResourceType<T>, name: string, namespace = TEAM) =>
  await ifPresent(plane.admin.get(type, { namespace, name }));
const create = async (name: string, spec: Partial<EmbeddingModelSpec> = {}, namespace = TEAM) =>
  await plane.admin.create(EMBEDDING_MODELS, manifest(name, { model: 'org/a', ...spec }, namespace));
const ready = async (name: string) => {
  const { status, reason } = findCondition((await find(EMBEDDING_MODELS, name))?.status?.conditions, 'Ready') ?? {};
  return `${status}/${reason}`;
};
const podsOf = async (name: string, component: string): Promise<readonly Pod[]> => {
  const labelSelector = `kubembed.dev/model=${name},app.kubernetes.io/component=${component}`;
  return (await plane.admin.list(PODS, { namespace: TEAM, labelSelector })).items;
};
const initContainers = async (name: string) =>
  (await find(DEPLOYMENTS, `em-${name}`))?.spec.template.spec.initContainers?.map((container) => container.name);

const say = async ({ metadata: { name } }: Pod, status: object) =>
  await plane.admin.patch(PODS, { namespace: TEAM, name }, { status }, { subresource: 'status' });

/** What a kubelet would pass on of the fetching container; pods that do not exist say nothing. */
async function fetched(name: string): Promise<void> {
  await vi.waitFor(async () => {
    const [pod] = await podsOf(name, 'prefetch');
    expect(pod?.status?.phase).toBe('Succeeded');
    const [container] = pod?.status?.containerStatuses ?? [];
    const terminated = { ...container?.state?.terminated, exitCode: 0, message: JSON.stringify(FETCHED_WORDS) };
    await say(pod!, { containerStatuses: [{ ...container, state: { terminated } }] });
  }, patient);
}

describe('prefetch into a shared claim', () => {
  test('a Job fills it; then ten replicas, and each wake, come without a fetching container', async () => {
    const demand = start();
    await create('filled', { scaling: { minReplicas: 0, maxReplicas: 10, idleSeconds: 1 } });
    await fetched('filled');
    await vi.waitFor(async () => {
      expect(await ready('filled')).toBe('True/ScaledToZero');
      expect((await find(EMBEDDING_MODELS, 'filled'))?.status?.cached?.commit).toBe(SHA);
      expect(await find(JOBS, 'em-filled-prefetch')).toBeUndefined();
      expect(await podsOf('filled', 'prefetch')).toEqual([]);
      expect(await initContainers('filled')).toBeUndefined();
    }, patient);
    demand.state('team/filled', { offeredRequests: 1, queuedRequests: 1, activations: 1 });
    await vi.waitFor(async () => expect(await ready('filled')).toBe('True/Ready'), patient);
    for (let wake = 1; wake < WAKES; wake += 1) {
      await plane.kubectl(['scale', 'em/filled', '-n', TEAM, '--replicas=0']);
      await vi.waitFor(async () => expect(await podsOf('filled', 'runtime')).toEqual([]), patient);
      await plane.kubectl(['scale', 'em/filled', '-n', TEAM, '--replicas=1']);
      await vi.waitFor(async () => expect(await ready('filled')).toBe('True/Ready'), patient);
      expect((await podsOf('filled', 'runtime')).flatMap(({ spec }) => spec.initContainers ?? [])).toEqual([]);
    }
    await plane.kubectl(['scale', 'em/filled', '-n', TEAM, '--replicas=10']);
    await vi.waitFor(async () => {
      const pods = await podsOf('filled', 'runtime');
      expect(pods).toHaveLength(10);
      expect(pods.flatMap(({ spec }) => spec.initContainers ?? [])).toEqual([]);
    }, patient);
    const revisions = await plane.kubectl(['get', 'rs', '-n', TEAM, '-l', 'kubembed.dev/model=filled', '-o', 'name']);
    expect(revisions.trim().split('\n').length).toBeLessThanOrEqual(2);
    await plane.kubectl(['delete', 'em', 'filled', '-n', TEAM]);
  });

  test('a record that was wrong is taken back when a pod says so, and pods fetch again', async () => {
    start();
    await create('emptied', { replicas: 1 });
    await fetched('emptied');
    await vi.waitFor(async () => expect(await ready('emptied')).toBe('True/Ready'), patient);
    const [pod] = await podsOf('emptied', 'runtime');
    const [container] = pod?.status?.containerStatuses ?? [];
    const terminated = { exitCode: 1, message: '{"reason":"WeightsMissing","message":"no snapshot"}' };
    const state = { waiting: { reason: 'CrashLoopBackOff' } };
    await say(pod!, { containerStatuses: [{ ...container, ready: false, state, lastState: { terminated } }] });
    await vi.waitFor(async () => expect(await initContainers('emptied')).toEqual(['fetch']), patient);
    expect((await find(EMBEDDING_MODELS, 'emptied'))?.status?.cached).toBeUndefined();
    await plane.kubectl(['delete', 'em', 'emptied', '-n', TEAM]);
  });

  test('where Jobs are refused, replicas come and fetch for themselves', async () => {
    start();
    await plane.kubectl(['create', 'quota', 'none', '-n', 'full', '--hard=count/jobs.batch=0']);
    await create('alone', { replicas: 1 }, 'full');
    await vi.waitFor(async () => {
      const { spec, status } = (await find(DEPLOYMENTS, 'em-alone', 'full')) ?? {};
      expect(status?.readyReplicas).toBe(1);
      expect(spec?.template.spec.initContainers?.map(({ name }) => name)).toEqual(['fetch']);
    }, patient);
    await vi.waitFor(async () => {
      const { items } = await plane.admin.list(EVENTS, { namespace: 'full' });
      const told = items.filter(({ reason }) => reason === 'ChangeRefused').map(({ message }) => message);
      expect(told.join()).toContain('Job em-alone-prefetch');
    }, patient);
  });
});

test('an image is taken as a volume by the API server', async () => {
  start();
  const image = {
    reference: `registry.example.com/models/a@sha256:${'0'.repeat(64)}`,
    pullPolicy: 'IfNotPresent',
  } as const;
  await create('packed', { cache: { image }, prefetch: false, replicas: 1 });
  await vi.waitFor(async () => {
    const deployment = await find(DEPLOYMENTS, 'em-packed');
    expect(deployment?.spec.template.spec['volumes']).toContainEqual({ name: 'store', image });
    expect(deployment?.status?.readyReplicas).toBe(1);
  }, patient);
});
