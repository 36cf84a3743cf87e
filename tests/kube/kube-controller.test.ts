// A small controller on a real API server, dead at every cut point between its writes: it always ends in the same state.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { silentLog, systemClock } from '../../kube/clock.ts';
import { createController } from '../../kube/controller.ts';
import { ifPresent } from '../../kube/client.ts';
import { createEventRecorder } from '../../kube/events.ts';
import { createInformer } from '../../kube/informer.ts';
import { CONFIG_MAPS, EVENTS } from '../../kube/resources.ts';
import type { ConfigMap } from '../../kube/resources.ts';
import type { RestClient } from '../../kube/rest.ts';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';
import { afterWrites, startFaultProxy } from '../helpers/fault-proxy.ts';
import type { Fault, FaultProxy } from '../helpers/fault-proxy.ts';

let plane: ControlPlane;
let proxy: FaultProxy;
beforeAll(async () => {
  plane = await startControlPlane({ audit: true });
  proxy = await startFaultProxy(plane);
});
afterAll(async () => {
  await plane.stop();
  await proxy.close();
});

const environment = { clock: systemClock, random: () => 0, log: silentLog };
const NAMESPACE = 'default';
const COPIES = ['a', 'b', 'c'];
const copy = (parent: ConfigMap, suffix: string) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { namespace: NAMESPACE, name: `${parent.metadata.name}-${suffix}`, labels: { copy: 'yes' } },
  data: { ...parent.data },
});

/** Keeps three copies of every ConfigMap labelled `parent`. */
function startCopier(client: RestClient) {
  const reconciled = new Set<string>();
  const stop = new AbortController();
  const selector = (labelSelector: string) => ({ namespace: NAMESPACE, labelSelector });
  const parents = createInformer(client, CONFIG_MAPS, environment, selector('parent'));
  const copies = createInformer(client, CONFIG_MAPS, environment, selector('copy'));
  const controller = createController(
    {
      name: 'copier',
      workers: 2,
      async reconcile(key, { signal }) {
        const parent = parents.store.get(key);
        if (!parent) return {};
        for (const suffix of COPIES) {
          const wanted = copy(parent, suffix);
          const live = copies.store.get({ namespace: NAMESPACE, name: wanted.metadata.name });
          if (JSON.stringify(live?.data) === JSON.stringify(wanted.data)) continue;
          await client.apply(CONFIG_MAPS, wanted, { fieldManager: 'copier', force: true, signal });
        }
        reconciled.add(key.name);
        return {};
      },
    },
    environment,
  );
  controller.watch(parents);
  controller.watch(copies, ({ metadata }) => [{ namespace: NAMESPACE, name: metadata.name.slice(0, -2) }]);
  const done = Promise.all([parents.run(stop.signal), copies.run(stop.signal), controller.run(stop.signal)]);
  const ends = async () => {
    stop.abort();
    await done;
  };
  return { ends, reconciled };
}

async function copiesOf(name: string): Promise<(string | undefined)[]> {
  const read = async (suffix: string): Promise<string | undefined> => {
    const key = { namespace: NAMESPACE, name: `${name}-${suffix}` };
    return (await ifPresent(plane.admin.get(CONFIG_MAPS, key)))?.data?.['v'];
  };
  return await Promise.all(COPIES.map(read));
}

const faults: Fault[] = [{ kind: 'cut' }, { kind: 'cutAnswer' }];
const cutPoints = faults.flatMap((fault) => [0, 1, 2, 3].map((count) => ({ fault, count, how: fault.kind })));

it.each(cutPoints)('converges after it died: write $count, $how', async ({ fault, count, how }) => {
  const name = `p-${how.toLowerCase()}-${count}`;
  const metadata = { namespace: NAMESPACE, name, labels: { parent: 'yes' } };
  const first = plane.client('first', proxy.server);
  proxy.setRule(undefined);
  const { ends: dies } = startCopier(first);
  proxy.setRule(afterWrites(count, fault));
  const from = proxy.calls.length;
  await plane.admin.create(CONFIG_MAPS, { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { v: '1' } });
  // Until a call has met its fate: the write after those that pass, or the very first call of all.
  const due = count === 0 ? 0 : Math.min(count + 1, COPIES.length);
  const seen = () => proxy.calls.slice(from);
  await expect.poll(() => seen().length).toBeGreaterThan(0);
  await expect.poll(() => seen().filter(({ write }) => write).length).toBeGreaterThanOrEqual(due);
  const made = how === 'cut' ? Math.min(count, COPIES.length) : due;
  await expect.poll(async () => (await copiesOf(name)).filter(Boolean).length).toBeGreaterThanOrEqual(made);
  await dies();
  await first.close();
  proxy.setRule(undefined);

  const second = plane.client('second', proxy.server);
  const { ends } = startCopier(second);
  await expect.poll(async () => await copiesOf(name), { timeout: 10_000 }).toEqual(['1', '1', '1']);
  await plane.admin.patch(CONFIG_MAPS, metadata, { data: { v: '2' } });
  await plane.admin.delete(CONFIG_MAPS, { namespace: NAMESPACE, name: `${name}-a` });
  await expect.poll(async () => await copiesOf(name), { timeout: 10_000 }).toEqual(['2', '2', '2']);
  await ends();
  await second.close();
});

it('writes nothing when there is nothing to do', async () => {
  const client = plane.client('idle', proxy.server);
  const { items: parents } = await plane.admin.list(CONFIG_MAPS, { namespace: NAMESPACE, labelSelector: 'parent' });
  const mark = await plane.countWrites();
  for (const life of ['first', 'second']) {
    const { ends, reconciled } = startCopier(client);
    await expect.poll(() => reconciled.size, { message: life }).toBe(parents.length);
    await ends();
    expect(await plane.writesSince(mark), life).toEqual([]);
  }
});

it('writes events that the API server takes and counts', async () => {
  const client = plane.client('events', plane.server);
  const recorder = createEventRecorder({ client, component: 'copier', instance: 'pod-1' }, environment);
  const about = await plane.admin.create(CONFIG_MAPS, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { namespace: NAMESPACE, name: 'about' },
  });
  for (let i = 0; i < 3; i += 1) recorder.record(about, { type: 'Warning', reason: 'Broken', message: 'It broke' });
  await recorder.flush();
  const fieldSelector = 'involvedObject.name=about';
  const { items } = await plane.admin.list(EVENTS, { namespace: NAMESPACE, fieldSelector });
  expect(items.map(({ count, message }) => [count, message])).toEqual([[3, 'It broke']]);
  expect(await plane.kubectl(['describe', 'configmap', 'about'])).toContain('It broke');
});
