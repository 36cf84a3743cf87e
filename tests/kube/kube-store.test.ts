// The same expectations of the in-memory API store and of a real API server: what holds in local mode holds on a cluster.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiError } from '../../kube/client.ts';
import type { KubeClient } from '../../kube/client.ts';
import { systemClock } from '../../kube/clock.ts';
import { listAll } from '../../kube/reflector.ts';
import { CONFIG_MAPS, DEPLOYMENTS, LEASES } from '../../kube/resources.ts';
import type { ConfigMap, Deployment } from '../../kube/resources.ts';
import type { ObjectMeta } from '../../kube/types.ts';
import { createStoreClient, ApiStore } from '../../local/apiserver/store.ts';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';

let plane: ControlPlane | undefined;
beforeAll(async () => (plane = await startControlPlane()));
afterAll(async () => await plane?.stop());

const clients: Record<string, () => KubeClient> = {
  'a real API server': () => plane!.client('conformance'),
  'the in-memory store': () =>
    createStoreClient(new ApiStore({ clock: systemClock, newUid: () => crypto.randomUUID() })),
};

let names = 0;
const fresh = () => ({ namespace: 'default', name: `n${(names += 1)}` });
const configMap = (metadata: ObjectMeta): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata,
  data: { a: '1' },
});
const deployment = (metadata: { name: string; namespace: string }, image: string, replicas?: number, labels = {}) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { ...metadata, labels },
  spec: {
    ...(replicas === undefined ? {} : { replicas }),
    selector: { matchLabels: { app: 'd' } },
    template: {
      metadata: { labels: { app: 'd' } },
      spec: { containers: [{ name: 'c', image, env: [{ name: 'A', value: '1' }] }] },
    },
  },
});
async function failure(call: Promise<unknown>): Promise<object> {
  try {
    await call;
  } catch (error) {
    if (error instanceof ApiError) return { status: error.status, reason: error.reason };
    throw error;
  }
  throw new Error('did not fail');
}
const NOT_FOUND = { status: 404, reason: 'NotFound' };
const CONFLICT = { status: 409, reason: 'Conflict' };
/** Servers word it in one way or the other. */
const TAKEN = { status: 409 };
const EXISTS = { status: 409, reason: 'AlreadyExists' };

describe.each(Object.entries(clients))('%s', (_, make) => {
  it('creates once, replaces under its version, and does nothing for nothing', async () => {
    const client = make();
    const key = fresh();
    const created = await client.create(CONFIG_MAPS, configMap(key));
    expect(await failure(client.create(CONFIG_MAPS, configMap(key)))).toEqual(EXISTS);
    const same = await client.replace(CONFIG_MAPS, created);
    expect(same.metadata.resourceVersion).toBe(created.metadata.resourceVersion);
    await client.replace(CONFIG_MAPS, { ...created, data: { a: '2' } });
    expect(await failure(client.replace(CONFIG_MAPS, { ...created, data: { a: '3' } }))).toEqual(CONFLICT);
    expect(await failure(client.get(CONFIG_MAPS, fresh()))).toEqual(NOT_FOUND);
    expect(await failure(client.delete(CONFIG_MAPS, key, { uid: 'other' }))).toEqual(CONFLICT);
    await client.delete(CONFIG_MAPS, key);
    expect(await failure(client.get(CONFIG_MAPS, key))).toEqual(NOT_FOUND);
  });

  it('takes a Lease under optimistic concurrency', async () => {
    const client = make();
    const key = fresh();
    const spec = { holderIdentity: 'a', leaseDurationSeconds: 15, renewTime: '2026-01-01T00:00:00.123000Z' };
    const lease = await client.create(LEASES, {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: key,
      spec,
    });
    expect(lease.spec).toEqual(spec);
  });

  it('waits for finalizers', async () => {
    const client = make();
    const key = fresh();
    await client.create(CONFIG_MAPS, configMap({ ...key, finalizers: ['kubembed.dev/test'] }));
    await client.delete(CONFIG_MAPS, key);
    expect((await client.get(CONFIG_MAPS, key)).metadata.deletionTimestamp).toMatch(/^20\d\d-.*Z$/);
    await client.patch(CONFIG_MAPS, key, { metadata: { finalizers: null } });
    expect(await failure(client.get(CONFIG_MAPS, key))).toEqual(NOT_FOUND);
  });

  it('applies: an unchanged intent changes nothing, foreign fields stay, dropped ones go', async () => {
    const client = make();
    const key = fresh();
    const apply = async (body: ReturnType<typeof deployment>, fieldManager = 'op', force = true) =>
      await client.apply(DEPLOYMENTS, body, { fieldManager, force });
    const first = await apply(deployment(key, 'i', 2, { mine: 'x' }));
    expect(first.metadata.generation).toBe(1);
    const second = await apply(deployment(key, 'i', 2, { mine: 'x' }));
    expect(second.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
    await client.patch(DEPLOYMENTS, key, { metadata: { labels: { theirs: 'y' } } });
    const third = await apply(deployment(key, 'j', 2));
    expect(third.metadata).toMatchObject({ generation: 2, labels: { theirs: 'y' } });
    expect(third.metadata.labels).not.toHaveProperty('mine');
    const container = (one: Deployment) => one.spec.template.spec.containers[0];
    expect(container(third)).toMatchObject({ image: 'j', env: [{ name: 'A', value: '1' }] });

    await client.patch(DEPLOYMENTS, key, { spec: { replicas: 5 } }, { fieldManager: 'kubectl' });
    expect(await failure(apply(deployment(key, 'j', 2), 'op', false))).toEqual(CONFLICT);
    expect((await apply(deployment(key, 'j', 2))).spec.replicas).toBe(2);
    expect((await apply(deployment(key, 'j', 2), 'op', false)).spec.replicas).toBe(2);
  });

  it('applies where nothing has the name, and changes nothing of what has it', async () => {
    const client = make();
    const options = { fieldManager: 'op', force: true, ifAbsent: true } as const;
    const theirs = fresh();
    const before = await client.create(CONFIG_MAPS, configMap(theirs));
    const takeover = { ...configMap(theirs), data: { a: '2' } };
    expect(await failure(client.apply(CONFIG_MAPS, takeover, options))).toMatchObject(TAKEN);
    expect(await client.get(CONFIG_MAPS, theirs)).toEqual(before);

    const key = fresh();
    const made = await client.apply(DEPLOYMENTS, deployment(key, 'i', 2, { mine: 'x' }), options);
    expect(made.metadata).toMatchObject({ generation: 1, labels: { mine: 'x' } });
    const same = deployment(key, 'i', 2, { mine: 'x' });
    expect(await failure(client.apply(DEPLOYMENTS, same, options))).toMatchObject(TAKEN);
    // What was made is owned as what is applied: a field that is no longer named goes.
    const after = await client.apply(DEPLOYMENTS, deployment(key, 'i', 2), { fieldManager: 'op', force: true });
    expect(after.metadata.labels ?? {}).not.toHaveProperty('mine');

    // Gone, the name is free again, and going it is not.
    const going = fresh();
    await client.apply(CONFIG_MAPS, configMap({ ...going, finalizers: ['kubembed.dev/test'] }), options);
    await client.delete(CONFIG_MAPS, going);
    expect(await failure(client.apply(CONFIG_MAPS, configMap(going), options))).toMatchObject(TAKEN);
    await client.patch(CONFIG_MAPS, going, { metadata: { finalizers: null } });
    await client.apply(CONFIG_MAPS, configMap(going), options);
  });

  it('lets replicas be owned by another, apart from the rest', async () => {
    const client = make();
    const key = fresh();
    await client.apply(DEPLOYMENTS, deployment(key, 'i'), { fieldManager: 'op', force: true });
    const scaled = await client.patch(DEPLOYMENTS, key, { spec: { replicas: 4 } }, { fieldManager: 'hpa' });
    expect(scaled.spec.replicas).toBe(4);
    const after = await client.apply(DEPLOYMENTS, deployment(key, 'j'), { fieldManager: 'op', force: true });
    expect([after.spec.replicas, after.metadata.generation]).toEqual([4, 3]);
  });

  it('keeps status behind its subresource, conditions by type', async () => {
    const client = make();
    const key = fresh();
    const created = await client.create(DEPLOYMENTS, { ...deployment(key, 'i', 1), status: { replicas: 7 } });
    expect(created.status?.replicas ?? 0).toBe(0);
    const time = '2026-01-01T00:00:00Z';
    const condition = (type: string) => ({
      type,
      status: 'True',
      reason: 'R',
      message: 'm',
      lastTransitionTime: time,
      lastUpdateTime: time,
    });
    const write = async (fieldManager: string, type: string) =>
      await client.apply(
        DEPLOYMENTS,
        Object.assign(
          { apiVersion: 'apps/v1', kind: 'Deployment', metadata: key },
          { status: { conditions: [condition(type)] } },
        ),
        { fieldManager, subresource: 'status', force: true },
      );
    await write('a', 'Ready');
    const both = await write('b', 'Other');
    expect(both.status?.conditions?.map(({ type }) => type)).toEqual(['Ready', 'Other']);
    expect(both.metadata.generation).toBe(1);
    const mixed = { spec: { replicas: 9 }, status: { observedGeneration: 1 } };
    const patched = await client.patch(DEPLOYMENTS, key, mixed, { subresource: 'status' });
    expect([patched.spec.replicas, patched.status?.observedGeneration]).toEqual([1, 1]);
  });

  it('lists by pages and watches from there, by label', async () => {
    const client = make();
    const selection = { namespace: 'default', labelSelector: `run=${fresh().name}` };
    const labels = { run: selection.labelSelector.slice(4) };
    const keys = Array.from({ length: 7 }, fresh);
    for (const key of keys) await client.create(CONFIG_MAPS, configMap({ ...key, labels }));
    const page = await client.list(CONFIG_MAPS, { ...selection, limit: 3 });
    expect([page.items.length, page.items[0]?.kind, Boolean(page.metadata.continue)]).toEqual([3, 'ConfigMap', true]);
    const all = await listAll(client, CONFIG_MAPS, { ...selection, limit: 3 });
    expect(all.items.map(({ metadata }) => metadata.name).sort()).toEqual(keys.map(({ name }) => name).sort());

    const stop = new AbortController();
    const { resourceVersion } = all.metadata;
    const [first, second] = keys;
    await client.patch(CONFIG_MAPS, first!, { data: { a: '2' } });
    await client.patch(CONFIG_MAPS, first!, { metadata: { labels: { run: null } } });
    await client.delete(CONFIG_MAPS, second!);
    const events: string[] = [];
    for await (const event of client.watch(CONFIG_MAPS, {
      ...selection,
      resourceVersion,
      timeoutSeconds: 60,
      signal: stop.signal,
    })) {
      if (event.type === 'BOOKMARK') continue;
      events.push(`${event.type} ${event.object.metadata.name}`);
      if (events.length === 3) break;
    }
    expect(events).toEqual([`MODIFIED ${first!.name}`, `DELETED ${first!.name}`, `DELETED ${second!.name}`]);
  });
});
