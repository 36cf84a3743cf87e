import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { fetching, manifest, pod, serving } from '../tests/helpers/builders.ts';
import { FakeClock } from '../tests/helpers/fake-clock.ts';
import {
  countingClient,
  NAMESPACE,
  runOperator,
  statedDemand,
  writtenCatalog,
} from '../tests/helpers/operator-fixture.ts';
import type { Write } from '../tests/helpers/operator-fixture.ts';
import { ifPresent } from '../kube/client.ts';
import type { KubeClient } from '../kube/client.ts';
import { CONFIG_MAPS, DEPLOYMENTS, EVENTS, PODS, SERVICE_ACCOUNTS, SERVICES } from '../kube/resources.ts';
import type { KubeObject, ObjectKey, ResourceType } from '../kube/types.ts';
import { createStoreClient } from '../local/apiserver/store.ts';
import { ApiStore } from '../local/apiserver/store.ts';
import { findCondition } from '../api/conditions.ts';
import { EMBEDDING_MODELS } from '../api/types.ts';
import type { EmbeddingModel } from '../api/types.ts';
import type { RunningOperator } from './start.ts';

let clock: FakeClock;
const running: RunningOperator[] = [];
beforeEach(() => {
  clock = new FakeClock();
});
afterEach(async () => {
  await Promise.all(running.splice(0).map(async (operator) => await operator.stop()));
});

const newStore = (): KubeClient => createStoreClient(new ApiStore({ clock, newUid: randomUUID }));

async function start(options: Parameters<typeof runOperator>[0]) {
  const fixture = runOperator({ ...options, clock });
  running.push(fixture.operator);
  return fixture;
}

const find = async <T extends KubeObject>(
  client: KubeClient,
  type: ResourceType<T>,
  name: string,
  namespace = NAMESPACE,
) => await ifPresent(client.get(type, { namespace, name }));
const names = async (client: KubeClient, type: ResourceType) =>
  (await client.list(type)).items.map(({ metadata }) => metadata.name).sort();
const readyReason = (model: EmbeddingModel | undefined) => findCondition(model?.status?.conditions, 'Ready')?.reason;

/** Until it is so, while time goes on. */
const until = async <T>(check: () => T | Promise<T>): Promise<T> =>
  await vi.waitFor(
    async () => {
      await clock.advance(100);
      return await check();
    },
    { timeout: 10_000, interval: 1 },
  );

/** Long enough for everything that happens by itself: waits before retries, decisions, and a look at every object again. */
const A_WHILE_MS = 660_000;

/** Until nothing was written for a while. */
async function quiet(writes: readonly Write[]): Promise<void> {
  for (let before = -1; before !== writes.length;) {
    before = writes.length;
    await clock.advance(A_WHILE_MS);
  }
}

/** As an API server and its garbage collector carry it out: the in-memory one knows the background alone. */
async function deleteAs(mode: 'Background' | 'Foreground' | 'Orphan', client: KubeClient, key: ObjectKey) {
  if (mode === 'Background') {
    await client.delete(EMBEDDING_MODELS, key);
    return;
  }
  const finalizers = [mode === 'Orphan' ? 'orphan' : 'foregroundDeletion'];
  const { metadata: owner } = await client.patch(EMBEDDING_MODELS, key, { metadata: { finalizers } });
  await client.delete(EMBEDDING_MODELS, key);
  for (const type of [DEPLOYMENTS, SERVICES, SERVICE_ACCOUNTS] as readonly ResourceType[]) {
    for (const { metadata } of (await client.list(type, { namespace: key.namespace })).items) {
      if (!metadata.ownerReferences?.some(({ uid }) => uid === owner.uid)) continue;
      const child = { namespace: key.namespace, name: metadata.name };
      if (mode === 'Orphan') await client.patch(type, child, { metadata: { ownerReferences: null } });
      else await client.delete(type, child);
    }
  }
  await client.patch(EMBEDDING_MODELS, key, { metadata: { finalizers: null } });
}

describe('catalog to children', () => {
  test("somebody's own resource is not taken over by a list that is faster than the cache", async () => {
    const store = newStore();
    // The watch of EmbeddingModels tells nothing.
    const behind: KubeClient = {
      ...store,
      watch: (type, options) =>
        store.watch(
          type,
          type.kind === EMBEDDING_MODELS.kind ? { ...options, fieldSelector: 'metadata.name=none' } : options,
        ),
    };
    const { client, writes } = countingClient(behind);
    const catalog = writtenCatalog('');
    const { operator } = await start({ client, catalog: catalog.source });
    await until(() => expect(operator.leading()).toBe(true));
    await store.create(EMBEDDING_MODELS, manifest('org--a', { model: 'org/a' }, NAMESPACE));
    catalog.write('org/a\norg/b\n');
    await until(async () => expect(await find(store, EMBEDDING_MODELS, 'org--b')).toBeDefined());
    await quiet(writes);
    expect((await find(store, EMBEDDING_MODELS, 'org--a'))?.metadata.labels).toBeUndefined();
  });

  test('lines become resources with children; nothing more is written once all is as wanted', async () => {
    const { client, writes } = countingClient(newStore());
    const catalog = writtenCatalog('org/a\norg/b # two\nbad line here\n');
    const { operator, registry } = await start({ client, catalog: catalog.source });
    await until(async () => {
      expect(await names(client, DEPLOYMENTS)).toEqual(['em-org--a', 'em-org--b']);
      expect(readyReason(await find(client, EMBEDDING_MODELS, 'org--b'))).toBe('ScaledToZero');
    });
    expect(operator.ready()).toBe(true);
    expect(operator.leading()).toBe(true);
    expect(await names(client, SERVICES)).toEqual(['em-org--a', 'em-org--b']);
    expect(await names(client, SERVICE_ACCOUNTS)).toEqual(['em-org--a', 'em-org--b']);
    await quiet(writes);
    const before = writes.length;
    // Two models, each: itself, three children, one status.
    expect(before).toBe(10);
    await clock.advance(A_WHILE_MS);
    expect(writes.slice(before)).toEqual([]);
    const page = await registry.metrics();
    expect(page).toContain('kubembed_catalog_models 2');
    expect(page).toContain('kubembed_catalog_invalid_lines 1');
    expect(page).toContain('kubembed_model_replicas_desired{namespace="kubembed",model="org--a"} 0');
  });

  test('a line taken out prunes its resource and gives its series up, and nobody else’s', async () => {
    const client = newStore();
    const catalog = writtenCatalog('org/a\norg/b');
    const { registry } = await start({ client, catalog: catalog.source });
    await until(async () => expect(await names(client, DEPLOYMENTS)).toHaveLength(2));
    await client.create(EMBEDDING_MODELS, manifest('mine', { model: 'org/mine' }, 'default'));
    catalog.write('org/b');
    await until(async () => expect(await names(client, EMBEDDING_MODELS)).toEqual(['mine', 'org--b']));
    await until(async () => expect(await registry.metrics()).not.toContain('org--a'));
    const mine = await until(async () => {
      const found = await find(client, EMBEDDING_MODELS, 'mine', 'default');
      expect(readyReason(found)).toBe('NotInSupportedModels');
      return found;
    });
    expect(findCondition(mine?.status?.conditions, 'Accepted')).toMatchObject({
      status: 'False',
      message: 'org/mine is not in supported_models.txt; add it there to allow it',
    });
    expect(await names(client, DEPLOYMENTS)).toEqual(['em-org--b']);
    catalog.write('org/b\norg/mine');
    await until(async () => expect(await names(client, DEPLOYMENTS)).toEqual(['em-mine', 'em-org--b']));
  });

  test("somebody's own resource for a listed model takes the catalog's place", async () => {
    const client = newStore();
    const catalog = writtenCatalog('org/a');
    await start({ client, catalog: catalog.source });
    await until(async () => expect(await names(client, DEPLOYMENTS)).toEqual(['em-org--a']));
    await client.create(EMBEDDING_MODELS, manifest('own', { model: 'org/a', aliases: ['fast'] }, 'default'));
    await until(async () => {
      expect(await names(client, EMBEDDING_MODELS)).toEqual(['own']);
      expect(await find(client, DEPLOYMENTS, 'em-own', 'default')).toBeDefined();
    });
  });

  test('two models that claim a name: the older serves, the younger follows when it goes', async () => {
    const client = newStore();
    await start({ client, catalog: writtenCatalog('org/a\norg/b').source });
    await client.create(EMBEDDING_MODELS, manifest('one', { model: 'org/a', aliases: ['fast'] }, 'default'));
    await clock.advance(1100);
    await client.create(EMBEDDING_MODELS, manifest('two', { model: 'org/b', aliases: ['fast'] }, 'default'));
    await until(async () => {
      expect(readyReason(await find(client, EMBEDDING_MODELS, 'one', 'default'))).toBe('ScaledToZero');
      expect(readyReason(await find(client, EMBEDDING_MODELS, 'two', 'default'))).toBe('AliasConflict');
    });
    await client.delete(EMBEDDING_MODELS, { namespace: 'default', name: 'one' });
    await until(async () =>
      expect(readyReason(await find(client, EMBEDDING_MODELS, 'two', 'default'))).toBe('ScaledToZero'),
    );
  });
});

describe('a restart', () => {
  test('that comes to know the models before the list changes nothing, though a refused one has the name', async () => {
    const store = newStore();
    const first = await start({ client: store, catalog: writtenCatalog('org/a').source });
    const shared = { aliases: ['shared'] };
    await store.create(EMBEDDING_MODELS, manifest('a-refused', { model: 'org/unlisted', ...shared }, 'default'));
    await store.create(EMBEDDING_MODELS, manifest('b-serving', { model: 'org/a', ...shared }, 'default'));
    await until(async () => {
      const refused = await find(store, EMBEDDING_MODELS, 'a-refused', 'default');
      const serving = await find(store, EMBEDDING_MODELS, 'b-serving', 'default');
      expect([readyReason(refused), readyReason(serving)]).toEqual(['NotInSupportedModels', 'ScaledToZero']);
    });
    await first.operator.stop();
    const { client, writes } = countingClient(store);
    const catalog = writtenCatalog(undefined);
    const { operator } = await start({ client, catalog: catalog.source });
    await until(() => expect(operator.leading()).toBe(true));
    await quiet(writes);
    catalog.write('org/a');
    await quiet(writes);
    expect(writes).toEqual([]);
  });
});

describe('scaling', () => {
  test('a held request wakes the model once, and the event says why', async () => {
    const { client, writes } = countingClient(newStore());
    const demand = statedDemand();
    await start({ client, catalog: writtenCatalog('org/a').source, demand: demand.source });
    await until(async () => expect(await names(client, DEPLOYMENTS)).toEqual(['em-org--a']));
    await clock.advance(1200);
    for (let held = 1; held <= 50; held++)
      demand.state('kubembed/org--a', { offeredRequests: held, queuedRequests: held, activations: held });
    await until(async () => expect((await find(client, DEPLOYMENTS, 'em-org--a'))?.spec.replicas).toBe(1));
    await quiet(writes);
    expect(writes.filter(({ what }) => what === 'Deployment/em-org--a')).toHaveLength(2);
    const model = await find(client, EMBEDDING_MODELS, 'org--a');
    expect(model?.status?.scalingDecision).toBe('a request found no replica');
    const { items } = await client.list(EVENTS);
    expect(items.map(({ reason, message }) => `${reason}: ${message}`)).toContain(
      'Scaled: Scaled from 0 to 1: a request found no replica',
    );
  });

  test('a pod that does not start is explained by its events, which are read for it alone', async () => {
    const store = newStore();
    const asked: (string | undefined)[] = [];
    const client: KubeClient = {
      ...store,
      list: async (type, options) => {
        if (type.kind === EVENTS.kind) asked.push(options?.fieldSelector);
        return await store.list(type, options);
      },
    };
    await start({ client, catalog: writtenCatalog('org/a').source });
    await client.create(EMBEDDING_MODELS, manifest('own', { model: 'org/a', replicas: 1 }, 'default'));
    const waiting = { state: { waiting: { reason: 'PodInitializing' } } };
    const status = { ...fetching(waiting), conditions: [{ type: 'PodScheduled', status: 'True' }] };
    const made = pod('own-1');
    const labels = { 'kubembed.dev/model': 'own' };
    const { metadata } = await store.create(PODS, { ...made, metadata: { ...made.metadata, labels } });
    const { namespace = '', name, uid = '' } = metadata;
    await store.create(EVENTS, {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { namespace, name: 'own-1.1' },
      involvedObject: { kind: 'Pod', namespace, name, uid },
      type: 'Warning',
      reason: 'FailedMount',
      message: 'path "/nowhere" does not exist',
    });
    await client.patch(PODS, { namespace, name }, { status }, { subresource: 'status' });
    await clock.advance(60_000);
    await until(async () => {
      const { status: told } = (await find(client, EMBEDDING_MODELS, 'own', 'default'))!;
      expect(findCondition(told?.conditions, 'Ready')).toMatchObject({
        reason: 'VolumeUnavailable',
        message: 'path "/nowhere" does not exist',
      });
    });
    expect(new Set(asked)).toEqual(new Set([`involvedObject.uid=${uid},type=Warning`]));
  });

  test('spec.replicas wins, and a hand on the Deployment is undone', async () => {
    const client = newStore();
    await start({ client, catalog: writtenCatalog('org/a').source });
    const spec = { model: 'org/a', replicas: 1, scaling: { maxReplicas: 3 } };
    await client.create(EMBEDDING_MODELS, manifest('own', spec, 'default'));
    const key = { namespace: 'default', name: 'em-own' };
    await until(async () => expect((await find(client, DEPLOYMENTS, 'em-own', 'default'))?.spec.replicas).toBe(1));
    await client.patch(DEPLOYMENTS, key, {
      metadata: { labels: { team: 'search', 'kubembed.dev/model': 'wrong' }, annotations: { note: 'kept' } },
      spec: { replicas: 7, paused: true, template: { spec: { enableServiceLinks: true } } },
    });
    await until(async () => {
      const repaired = (await find(client, DEPLOYMENTS, 'em-own', 'default'))!;
      expect(repaired.spec.replicas).toBe(1);
      expect(repaired.spec.template.spec['enableServiceLinks']).toBe(false);
      expect(repaired.metadata.labels).toMatchObject({ team: 'search', 'kubembed.dev/model': 'own' });
      expect(repaired.metadata.annotations).toMatchObject({ note: 'kept' });
      expect(repaired.spec['paused']).toBe(true);
    });
    await client.delete(SERVICES, key);
    await until(async () => expect(await find(client, SERVICES, 'em-own', 'default')).toBeDefined());
  });
});

describe('pods and other hands', () => {
  test('what the fetch found out goes to status and pin', async () => {
    const client = newStore();
    await start({ client, catalog: writtenCatalog('org/a').source });
    await until(async () => expect(await names(client, DEPLOYMENTS)).toEqual(['em-org--a']));
    const words = { revision: 'c'.repeat(40), dimensions: 384, maxTokens: 256, pooling: 'mean' };
    const made = pod('p', { status: serving({}, words) });
    const labels = { 'kubembed.dev/model': 'org--a' };
    const key = { namespace: NAMESPACE, name: 'p' };
    await client.create(PODS, { ...made, metadata: { ...key, labels } });
    await client.patch(PODS, key, { status: made.status }, { subresource: 'status' });
    await until(async () => {
      const model = await find(client, EMBEDDING_MODELS, 'org--a');
      expect(model?.status).toMatchObject({ revision: words.revision, embedding: { dimensions: 384 } });
      const pin = await find(client, CONFIG_MAPS, 'em-org--a-revision');
      expect(Object.values(pin?.data ?? {})).toContain(words.revision);
    });
  });

  test('an object of somebody else is left alone', async () => {
    const client = newStore();
    const foreign = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'em-org--a', namespace: NAMESPACE },
      spec: { ports: [{ port: 1 }] },
    };
    await client.create(SERVICES, foreign);
    await start({ client, catalog: writtenCatalog('org/a').source });
    await until(async () => expect(readyReason(await find(client, EMBEDDING_MODELS, 'org--a'))).toBe('NameConflict'));
    expect((await find(client, SERVICES, 'em-org--a'))?.spec).toEqual(foreign.spec);
    expect(await names(client, DEPLOYMENTS)).toEqual([]);
  });

  test.each(['Background', 'Foreground', 'Orphan'] as const)(
    'deletion in mode %s makes nothing anew',
    async (propagation) => {
      const { client, writes } = countingClient(newStore());
      await start({ client, catalog: writtenCatalog('org/a').source });
      await client.create(EMBEDDING_MODELS, manifest('own', { model: 'org/a' }, 'default'));
      await until(async () => expect(await find(client, SERVICES, 'em-own', 'default')).toBeDefined());
      await quiet(writes);
      const key = { namespace: 'default', name: 'own' };
      await deleteAs(propagation, client, key);
      await until(async () => expect(await find(client, EMBEDDING_MODELS, 'own', 'default')).toBeUndefined());
      await quiet(writes);
      const left = await find(client, DEPLOYMENTS, 'em-own', 'default');
      expect(left === undefined).toBe(propagation !== 'Orphan');
      if (propagation !== 'Orphan') return;
      await client.create(EMBEDDING_MODELS, manifest('own', { model: 'org/a' }, 'default'));
      await until(async () => {
        const [deployment, model] = [
          await find(client, DEPLOYMENTS, 'em-own', 'default'),
          await find(client, EMBEDDING_MODELS, 'own', 'default'),
        ];
        expect(deployment?.metadata.ownerReferences?.[0]?.uid).toBe(model?.metadata.uid);
      });
    },
  );
});

test('an operator killed between any two of its writes is followed by one that ends in the same state', async () => {
  const outcome = async (client: KubeClient) => {
    const kinds: readonly ResourceType[] = [EMBEDDING_MODELS, DEPLOYMENTS, SERVICES, SERVICE_ACCOUNTS];
    const all = await Promise.all(kinds.map(async (type) => (await client.list(type)).items));
    return JSON.stringify(
      all.flat().map((object) => ({
        ...object,
        metadata: {
          ...object.metadata,
          uid: '',
          resourceVersion: '',
          creationTimestamp: '',
          ownerReferences: [],
          managedFields: [],
          // Their hash covers the owner's uid.
          annotations: {},
        },
      })),
      (key, value: unknown) => (key === 'lastTransitionTime' ? '' : value),
    );
  };
  const catalog = 'org/a\norg/b';
  const clean = countingClient(newStore());
  const first = await start({ client: clean.client, catalog: writtenCatalog(catalog).source });
  await until(() => expect(clean.writes).toHaveLength(10));
  await quiet(clean.writes);
  await first.operator.stop();
  const wanted = await outcome(clean.client);
  for (let cut = 0; cut < 10; cut++) {
    const store = newStore();
    let left = cut;
    const dying = countingClient(store, () => {
      left -= 1;
      if (left < 0) throw new Error('The process is dead');
    });
    const { operator } = runOperator({ client: dying.client, catalog: writtenCatalog(catalog).source });
    await until(() => expect(left).toBeLessThan(0));
    await operator.stop();
    const heir = countingClient(store);
    const second = runOperator({ client: heir.client, catalog: writtenCatalog(catalog).source });
    await until(async () => expect(await outcome(store)).toBe(wanted));
    await second.operator.stop();
  }
});
