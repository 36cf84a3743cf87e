// What the controllers of local mode decide: pods of a Deployment, EndpointSlices of a Service.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { silentLog } from '../kube/clock.ts';
import { DEPLOYMENTS, ENDPOINT_SLICES, PODS, SERVICES } from '../kube/resources.ts';
import type { Deployment, Pod, Service } from '../kube/resources.ts';
import { FakeClock } from '../tests/helpers/fake-clock.ts';
import { createStoreClient, ApiStore } from './apiserver/store.ts';
import { deploymentStatus, desiredSlices, planPods, runControllers } from './controllers.ts';

const HASH = 'pod-template-hash';

const deployment = (replicas: number): Deployment => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'd', generation: 3 },
  spec: { replicas, selector: { matchLabels: {} }, template: { metadata: { labels: {} }, spec: { containers: [] } } },
});

const pod = (name: string, hash: string, ready: boolean, terminating = false): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name,
    labels: { [HASH]: hash },
    creationTimestamp: `2026-01-01T00:00:0${name.at(-1) ?? '0'}Z`,
    ...(terminating ? { deletionTimestamp: '2026-01-01T00:01:00Z' } : {}),
  },
  spec: { containers: [] },
  status: { conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
});

const names = (pods: readonly Pod[]): string[] => pods.map(({ metadata }) => metadata.name);

describe('planPods', () => {
  it('creates what is missing and nothing for a pod that is going', () => {
    expect(planPods(deployment(2), [pod('p1', 'a', true), pod('p2', 'a', true, true)], 'a')).toEqual({
      create: 1,
      remove: [],
    });
  });

  it('scales down the not-ready first, then the youngest', () => {
    const pods = [pod('p1', 'a', true), pod('p2', 'a', true), pod('p3', 'a', false)];
    expect(names(planPods(deployment(1), pods, 'a').remove)).toEqual(['p3', 'p2']);
  });

  it('surges one new pod before it takes an old one away', () => {
    const old = [pod('p1', 'a', true), pod('p2', 'a', true)];
    expect(planPods(deployment(2), old, 'b')).toEqual({ create: 1, remove: [] });
    const surged = [...old, pod('p3', 'b', false)];
    expect(planPods(deployment(2), surged, 'b')).toEqual({ create: 0, remove: [] });
    const ready = [...old, pod('p3', 'b', true)];
    expect(names(planPods(deployment(2), ready, 'b').remove)).toEqual(['p2']);
  });

  it('replaces an old pod that never became ready at once', () => {
    expect(planPods(deployment(1), [pod('p1', 'a', false)], 'b')).toMatchObject({ create: 1 });
    expect(names(planPods(deployment(1), [pod('p1', 'a', false)], 'b').remove)).toEqual(['p1']);
  });

  it('never takes ready pods below the wanted number, and always ends at it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4 }),
        fc.array(fc.record({ hash: fc.constantFrom('a', 'b'), ready: fc.boolean() }), { maxLength: 6 }),
        (replicas, seeds) => {
          let pods = seeds.map(({ hash, ready }, index) => pod(`p${index}`, hash, ready));
          for (let step = 0; step < 40; step++) {
            const before = pods.filter((p) => p.status?.conditions?.[0]?.status === 'True').length;
            const plan = planPods(deployment(replicas), pods, 'b');
            pods = pods.filter((p) => !plan.remove.includes(p));
            const after = pods.filter((p) => p.status?.conditions?.[0]?.status === 'True').length;
            expect(after).toBeGreaterThanOrEqual(Math.min(before, replicas));
            const made = Array.from({ length: plan.create }, (_, i) => pod(`n${step}-${i}`, 'b', true));
            pods = [...pods.map(({ metadata }) => pod(metadata.name, metadata.labels?.[HASH] ?? '', true)), ...made];
            expect(pods.length).toBeLessThanOrEqual(Math.max(replicas + 1, seeds.length));
          }
          const settled = pods.filter((p) => p.metadata.labels?.[HASH] === 'b');
          expect(pods.length).toBe(settled.length);
          expect(settled.length).toBe(replicas);
        },
      ),
    );
  });
});

describe('deploymentStatus', () => {
  it('counts only living pods', () => {
    const pods = [pod('p1', 'a', true), pod('p2', 'b', true), pod('p3', 'b', false), pod('p4', 'b', true, true)];
    expect(deploymentStatus(deployment(2), pods, 'b')).toMatchObject({
      observedGeneration: 3,
      replicas: 3,
      updatedReplicas: 2,
      readyReplicas: 2,
    });
  });
});

const service = (name: string, selector?: Record<string, string>): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'ns', labels: { 'kubembed.dev/model': name } },
  spec: { ...(selector ? { selector } : {}), ports: [{ name: 'http', port: 80 }] },
});

const podAt = (
  name: string,
  options: { port?: string; ready?: boolean; terminating?: boolean; namespace?: string },
): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name,
    namespace: options.namespace ?? 'ns',
    uid: `uid-${name}`,
    labels: { app: 'x' },
    annotations: options.port === undefined ? {} : { 'local.kubembed.dev/port': options.port },
    ...(options.terminating ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
  },
  spec: { containers: [] },
  status: { conditions: [{ type: 'Ready', status: options.ready ? 'True' : 'False' }] },
});

describe('desiredSlices', () => {
  it('makes one slice per pod, with the labels of the Service and the port of the process', () => {
    const [slice] = desiredSlices(service('s', { app: 'x' }), [podAt('p', { port: '9001', ready: true })]);
    expect(slice).toMatchObject({
      metadata: { name: 's-p', labels: { 'kubembed.dev/model': 's', 'kubernetes.io/service-name': 's' } },
      endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: true, terminating: false } }],
      ports: [{ name: 'http', port: 9001 }],
    });
  });

  it('keeps a terminating pod, not ready', () => {
    const slices = desiredSlices(service('s', { app: 'x' }), [
      podAt('p', { port: '1', ready: true, terminating: true }),
    ]);
    expect(slices[0]?.endpoints?.[0]?.conditions).toEqual({ ready: false, serving: true, terminating: true });
  });

  it('leaves out pods without a port, of other labels and of other namespaces', () => {
    const pods = [podAt('a', { ready: true }), podAt('b', { port: '1', namespace: 'other' })];
    expect(desiredSlices(service('s', { app: 'x' }), pods)).toEqual([]);
    expect(desiredSlices(service('t'), [podAt('c', { port: '1' })])).toEqual([]);
    expect(desiredSlices(service('s', { app: 'y' }), [podAt('c', { port: '1' })])).toEqual([]);
  });
});

describe('runControllers', () => {
  const labels = { app: 'm' };
  const metadata = { name: 'm', namespace: 'ns' };
  const written: Deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata,
    spec: {
      replicas: 2,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'one' }] } },
    },
  };

  async function setUp() {
    const clock = new FakeClock();
    let count = 0;
    const client = createStoreClient(new ApiStore({ clock, newUid: () => String((count += 1)) }));
    /** Pods are ready at once, on ports of their own, and gone when deleted. */
    const kubelet = {
      async reconcile(key: { namespace: string; name: string }) {
        const found = await client.get(PODS, key).catch(() => undefined);
        if (found?.metadata.deletionTimestamp !== undefined)
          await client.patch(PODS, key, { metadata: { finalizers: null } });
        else if (found !== undefined && found.status === undefined) {
          const annotations = { 'local.kubembed.dev/port': String((count += 1)) };
          await client.patch(PODS, key, { metadata: { annotations } });
          const status = { conditions: [{ type: 'Ready', status: 'True' }] };
          await client.patch(PODS, key, { status }, { subresource: 'status' });
        }
      },
    };
    const stop = new AbortController();
    const environment = { clock, random: () => 0, log: silentLog };
    const done = runControllers({ client, kubelet, suffix: () => `s${(count += 1)}` }, environment, stop.signal);
    await client.create(DEPLOYMENTS, written);
    await client.create(SERVICES, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: { selector: labels, ports: [{ name: 'http', port: 80 }] },
    });
    await clock.advance(1000);
    const all = async () => ({
      pods: (await client.list(PODS)).items,
      slices: (await client.list(ENDPOINT_SLICES)).items,
    });
    const end = async () => {
      stop.abort();
      await done;
    };
    return { clock, client, all, end };
  }

  it('makes pods of a Deployment and a slice for each, and reports them', async () => {
    const { client, all, end } = await setUp();
    const { pods, slices } = await all();
    expect(pods).toHaveLength(2);
    expect(slices.map(({ endpoints }) => endpoints?.[0]?.conditions?.ready)).toEqual([true, true]);
    expect((await client.get(DEPLOYMENTS, metadata)).status).toMatchObject({ replicas: 2, readyReplicas: 2 });
    await end();
  });

  it('rolls to another template, scales down, and leaves nothing behind', async () => {
    const { clock, client, all, end } = await setUp();
    const { template } = written.spec;
    const other = { ...template, spec: { containers: [{ name: 'c', image: 'two' }] } };
    await client.patch(DEPLOYMENTS, metadata, { spec: { template: other, replicas: 1 } });
    await clock.advance(1000);
    const { pods, slices } = await all();
    expect(pods.map(({ spec }) => spec.containers[0]?.image)).toEqual(['two']);
    expect(slices.map((slice) => slice.metadata.name)).toEqual(pods.map((one) => `m-${one.metadata.name}`));
    await client.delete(DEPLOYMENTS, metadata);
    await clock.advance(1000);
    expect(await all()).toEqual({ pods: [], slices: [] });
    await end();
  });

  it('puts a slice back that somebody deleted, and takes them all away with their Service', async () => {
    const { clock, client, all, end } = await setUp();
    const [slice] = (await all()).slices;
    await client.delete(ENDPOINT_SLICES, { namespace: 'ns', name: slice?.metadata.name ?? '' });
    await clock.advance(1000);
    expect((await all()).slices).toHaveLength(2);
    await client.delete(SERVICES, metadata);
    await clock.advance(1000);
    expect((await all()).slices).toEqual([]);
    await end();
  });
});
