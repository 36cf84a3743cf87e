import { describe, expect, test } from 'vitest';
import { fetching, manifest, ownedBy, pod, serving, SHA } from '../tests/helpers/builders.ts';
import {
  countingClient,
  NAMESPACE,
  runOperator,
  statedDemand,
  writtenCatalog,
} from '../tests/helpers/operator-fixture.ts';
import { ApiError } from '../kube/client.ts';
import type { KubeClient } from '../kube/client.ts';
import {
  CONFIG_MAPS,
  DEPLOYMENTS,
  EVENTS,
  POD_DISRUPTION_BUDGETS,
  PODS,
  REPLICA_SETS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from '../kube/resources.ts';
import type { Pod } from '../kube/resources.ts';
import type { KubeObject, ObjectKey, ResourceType } from '../kube/types.ts';
import { findCondition } from '../api/conditions.ts';
import { LABEL_MODEL_UID } from '../api/names.ts';
import { EMBEDDING_MODELS } from '../api/types.ts';

import { A_WHILE_MS, find, names, readyReason, useStoreOperators } from '../tests/helpers/store-operator.ts';
const { clock, newStore, start, until, quiet } = useStoreOperators();

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
    const catalog = writtenCatalog('');
    const { operator } = start({ client: behind, catalog: catalog.source });
    await until(() => expect(operator.leading()).toBe(true));
    await store.create(EMBEDDING_MODELS, manifest('org--a', { model: 'org/a' }, NAMESPACE));
    catalog.write('org/a\norg/b\n');
    await until(async () => expect(await find(store, EMBEDDING_MODELS, 'org--b')).toBeDefined());
    await clock.advance(A_WHILE_MS);
    expect((await find(store, EMBEDDING_MODELS, 'org--a'))?.metadata.labels).toBeUndefined();
  });

  test('lines become resources, whose children wait for a request; nothing more is written once all is as wanted', async () => {
    const { client, writes } = countingClient(newStore());
    const catalog = writtenCatalog('org/a\norg/b # two\nbad line here\n');
    const { operator, registry } = start({ client, catalog: catalog.source });
    await until(async () => {
      for (const name of ['org--a', 'org--b'])
        expect(readyReason(await find(client, EMBEDDING_MODELS, name))).toBe('NotFetched');
    });
    expect(operator.ready()).toBe(true);
    expect(operator.leading()).toBe(true);
    for (const type of [DEPLOYMENTS, SERVICES, SERVICE_ACCOUNTS]) expect(await names(client, type)).toEqual([]);
    await quiet(writes);
    const before = writes.length;
    // Two models, each: itself, one status.
    expect(before).toBe(4);
    await clock.advance(A_WHILE_MS);
    expect(writes.slice(before)).toEqual([]);
    const page = await registry.metrics();
    expect(page).toContain('kubembed_catalog_models 2');
    expect(page).toContain('kubembed_catalog_invalid_lines 1');
    expect(page).toContain('kubembed_model_replicas_desired{namespace="kubembed",model="org--a"} 0');
  });

  test('a line taken out prunes its resource and gives its series up, and nobody else’s', async () => {
    const client = newStore();
    const catalog = writtenCatalog('org/a minReplicas=1\norg/b minReplicas=1');
    const { registry } = start({ client, catalog: catalog.source });
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
    catalog.write('org/b\norg/mine minReplicas=1');
    await until(async () => expect(await names(client, DEPLOYMENTS)).toEqual(['em-mine', 'em-org--b', 'em-org--mine']));
  });

  const reasonOf = async (client: KubeClient, name: string, namespace = NAMESPACE) =>
    readyReason(await find(client, EMBEDDING_MODELS, name, namespace));

  test("somebody's own resource in the list's namespace takes the catalog's place, and gives it back", async () => {
    const client = newStore();
    start({ client, catalog: writtenCatalog('org/a minReplicas=1').source });
    await until(async () => expect(await names(client, DEPLOYMENTS)).toEqual(['em-org--a']));
    await client.create(
      EMBEDDING_MODELS,
      manifest('own', { model: 'org/a', servedNames: ['org/a', 'fast'] }, NAMESPACE),
    );
    await until(async () => {
      expect(await names(client, EMBEDDING_MODELS)).toEqual(['own']);
      expect(await names(client, DEPLOYMENTS)).toEqual(['em-own']);
    });
    const { items } = await client.list(EVENTS);
    expect(items.map(({ reason, message }) => `${reason}: ${message}`)).toContain(
      'ShadowsListedModel: Line 1 of supported_models.txt (org/a) is not served as written: kubembed/own has its place',
    );
    await client.delete(EMBEDDING_MODELS, { namespace: NAMESPACE, name: 'own' });
    await until(async () => expect(await names(client, DEPLOYMENTS)).toEqual(['em-org--a']));
  });

  test.each([
    ['for a listed id', { model: 'org/a', servedNames: ['org/a'], replicas: 0 }],
    ['that is refused', { model: 'org/a', servedNames: ['org/b'] }],
    ['that is not listed', { model: 'org/none', servedNames: ['org/a'] }],
  ])('a resource of another namespace %s changes nothing of what the list serves', async (_what, spec) => {
    const { client, writes } = countingClient(newStore());
    const text = 'org/a minReplicas=2 maxReplicas=8\norg/b minReplicas=1';
    start({ client, catalog: writtenCatalog(text).source });
    await until(async () => expect(await names(client, DEPLOYMENTS)).toEqual(['em-org--a', 'em-org--b']));
    await quiet(writes);
    const before = writes.length;
    await client.create(EMBEDDING_MODELS, manifest('mine', spec, 'team-dev'));
    await until(async () =>
      expect(await reasonOf(client, 'mine', 'team-dev')).toMatch(/NameTaken|NotInSupportedModels/),
    );
    await quiet(writes);
    expect(writes.slice(before).filter(({ what }) => !/mine|Event/.test(what))).toEqual([]);
    expect(await names(client, DEPLOYMENTS)).toEqual(['em-org--a', 'em-org--b']);
  });

  test('a refused resource in the list’s own namespace changes nothing either', async () => {
    const { client, writes } = countingClient(newStore());
    start({ client, catalog: writtenCatalog('org/a minReplicas=1').source });
    await until(async () => expect(await names(client, DEPLOYMENTS)).toEqual(['em-org--a']));
    await quiet(writes);
    const before = writes.length;
    // Somebody else's Service is in its way.
    const metadata = { name: 'em-own', namespace: NAMESPACE };
    await client.create(SERVICES, { apiVersion: 'v1', kind: 'Service', metadata, spec: { ports: [{ port: 1 }] } });
    await client.create(EMBEDDING_MODELS, manifest('own', { model: 'org/a', servedNames: ['org/a'] }, NAMESPACE));
    await until(async () => expect(await reasonOf(client, 'own')).toBe('NameConflict'));
    await quiet(writes);
    expect(writes.slice(before).filter(({ what }) => what.includes('org--a'))).toEqual([]);
    expect(await names(client, DEPLOYMENTS)).toEqual(['em-org--a']);
    // Out of its way: now it takes the place.
    await client.delete(SERVICES, metadata);
    await client.patch(EMBEDDING_MODELS, { namespace: NAMESPACE, name: 'own' }, { spec: { precision: 'int8' } });
    await until(async () => expect(await names(client, DEPLOYMENTS)).toEqual(['em-own']));
  });

  test('two models that claim a name: the older serves, the younger follows when it goes', async () => {
    const client = newStore();
    start({ client, catalog: writtenCatalog('org/a\norg/b').source });
    await client.create(EMBEDDING_MODELS, manifest('one', { model: 'org/a', servedNames: ['fast'] }, 'default'));
    await clock.advance(1100);
    await client.create(EMBEDDING_MODELS, manifest('two', { model: 'org/b', servedNames: ['fast'] }, 'default'));
    await until(async () => {
      expect(await reasonOf(client, 'one', 'default')).toBe('NotFetched');
      expect(await reasonOf(client, 'two', 'default')).toBe('NameTaken');
    });
    await client.delete(EMBEDDING_MODELS, { namespace: 'default', name: 'one' });
    await until(async () => expect(await reasonOf(client, 'two', 'default')).toBe('NotFetched'));
  });
});

describe('a restart', () => {
  test('that comes to know the models before the list changes nothing, though a refused one has the name', async () => {
    const store = newStore();
    const first = start({ client: store, catalog: writtenCatalog('org/a').source });
    const shared = { servedNames: ['shared'] };
    await store.create(EMBEDDING_MODELS, manifest('a-refused', { model: 'org/unlisted', ...shared }, 'default'));
    await store.create(EMBEDDING_MODELS, manifest('b-serving', { model: 'org/a', ...shared }, 'default'));
    await until(async () => {
      const refused = await find(store, EMBEDDING_MODELS, 'a-refused', 'default');
      const serving = await find(store, EMBEDDING_MODELS, 'b-serving', 'default');
      expect([readyReason(refused), readyReason(serving)]).toEqual(['NotInSupportedModels', 'NotFetched']);
    });
    await first.operator.stop();
    const { client, writes } = countingClient(store);
    const catalog = writtenCatalog(undefined);
    const { operator } = start({ client, catalog: catalog.source });
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
    start({ client, catalog: writtenCatalog('org/a').source, demand: demand.source });
    await until(async () => expect(readyReason(await find(client, EMBEDDING_MODELS, 'org--a'))).toBe('NotFetched'));
    await clock.advance(1200);
    for (let held = 1; held <= 50; held++)
      demand.state('kubembed/org--a', { offeredRequests: held, queuedRequests: held, activations: held });
    await until(async () => expect((await find(client, DEPLOYMENTS, 'em-org--a'))?.spec.replicas).toBe(1));
    await quiet(writes);
    expect(writes.filter(({ what }) => what === 'Deployment/em-org--a')).toHaveLength(1);
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
    start({ client, catalog: writtenCatalog('org/a').source });
    await client.create(EMBEDDING_MODELS, manifest('own', { model: 'org/a', replicas: 1 }, 'default'));
    const waiting = { state: { waiting: { reason: 'PodInitializing' } } };
    const status = { ...fetching(waiting), conditions: [{ type: 'PodScheduled', status: 'True' }] };
    const made = pod('own-1');
    const deployment = await until(async () => await store.get(DEPLOYMENTS, { namespace: 'default', name: 'em-own' }));
    const more = { labels: { 'kubembed.dev/model': 'own' }, ownerReferences: [ownedBy(deployment)] };
    const { metadata } = await store.create(PODS, { ...made, metadata: { ...made.metadata, ...more } });
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

  test.each([
    ['a claim that cannot be enlarged', 'PersistentVolumeClaim', 403, 'ChangeRefused'],
    ['a budget that a webhook refuses', 'PodDisruptionBudget', 500, 'ChangeRefused'],
    ['a Deployment whose change a policy refuses', 'Deployment', 422, 'ChangeRefused'],
  ])('%s never keeps the model from waking', async (_what, kind, status, reason) => {
    const store = newStore();
    let isRefusing = false;
    const client: KubeClient = {
      ...store,
      apply: async (type, object, options) => {
        const message = 'denied the request: admission webhook says no';
        if (isRefusing && type.kind === kind) throw new ApiError({ status, reason: 'Refused', message });
        return await store.apply(type, object, options);
      },
    };
    const demand = statedDemand();
    const spec = { model: 'org/a', revision: SHA, cache: { claim: { size: '5Gi' } }, scaling: { maxReplicas: 4 } };
    await store.create(EMBEDDING_MODELS, manifest('m', spec, 'default'));
    start({ client, catalog: writtenCatalog('org/a').source, demand: demand.source });
    await until(async () => expect(await find(store, SERVICES, 'em-m', 'default')).toBeDefined());
    await clock.advance(2_000);
    isRefusing = true;
    const key = { namespace: 'default', name: 'm' };
    const change = { cache: { claim: { size: '10Gi' } }, scaling: { maxReplicas: 1 }, overlongInput: 'error' };
    await store.delete(POD_DISRUPTION_BUDGETS, { namespace: 'default', name: 'em-m' });
    await store.patch(EMBEDDING_MODELS, key, { spec: { ...change, scaling: { maxReplicas: 3 } } });
    await clock.advance(2_000);
    demand.state('default/m', { offeredRequests: 1, queuedRequests: 1, activations: 1 });
    await until(async () => expect((await find(store, DEPLOYMENTS, 'em-m', 'default'))?.spec.replicas).toBe(1));
    await until(async () => {
      const { conditions } = (await store.get(EMBEDDING_MODELS, key)).status ?? {};
      expect(findCondition(conditions, 'Progressing')).toMatchObject({ status: 'False', reason });
      expect(findCondition(conditions, 'Progressing')?.message).toContain(`${kind} em-m`);
    });
    isRefusing = false;
    await until(async () => {
      const { conditions } = (await store.get(EMBEDDING_MODELS, key)).status ?? {};
      expect(findCondition(conditions, 'Progressing')?.reason).toBe('Progressing');
    });
  });

  test('spec.replicas wins, and a hand on the Deployment is undone', async () => {
    const client = newStore();
    start({ client, catalog: writtenCatalog('org/a').source });
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
    start({ client, catalog: writtenCatalog('org/a minReplicas=1').source });
    await until(async () => expect(await names(client, DEPLOYMENTS)).toEqual(['em-org--a']));
    const words = { revision: 'c'.repeat(40), dimensions: 384, maxTokens: 256, pooling: 'mean' };
    const made = pod('p', { status: serving({}, words) });
    const key = { namespace: NAMESPACE, name: 'p' };
    const ownerReferences = [ownedBy(await client.get(DEPLOYMENTS, { ...key, name: 'em-org--a' }))];
    const labels = { 'kubembed.dev/model': 'org--a' };
    await client.create(PODS, { ...made, metadata: { ...key, labels, ownerReferences } });
    await client.patch(PODS, key, { status: made.status }, { subresource: 'status' });
    await until(async () => {
      const model = await find(client, EMBEDDING_MODELS, 'org--a');
      expect(model?.status).toMatchObject({ revision: words.revision, embedding: { dimensions: 384 } });
      const pin = await find(client, CONFIG_MAPS, 'em-org--a-revision');
      expect(Object.values(pin?.data ?? {})).toContain(words.revision);
    });
  });

  test('pods that only say that they are the model’s change nothing; those of its own ReplicaSet do', async () => {
    const client = newStore();
    start({ client, catalog: writtenCatalog('org/a').source });
    const spec = { model: 'org/a', replicas: 1 };
    const mine = await client.create(EMBEDDING_MODELS, manifest('mine', spec));
    await client.create(EMBEDDING_MODELS, manifest('other', spec));
    const deploymentOf = async (name: string) =>
      await until(async () => await client.get(DEPLOYMENTS, { namespace: 'default', name: `em-${name}` }));
    const [own, other] = [await deploymentOf('mine'), await deploymentOf('other')];
    const replicaSet = async (name: string, owner: KubeObject | undefined) => {
      const ownerReferences = owner === undefined ? [] : [ownedBy(owner)];
      const labels = own.metadata.labels ?? {};
      const metadata = { namespace: 'default', name, labels, ownerReferences };
      return await client.create(REPLICA_SETS, { apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata });
    };
    const template = { metadata: { labels: {} }, spec: { containers: [] } };
    const forged = await client.create(DEPLOYMENTS, {
      ...{ apiVersion: 'apps/v1', kind: 'Deployment' },
      metadata: { namespace: 'default', name: 'forged', ownerReferences: [ownedBy(mine)] },
      spec: { replicas: 1, selector: { matchLabels: {} }, template },
    });
    const true1 = await replicaSet('em-mine-1', own);
    const owners: Readonly<Record<string, KubeObject | undefined>> = {
      nobody: undefined,
      'a ReplicaSet of nobody': await replicaSet('em-mine-2', undefined),
      'a ReplicaSet of another model': await replicaSet('em-other-1', other),
      'the Deployment, past its ReplicaSets': own,
      'another model’s Deployment': other,
      'the model itself': mine,
      'a Deployment by hand that names the model': forged,
    };
    const say = async (name: string, owner: KubeObject | undefined, status: Pod['status'], component: string) => {
      const key = { namespace: 'default', name };
      const labels = { ...own.spec.template.metadata.labels, 'app.kubernetes.io/component': component };
      const ownerReferences = owner === undefined ? [] : [ownedBy(owner)];
      await client.create(PODS, { ...pod(name), metadata: { ...key, labels, ownerReferences } });
      await client.patch(PODS, key, { status }, { subresource: 'status' });
    };
    const told = async () => {
      const now = await client.get(EMBEDDING_MODELS, { namespace: 'default', name: 'mine' });
      return { revision: now.status?.revision, ready: readyReason(now) };
    };
    await until(async () => expect(await told()).toEqual({ revision: undefined, ready: 'Starting' }));
    const broken = fetching({ state: { waiting: { reason: 'ImagePullBackOff' } } });
    for (const [index, owner] of Object.values(owners).entries()) {
      await say(`liar-${index}`, owner, serving({}), 'runtime');
      await say(`filler-${index}`, owner, serving({}), 'prefetch');
      await say(`broken-${index}`, owner, broken, 'runtime');
    }
    await clock.advance(A_WHILE_MS);
    expect(await told()).toEqual({ revision: undefined, ready: 'Starting' });
    await say('true', true1, serving({}), 'runtime');
    await until(async () => expect(await told()).toMatchObject({ revision: SHA }));
  });

  test.each(['Background', 'Foreground', 'Orphan'] as const)(
    'deletion in mode %s makes nothing anew',
    async (propagation) => {
      const { client, writes } = countingClient(newStore());
      start({ client, catalog: writtenCatalog('org/a').source });
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
      // A Service says for which EmbeddingModel it was made.
      (key, value: unknown) => (key === 'lastTransitionTime' || key === LABEL_MODEL_UID ? '' : value),
    );
  };
  const catalog = 'org/a minReplicas=1\norg/b minReplicas=1';
  const clean = countingClient(newStore());
  const first = start({ client: clean.client, catalog: writtenCatalog(catalog).source });
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
