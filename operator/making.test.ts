// Children made where their names are free: what it takes, what is in the way, and what a killed operator leaves.
import { expect, describe, test } from 'vitest';
import { manifest, ownedBy, pod, serving, SHA } from '../tests/helpers/builders.ts';
import { countingClient, NAMESPACE, writtenCatalog } from '../tests/helpers/operator-fixture.ts';
import { EMBEDDING_MODELS } from '../api/types.ts';
import { ApiError } from '../kube/client.ts';
import type { KubeClient } from '../kube/client.ts';
import {
  CONFIG_MAPS,
  DEPLOYMENTS,
  JOBS,
  NETWORK_POLICIES,
  PERSISTENT_VOLUME_CLAIMS,
  POD_DISRUPTION_BUDGETS,
  PODS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from '../kube/resources.ts';
import type { KubeObject, ResourceType } from '../kube/types.ts';

import { A_WHILE_MS, find, names, readyReason, useStoreOperators } from '../tests/helpers/store-operator.ts';
const { clock, newStore, start, until, quiet } = useStoreOperators();

describe('API calls', () => {
  test('a line that sleeps takes two, and one that is awake one for each object and each state', async () => {
    const store = newStore();
    const { client, writes, gets } = countingClient(store);
    start({ client, catalog: writtenCatalog(`org/a revision=${SHA} minReplicas=2 maxReplicas=2\norg/b`).source });
    const deployment = await until(
      async () => await store.get(DEPLOYMENTS, { namespace: NAMESPACE, name: 'em-org--a' }),
    );
    const replica = async (name: string) => {
      const key = { namespace: NAMESPACE, name };
      const labels = { 'kubembed.dev/model': 'org--a' };
      await store.create(PODS, {
        ...pod(name, { revision: SHA }),
        metadata: { ...key, labels, ownerReferences: [ownedBy(deployment)] },
      });
      await store.patch(PODS, key, { status: serving({}) }, { subresource: 'status' });
    };
    await Promise.all([replica('one'), replica('two')]);
    const counts = { replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2 };
    const status = { observedGeneration: 1, ...counts };
    await store.patch(DEPLOYMENTS, { namespace: NAMESPACE, name: 'em-org--a' }, { status }, { subresource: 'status' });
    await until(async () => expect(readyReason(await find(store, EMBEDDING_MODELS, 'org--a'))).toBe('Ready'));
    await quiet(writes);
    expect(gets).toEqual([]);
    const of = (name: string) =>
      writes
        .map(({ what }) => what)
        .filter((what) => what.includes(name))
        .toSorted();
    expect(of('org--b')).toEqual(['EmbeddingModel.status/org--b', 'EmbeddingModel/org--b']);
    const states = ['starting', 'fetched', 'ready'].map(() => 'EmbeddingModel.status/org--a');
    expect(of('org--a').filter((what) => !what.startsWith('Event/'))).toEqual([
      'ConfigMap/em-org--a-revision',
      'Deployment/em-org--a',
      ...states,
      'EmbeddingModel/org--a',
      'PodDisruptionBudget/em-org--a',
      'Service/em-org--a',
      'ServiceAccount/em-org--a',
    ]);
    expect(writes.filter(({ what }) => what.startsWith('Event/'))).toHaveLength(1);
  });
});

describe('names in other hands', () => {
  const CHILDREN: readonly (readonly [ResourceType, string])[] = [
    [SERVICE_ACCOUNTS, 'em-own'],
    [NETWORK_POLICIES, 'em-own'],
    [SERVICES, 'em-own'],
    [POD_DISRUPTION_BUDGETS, 'em-own'],
    [JOBS, 'em-own-prefetch'],
    [DEPLOYMENTS, 'em-own'],
  ];
  /** One that has all of them, and no claim. */
  const own = manifest('own', {
    model: 'org/a',
    prefetch: true,
    cache: { existingClaim: 'shared' },
    scaling: { maxReplicas: 4 },
  });
  const CLAIM = [PERSISTENT_VOLUME_CLAIMS, 'em-own-cache'] as const;
  const withClaim = manifest('own', { ...own.spec, cache: { claim: { size: '5Gi' } } });
  const withPolicies = { KUBEMBED_NETWORK_POLICY: JSON.stringify({ ingress: [], egress: [] }) };
  const foreign = ({ group, version, kind }: ResourceType, name: string) => ({
    apiVersion: group === '' ? version : `${group}/${version}`,
    kind,
    metadata: { name, namespace: 'default', annotations: { by: 'somebody' } },
    spec: { theirs: true },
  });
  const present = async (client: KubeClient) => {
    const all = await Promise.all(
      [...CHILDREN, CLAIM].map(async ([type, name]) => await find(client, type, name, 'default')),
    );
    return all.filter((child) => child !== undefined);
  };

  const cases = (children: typeof CHILDREN, model: typeof own) =>
    children.map(([type, name]) => ({ kind: type.kind, type, name, model }));
  const blocked = async (client: KubeClient) =>
    await until(async () =>
      expect(readyReason(await find(client, EMBEDDING_MODELS, 'own', 'default'))).toBe('NameConflict'),
    );

  test.each([
    ...cases(CHILDREN, own),
    ...cases([...CHILDREN, CLAIM], withClaim).map((one) => ({ ...one, kind: `${one.kind} (with a claim)` })),
  ])(
    'a $kind of somebody else is left alone, and nothing is made beside it, until it is gone',
    async ({ type, name, model }) => {
      const { client, writes } = countingClient(newStore());
      const theirs = await client.create<KubeObject>(type, foreign(type, name));
      start({ client, catalog: writtenCatalog('org/a').source, env: withPolicies });
      await client.create(EMBEDDING_MODELS, model);
      await blocked(client);
      expect(await present(client)).toEqual([theirs]);
      const before = writes.length;
      await quiet(writes);
      expect(writes.slice(before)).toEqual([]);
      await client.delete(type, { namespace: 'default', name });
      await clock.advance(A_WHILE_MS);
      const whole = CHILDREN.length + (model === withClaim ? 1 : 0);
      await until(async () => expect(await present(client)).toHaveLength(whole));
    },
  );

  test.each(cases(CHILDREN, withClaim))(
    'a $kind that comes between look and write is left alone too, and nothing else serves',
    async ({ type, name, model }) => {
      const store = newStore();
      const theirs = foreign(type, name);
      const client: KubeClient = {
        ...store,
        apply: async (applied, object, options) => {
          if (applied.kind === type.kind && (await find(store, type, name, 'default')) === undefined)
            await store.create<KubeObject>(type, theirs);
          return await store.apply(applied, object, options);
        },
        // The operator has no right to.
        delete: async (deleted, key, options) => {
          const kept: readonly string[] = [CONFIG_MAPS.kind, PERSISTENT_VOLUME_CLAIMS.kind];
          if (kept.includes(deleted.kind)) throw new ApiError({ status: 403, reason: 'Forbidden', message: 'no' });
          await store.delete(deleted, key, options);
        },
      };
      start({ client, catalog: writtenCatalog('org/a').source, env: withPolicies });
      await client.create(EMBEDDING_MODELS, model);
      await blocked(client);
      await clock.advance(A_WHILE_MS);
      const serve = (await present(client)).filter(({ kind }) => kind !== PERSISTENT_VOLUME_CLAIMS.kind);
      expect(serve).toMatchObject([theirs]);
    },
  );

  test('what serves goes on serving when somebody’s object has the place of another child', async () => {
    const { client, writes } = countingClient(newStore());
    start({ client, catalog: writtenCatalog('org/a').source });
    await client.create(EMBEDDING_MODELS, own);
    const key = { namespace: 'default', name: 'em-own' };
    await until(async () => expect(await find(client, DEPLOYMENTS, 'em-own', 'default')).toBeDefined());
    const made = await present(client);
    const theirs = foreign(POD_DISRUPTION_BUDGETS, 'em-own');
    await quiet(writes);
    await client.delete(POD_DISRUPTION_BUDGETS, key);
    await client.create<KubeObject>(POD_DISRUPTION_BUDGETS, theirs);
    await blocked(client);
    const uids = (objects: readonly KubeObject[]) =>
      objects.map(({ kind, metadata }) => `${kind} ${metadata.uid ?? ''}`);
    const kept = uids(made).filter((one) => !one.startsWith(POD_DISRUPTION_BUDGETS.kind));
    expect(uids(await present(client))).toEqual(expect.arrayContaining(kept));
    expect(await find(client, POD_DISRUPTION_BUDGETS, 'em-own', 'default')).toMatchObject(theirs);
  });

  test('a conflict that nothing is in the way of keeps nothing from being made', async () => {
    const store = newStore();
    const conflicts = new Map<string, number>();
    const client: KubeClient = {
      ...store,
      apply: async (type, object, options) => {
        const before = conflicts.get(type.kind) ?? 0;
        if (options.ifAbsent !== true || before === 3) return await store.apply(type, object, options);
        conflicts.set(type.kind, before + 1);
        throw new ApiError({ status: 409, reason: 'Conflict', message: 'the quota has been modified' });
      },
    };
    start({ client, catalog: writtenCatalog('org/a minReplicas=1').source });
    await until(async () => expect(await names(client, DEPLOYMENTS)).toEqual(['em-org--a']));
    expect([...conflicts.keys()]).toEqual(['EmbeddingModel', 'ServiceAccount', 'Service', 'Deployment']);
  });

  test('an operator killed while it finds a name taken leaves nothing that serves, and its heir ends where it would have', async () => {
    const theirs = foreign(DEPLOYMENTS, 'em-own');
    const life = async (deathAt: number) => {
      const store = newStore();
      await store.create<KubeObject>(DEPLOYMENTS, theirs);
      await store.create(EMBEDDING_MODELS, own);
      let left = deathAt;
      const dying = countingClient(store, () => {
        left -= 1;
        if (left < 0) throw new Error('The process is dead');
      });
      const first = start({ client: dying.client, catalog: writtenCatalog('org/a').source, env: withPolicies });
      await until(() => expect(left < 0 || deathAt === Infinity).toBe(true));
      if (deathAt === Infinity) await quiet(dying.writes);
      await first.operator.stop();
      return { store, writes: dying.writes };
    };
    const undisturbed = (await life(Infinity)).writes.length;
    expect(undisturbed).toBeGreaterThan(10);
    for (let cut = 0; cut < undisturbed; cut += 1) {
      const { store } = await life(cut);
      const heir = countingClient(store);
      const { operator } = start({ client: heir.client, catalog: writtenCatalog('org/a').source, env: withPolicies });
      await blocked(store);
      await quiet(heir.writes);
      expect(await find(store, DEPLOYMENTS, 'em-own', 'default')).toMatchObject(theirs);
      // Those of the one that died may be there still, and are the model's.
      await store.delete(DEPLOYMENTS, { namespace: 'default', name: 'em-own' });
      await clock.advance(A_WHILE_MS);
      await until(async () => expect(await present(store)).toHaveLength(CHILDREN.length));
      await operator.stop();
    }
  });
});
