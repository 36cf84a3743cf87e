// What becomes of pods that are there when their template changes: by an upgrade, by the chart's values, by a spec that says what it may not.
import { describe, expect, test } from 'vitest';
import { manifest, SHA } from '../tests/helpers/builders.ts';
import { writtenCatalog } from '../tests/helpers/operator-fixture.ts';
import { DEPLOYMENTS, NETWORK_POLICIES } from '../kube/resources.ts';
import { findCondition } from '../api/conditions.ts';
import { EMBEDDING_MODELS } from '../api/types.ts';

import { find, names, useStoreOperators } from '../tests/helpers/store-operator.ts';
const { newStore, start, until } = useStoreOperators();

describe('a change', () => {
  test('an upgrade replaces the pods of so many serving models at a time, and of sleeping ones at once', async () => {
    const client = newStore();
    const catalog = writtenCatalog('org/a').source;
    const { operator } = start({ client, catalog });
    await until(() => expect(operator.leading()).toBe(true));
    const awake = ['one', 'two', 'three', 'four'];
    for (const name of awake)
      await client.create(EMBEDDING_MODELS, manifest(name, { model: 'org/a', revision: SHA, replicas: 1 }));
    await client.create(EMBEDDING_MODELS, manifest('asleep', { model: 'org/a', revision: SHA }));
    await until(async () => expect(await names(client, DEPLOYMENTS)).toHaveLength(5));
    const settle = async (name: string) => {
      const key = { namespace: 'default', name: `em-${name}` };
      const { metadata } = await client.get(DEPLOYMENTS, key);
      const status = { observedGeneration: metadata.generation, replicas: 1, updatedReplicas: 1, readyReplicas: 1 };
      await client.patch(DEPLOYMENTS, key, { status }, { subresource: 'status' });
    };
    for (const name of awake) await settle(name);
    await operator.stop();
    start({ client, catalog, env: { KUBEMBED_RUNTIME_IMAGE: 'runtime:2', KUBEMBED_MAX_ROLLOUTS: '2' } });
    const isNew = async (name: string) =>
      JSON.stringify(await find(client, DEPLOYMENTS, `em-${name}`, 'default')).includes('runtime:2');
    const changed = async () => {
      const all = await Promise.all(awake.map(async (name) => ((await isNew(name)) ? [name] : [])));
      return all.flat();
    };
    const queued = async () => {
      const { items } = await client.list(EMBEDDING_MODELS, { namespace: 'default' });
      const reasons = items.map(({ status }) => findCondition(status?.conditions, 'Progressing')?.reason);
      return reasons.filter((reason) => reason === 'RolloutQueued').length;
    };
    await until(async () => {
      expect(await isNew('asleep')).toBe(true);
      expect(await changed()).toHaveLength(2);
      expect(await queued()).toBe(2);
    });
    const [first = ''] = await changed();
    await settle(first);
    await until(async () => expect(await changed()).toHaveLength(3));
    for (const name of await changed()) await settle(name);
    await until(async () => expect(await changed()).toHaveLength(4));
    await until(async () => expect(await queued()).toBe(0));
  });

  test('a policy comes with the chart’s rules, and goes with them', async () => {
    const client = newStore();
    const env = { KUBEMBED_NETWORK_POLICY: JSON.stringify({ ingress: [], egress: [] }) };
    const catalog = writtenCatalog('org/a minReplicas=1').source;
    const { operator } = start({ client, catalog, env });
    await until(async () => expect(await names(client, NETWORK_POLICIES)).toEqual(['em-org--a']));
    await operator.stop();
    start({ client, catalog });
    await until(async () => expect(await names(client, NETWORK_POLICIES)).toEqual([]));
  });

  test('a pod template that says what it may not leaves pods as they were, and scales them', async () => {
    const client = newStore();
    const { operator } = start({ client, catalog: writtenCatalog('org/a').source });
    await until(() => expect(operator.leading()).toBe(true));
    const key = { namespace: 'default', name: 'mine' };
    await client.create(EMBEDDING_MODELS, manifest('mine', { model: 'org/a', revision: SHA, replicas: 1 }));
    await until(async () => expect(await names(client, DEPLOYMENTS)).toContain('em-mine'));
    const before = await find(client, DEPLOYMENTS, 'em-mine', 'default');
    const podTemplate = { spec: { priorityClassName: 'high', containers: [{ name: 'runtime', image: 'mine' }] } };
    await client.patch(EMBEDDING_MODELS, key, { spec: { podTemplate, replicas: 3 } });
    const progressing = async () =>
      findCondition((await find(client, EMBEDDING_MODELS, 'mine', 'default'))?.status?.conditions, 'Progressing');
    await until(async () => {
      expect(await progressing()).toMatchObject({
        reason: 'InvalidPodTemplate',
        message: expect.stringContaining('spec.podTemplate.spec.containers[0].image: ') as string,
      });
      const after = await find(client, DEPLOYMENTS, 'em-mine', 'default');
      expect(after?.spec.replicas).toBe(3);
      expect(after?.spec.template).toEqual(before?.spec.template);
    });
    const allowed = { spec: { ...podTemplate.spec, containers: [{ name: 'runtime' }] } };
    await client.patch(EMBEDDING_MODELS, key, { spec: { podTemplate: allowed } });
    await until(async () => {
      const after = await find(client, DEPLOYMENTS, 'em-mine', 'default');
      expect(after?.spec.template.spec).toMatchObject({ priorityClassName: 'high' });
      expect((await progressing())?.reason).not.toBe('InvalidPodTemplate');
    });
  });
});
