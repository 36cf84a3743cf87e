// Two operators over one API server, one that takes another's place, and hands that undo what it does; slips in the list.
import { describe, expect, test } from 'vitest';
import { manifest } from '../tests/helpers/builders.ts';
import { countingClient, NAMESPACE, writtenCatalog } from '../tests/helpers/operator-fixture.ts';
import type { Write } from '../tests/helpers/operator-fixture.ts';
import type { KubeClient } from '../kube/client.ts';
import { DEPLOYMENTS, EVENTS, LEASES, SERVICES } from '../kube/resources.ts';
import { findCondition, isTrue } from '../api/conditions.ts';
import { ANNOTATION_RELEASE } from '../api/names.ts';
import { EMBEDDING_MODELS } from '../api/types.ts';
import type { CatalogSource } from './catalog/plan.ts';
import { namesOnRecord } from './model/acceptance.ts';

import { find, names, useStoreOperators } from '../tests/helpers/store-operator.ts';
const { clock, newStore, start, until, quiet } = useStoreOperators();

describe('two releases', () => {
  const A = {
    KUBEMBED_RUNTIME_IMAGE: 'runtime:a',
    KUBEMBED_LEADER_ELECTION: 'true',
    KUBEMBED_LEASE_NAME: 'a-operator',
  };
  const B = {
    KUBEMBED_RUNTIME_IMAGE: 'runtime:b',
    KUBEMBED_LEADER_ELECTION: 'true',
    KUBEMBED_NAMESPACE: 'team-b',
    KUBEMBED_LEASE_NAME: 'b-operator',
    KUBEMBED_WATCH_NAMESPACES: 'team-b',
  };
  const inTeamB = { ...manifest('m', { model: 'org/a' }, 'team-b') };
  const imageOf = async (client: KubeClient, name: string, namespace: string) => {
    const { spec } = await client.get(DEPLOYMENTS, { namespace, name });
    return spec.template.spec.containers[0]?.image;
  };
  const withoutLeases = (writes: readonly Write[]) => writes.filter(({ what }) => !what.startsWith('Lease/'));

  test('that watch the same resource do not fight: the first has it, the other says so once, and follows when the first is gone', async () => {
    const store = newStore();
    const [a, b] = [countingClient(store), countingClient(store)];
    await store.create(EMBEDDING_MODELS, inTeamB);
    const first = start({ client: a.client, catalog: writtenCatalog('org/a').source, env: A });
    await until(async () => expect(await find(store, SERVICES, 'em-m', 'team-b')).toBeDefined());
    await clock.advance(60_000);
    const before = a.writes.length;
    start({ client: b.client, catalog: writtenCatalog('org/a minReplicas=1', 'team-b').source, env: B });
    for (let second = 0; second < 600; second += 10) await clock.advance(10_000);
    // What its own list makes, itself, three children and a status, and two events.
    const byB = withoutLeases(b.writes).map(({ what }) => what);
    expect(byB.filter((what) => !what.startsWith('Event/')).toSorted()).toEqual([
      'Deployment/em-org--a',
      'EmbeddingModel.status/org--a',
      'EmbeddingModel/org--a',
      'Service/em-org--a',
      'ServiceAccount/em-org--a',
    ]);
    expect(withoutLeases(a.writes.slice(before)).filter(({ what }) => !what.startsWith('Event/'))).toEqual([]);
    const { items } = await store.list(EVENTS);
    const told = items.filter(({ reason }) => reason === 'ManagedElsewhere').map(({ message }) => message);
    expect(told.toSorted()).toEqual([
      'Release kubembed/a-operator manages it, and lives: team-b/b-operator leaves it alone',
      'Release team-b/b-operator manages it, and lives: kubembed/a-operator leaves it alone',
    ]);
    expect(await imageOf(store, 'em-m', 'team-b')).toBe('runtime:a');
    expect(await imageOf(store, 'em-org--a', 'team-b')).toBe('runtime:b');
    expect((await store.get(EMBEDDING_MODELS, { namespace: 'team-b', name: 'm' })).status?.release).toBe(
      'kubembed/a-operator',
    );

    await first.operator.stop();
    for (let second = 0; second < 100; second += 10) await clock.advance(10_000);
    await until(async () => expect(await imageOf(store, 'em-m', 'team-b')).toBe('runtime:b'));
  });

  test('of which the one is the other renamed: it adopts what the list made, line by line, and rolls nothing', async () => {
    const { client, writes } = countingClient(newStore());
    const renamed = (source: CatalogSource): CatalogSource => ({
      ...source,
      current: () => {
        const text = source.current();
        return text && { ...text, name: 'renamed' };
      },
    });
    const text = 'org/a minReplicas=1\norg/b minReplicas=1';
    const old = start({ client, catalog: writtenCatalog(text).source, env: { ...A } });
    await until(async () => expect(await names(client, SERVICES)).toEqual(['em-org--a', 'em-org--b']));
    await client.create(EMBEDDING_MODELS, manifest('own', { model: 'org/a' }, 'team-b'));
    await until(async () => expect(await find(client, SERVICES, 'em-own', 'team-b')).toBeDefined());
    await quiet(withoutLeases(writes));
    await old.operator.stop();
    const templates = async () => (await client.list(DEPLOYMENTS)).items.map(({ spec }) => spec.template);
    const before = await templates();
    const env = { ...A, KUBEMBED_LEASE_NAME: 'new-operator', KUBEMBED_TAKES_OVER: 'kubembed/a-operator' };
    start({ client, catalog: renamed(writtenCatalog('org/a minReplicas=2').source), env });
    await until(async () => {
      const { items } = await client.list(EMBEDDING_MODELS);
      expect(items.map(({ metadata, status }) => [metadata.name, status?.release]).toSorted()).toEqual([
        ['org--a', 'kubembed/new-operator'],
        ['own', 'kubembed/new-operator'],
      ]);
      expect((await find(client, DEPLOYMENTS, 'em-org--a'))?.spec.replicas).toBe(1);
    });
    expect((await find(client, EMBEDDING_MODELS, 'org--a'))?.spec.scaling).toEqual({ minReplicas: 2 });
    expect(await templates()).toEqual([before[0], before[2]]);
  });

  test('of which the author of a model chooses the other: no name has two owners on record, at no time', async () => {
    const store = newStore();
    const lease = { namespace: 'team-b', name: 'b-operator' };
    const renew = async (renewTime: string) => {
      const body = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: lease, ...{ spec: { renewTime } } };
      await store.apply(LEASES, body, { fieldManager: 'b', force: true });
    };
    await renew('1');
    // As routers of this release read it.
    const seen: string[][] = [];
    const client: KubeClient = {
      ...store,
      apply: async (type, object, options) => {
        const written = await store.apply(type, object, options);
        const { items } = await store.list(EMBEDDING_MODELS);
        const ours = items.filter(({ status }) => status?.release === 'kubembed/a-operator');
        seen.push(ours.filter(({ status }) => isTrue(status?.conditions ?? [], 'Accepted')).flatMap(namesOnRecord));
        return written;
      },
    };
    start({ client, catalog: writtenCatalog('org/a').source, env: A });
    await store.create(EMBEDDING_MODELS, inTeamB);
    const recordOf = async (name: string) => (await find(store, EMBEDDING_MODELS, name, 'team-b'))?.status;
    const pinned = { revision: 'main', commit: 'c'.repeat(40) };
    await until(async () => expect((await recordOf('m'))?.servedNames).toEqual(['team-b/m']));
    await store.patch(
      EMBEDDING_MODELS,
      { namespace: 'team-b', name: 'm' },
      { status: { resolvedRevisions: [pinned] } },
      { subresource: 'status' },
    );
    const annotations = { [ANNOTATION_RELEASE]: 'team-b/b-operator' };
    await store.patch(EMBEDDING_MODELS, { namespace: 'team-b', name: 'm' }, { metadata: { annotations } });
    await store.create(EMBEDDING_MODELS, manifest('heir', { model: 'org/a', servedNames: ['team-b/m'] }, 'team-b'));
    let renewed = 1;
    await until(async () => {
      await renew(String((renewed += 1)));
      expect(await recordOf('m')).toMatchObject({ release: 'team-b/b-operator', resolvedRevisions: [pinned] });
      expect((await recordOf('heir'))?.servedNames).toEqual(['team-b/m']);
    });
    const handed = await recordOf('m');
    expect(handed).not.toHaveProperty('servedNames');
    expect(findCondition(handed?.conditions, 'Accepted')).toMatchObject({
      ...{ status: 'Unknown', reason: 'ManagedElsewhere' },
      message: 'Release team-b/b-operator manages it',
    });
    expect(seen.filter((names) => new Set(names).size < names.length)).toEqual([]);
    // Nobody renews that Lease any more: it comes back, and finds its name taken.
    for (let second = 0; second < 100; second += 10) await clock.advance(10_000);
    await until(async () => {
      const back = await recordOf('m');
      expect(back).toMatchObject({ release: 'kubembed/a-operator', resolvedRevisions: [pinned] });
      expect(findCondition(back?.conditions, 'Accepted')?.reason).toBe('NameTaken');
    });
  });

  test('what somebody changes back each time is left alone after a few tries, and the status says so', async () => {
    const store = newStore();
    const { client, writes } = countingClient(store);
    const catalog = writtenCatalog('org/a minReplicas=1');
    start({ client, catalog: catalog.source });
    const key = { namespace: NAMESPACE, name: 'em-org--a' };
    await until(async () => expect(await find(store, SERVICES, key.name)).toBeDefined());
    catalog.write('org/a');
    await until(async () => expect((await find(store, DEPLOYMENTS, key.name))?.spec.replicas).toBe(0));
    await quiet(writes);
    const before = writes.length;
    for (let second = 0; second < 240; second += 1) {
      await store.patch(SERVICES, key, { spec: { selector: { 'kubembed.dev/model': 'else' } } });
      await clock.advance(1_000);
    }
    const services = writes.slice(before).filter(({ what }) => what.startsWith('Service/'));
    expect(services.length).toBeLessThan(20);
    const { status } = (await find(store, EMBEDDING_MODELS, 'org--a'))!;
    expect(findCondition(status?.conditions, 'Progressing')).toMatchObject({ status: 'False', reason: 'Contested' });
    expect(findCondition(status?.conditions, 'Ready')?.reason).toBe('NotFetched');
    // Peace.
    for (let second = 0; second < 1200; second += 10) await clock.advance(10_000);
    expect((await find(store, SERVICES, key.name))?.spec.selector).toMatchObject({ 'kubembed.dev/model': 'org--a' });
    const after = (await find(store, EMBEDDING_MODELS, 'org--a'))!;
    expect(findCondition(after.status?.conditions, 'Progressing')?.reason).toBe('Stable');
  });
});

describe('a slip in the list', () => {
  const LIST = 'org/a minReplicas=2 maxReplicas=8\norg/b minReplicas=1';

  test.each([
    ['in an option', 'org/a minReplicas=2 maxReplica=4\norg/b minReplicas=1'],
    ['that empties it', ''],
  ])('%s tears nothing down: not the list’s, and not of those who serve the id themselves', async (_what, slip) => {
    const { client, writes } = countingClient(newStore());
    const catalog = writtenCatalog(LIST);
    start({ client, catalog: catalog.source });
    await client.create(EMBEDDING_MODELS, manifest('mine', { model: 'org/a' }, 'team-dev'));
    await until(async () => expect(await names(client, DEPLOYMENTS)).toEqual(['em-mine', 'em-org--a', 'em-org--b']));
    await quiet(writes);
    const before = writes.length;
    catalog.write(slip);
    await quiet(writes);
    expect(writes.slice(before)).toEqual([]);
    // As it was when the line was last good.
    const key = { namespace: NAMESPACE, name: 'org--a' };
    expect((await client.get(EMBEDDING_MODELS, key)).spec.scaling).toEqual({ minReplicas: 2, maxReplicas: 8 });
    catalog.write(LIST.replace('=8', '=4'));
    await until(async () =>
      expect((await client.get(EMBEDDING_MODELS, key)).spec.scaling).toEqual({ minReplicas: 2, maxReplicas: 4 }),
    );
  });

  test('a line that was taken out goes on serving for a time, and nothing happens if it comes back', async () => {
    const { client, writes } = countingClient(newStore());
    const catalog = writtenCatalog(LIST);
    const env = { KUBEMBED_CATALOG_REMOVAL_GRACE_SECONDS: '3600' };
    start({ client, catalog: catalog.source, env });
    await until(async () => expect(await names(client, DEPLOYMENTS)).toHaveLength(2));
    await quiet(writes);
    catalog.write('org/b');
    await until(async () => {
      const found = await find(client, EMBEDDING_MODELS, 'org--a');
      expect(findCondition(found?.status?.conditions, 'Accepted')).toMatchObject({
        status: 'True',
        reason: 'RemovedFromList',
      });
    });
    catalog.write(LIST);
    await quiet(writes);
    expect(writes.filter(({ verb }) => verb === 'delete')).toEqual([]);
    catalog.write('org/b');
    await clock.advance(3_500_000);
    expect(await names(client, DEPLOYMENTS)).toHaveLength(2);
    await clock.advance(200_000);
    await until(async () => expect(await names(client, EMBEDDING_MODELS)).toEqual(['org--b']));
  });
});
