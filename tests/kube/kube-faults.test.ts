// Informers and writes against a real API server behind a network that fails in every way it can.
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { silentLog, systemClock } from '../../kube/clock.ts';
import type { Clock } from '../../kube/clock.ts';
import { createInformer } from '../../kube/informer.ts';
import type { Informer } from '../../kube/informer.ts';
import { CONFIG_MAPS } from '../../kube/resources.ts';
import type { ConfigMap } from '../../kube/resources.ts';
import type { RestClient } from '../../kube/rest.ts';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';
import { startFaultProxy } from '../helpers/fault-proxy.ts';
import type { FaultProxy } from '../helpers/fault-proxy.ts';

/** Time that passes faster, so that back-offs of seconds take milliseconds; what is tested is order, not duration. */
const hurried = (factor: number): Clock => ({
  now: () => systemClock.now() * factor,
  setTimeout: (fn, ms) => systemClock.setTimeout(fn, ms / factor),
});

let plane: ControlPlane;
let proxy: FaultProxy;
let admin: RestClient;
let client: RestClient;
let run = 0;
beforeAll(async () => {
  plane = await startControlPlane();
  proxy = await startFaultProxy(plane);
  admin = plane.admin;
  client = plane.client('informer', proxy.server);
});
afterAll(async () => {
  await plane.stop();
  await proxy.close();
});
beforeEach(() => {
  proxy.resume();
  proxy.setRule(undefined);
  run += 1;
});

const configMap = (name: string, value: string): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { namespace: 'default', name, labels: { run: String(run) } },
  data: { value },
});
const key = (name: string) => ({ namespace: 'default', name });
const put = async (name: string, value: string) =>
  await admin.apply(CONFIG_MAPS, configMap(name, value), { fieldManager: 'test', force: true });

function startInformer(clock: Clock = hurried(20)) {
  const stop = new AbortController();
  const selection = { namespace: 'default', labelSelector: `run=${run}` };
  const informer = createInformer(client, CONFIG_MAPS, { clock, random: () => 0, log: silentLog }, selection);
  const deleted: string[] = [];
  informer.onChange((old, next) => {
    if (old && !next) deleted.push(old.metadata.name);
  });
  const done = informer.run(stop.signal);
  const end = async () => {
    stop.abort();
    await done;
  };
  return { informer, deleted, end, synced: async () => await informer.whenSynced(stop.signal) };
}

const summary = (objects: readonly ConfigMap[]): string[] =>
  objects.map(({ metadata: { name, uid = '', resourceVersion = '' } }) => `${name} ${uid} ${resourceVersion}`).sort();

async function untilEqual(informer: Informer<ConfigMap>): Promise<void> {
  await expect
    .poll(
      async () => {
        const { items } = await admin.list(CONFIG_MAPS, { namespace: 'default', labelSelector: `run=${run}` });
        return summary(informer.store.list()).join() === summary(items).join();
      },
      { timeout: 20_000, interval: 20 },
    )
    .toBe(true);
}

const calls = (from: number, watch: boolean) => proxy.calls.slice(from).filter((call) => call.watch === watch);

describe('informer', () => {
  it.each(['close', 'cut', 'cutInLine', 'gone'] as const)('catches up after its watch ended: %s', async (how) => {
    const { informer, deleted, end, synced } = startInformer();
    for (const name of ['a', 'b']) await put(`${name}${run}`, '1');
    await synced();
    // The first list may be older than what was put: then a watch brings it.
    await untilEqual(informer);
    await expect.poll(() => proxy.openWatches(), { timeout: 10_000 }).toBe(1);
    proxy.setRule(() => ({ kind: 'cut' }));
    proxy.endWatches(how);
    await admin.delete(CONFIG_MAPS, key(`a${run}`));
    await put(`b${run}`, '2');
    await put(`c${run}`, '1');
    proxy.setRule(undefined);
    await untilEqual(informer);
    expect(deleted).toEqual([`a${run}`]);
    await end();
  });

  it('learns of a deletion that no watch will ever tell, when its version is gone', async () => {
    const { informer, deleted, end, synced } = startInformer();
    await put(`a${run}`, '1');
    await synced();
    await untilEqual(informer);
    proxy.setRule(({ watch }) => (watch ? { kind: 'answer', status: 410, reason: 'Expired' } : undefined));
    proxy.endWatches('cut');
    await admin.delete(CONFIG_MAPS, key(`a${run}`));
    await untilEqual(informer);
    expect(deleted).toEqual([`a${run}`]);
    await end();
  });

  it('notices that a connection went silent', async () => {
    // 305 s of silence pass in half a second.
    const { informer, end, synced } = startInformer(hurried(600));
    await put(`a${run}`, '1');
    await synced();
    await untilEqual(informer);
    proxy.setRule(({ watch }) => (watch ? { kind: 'silence' } : undefined));
    proxy.endWatches('cut');
    const from = proxy.calls.length;
    await expect.poll(() => calls(from, true).length, { timeout: 10_000 }).toBeGreaterThan(0);
    await put(`b${run}`, '1');
    proxy.setRule(undefined);
    await untilEqual(informer);
    await end();
  });

  it('does not storm a server that refuses, throttles or breaks every call', async () => {
    const faults = [
      { kind: 'answer', status: 500 },
      { kind: 'answer', status: 429, retryAfterSeconds: 1 },
      { kind: 'cut' },
    ] as const;
    for (const fault of faults) {
      const from = proxy.calls.length;
      proxy.setRule(() => fault);
      const { informer, end, synced } = startInformer(hurried(50));
      await new Promise((resolve) => setTimeout(resolve, 1_200));
      // A minute by the informer's clock: 0.8 + 1.6 + … + 25.6 s of back-off are six tries; a broken read is tried twice.
      expect(proxy.calls.length - from).toBeLessThanOrEqual(16);
      proxy.setRule(undefined);
      await synced();
      await untilEqual(informer);
      await end();
    }
  });

  it('does not storm a server that ends every watch at once', async () => {
    const { informer, end, synced } = startInformer(hurried(50));
    await synced();
    const timer = setInterval(() => proxy.endWatches('close'), 1);
    const from = proxy.calls.length;
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    clearInterval(timer);
    expect(proxy.calls.length - from).toBeLessThanOrEqual(16);
    await untilEqual(informer);
    await end();
  });

  it('ends equal to the server after random writes under random faults', async () => {
    const name = fc.constantFrom('x', 'y', 'z');
    const fault = fc.constantFrom<'none' | 'cut' | '410' | '429' | '500' | 'delay'>(
      'none',
      'cut',
      '410',
      '429',
      '500',
      'delay',
    );
    const move = fc.oneof(
      fc.record({ do: fc.constant('put' as const), name, value: fc.nat({ max: 2 }) }),
      fc.record({ do: fc.constant('delete' as const), name }),
      fc.record({ do: fc.constant('end' as const), how: fc.constantFrom('close', 'cut', 'cutInLine', 'gone') }),
      fc.record({ do: fc.constant('fault' as const), fault }),
      fc.record({ do: fc.constant('pause' as const) }),
      fc.record({ do: fc.constant('resume' as const) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(move, { minLength: 5, maxLength: 25 }), async (moves) => {
        run += 1;
        const { informer, end } = startInformer(hurried(100));
        for (const step of moves) {
          const full = 'name' in step ? `${step.name}${run}` : '';
          if (step.do === 'put') await put(full, String(step.value));
          else if (step.do === 'delete') await admin.delete(CONFIG_MAPS, key(full)).catch(() => undefined);
          else if (step.do === 'end') proxy.endWatches(step.how);
          else if (step.do === 'pause') proxy.pause();
          else if (step.do === 'resume') proxy.resume();
          else if (step.fault === 'none') proxy.setRule(undefined);
          else if (step.fault === 'cut') proxy.setRule(() => ({ kind: 'cut' }));
          else if (step.fault === 'delay') proxy.setRule(() => ({ kind: 'delay', ms: 15 }));
          else proxy.setRule(() => ({ kind: 'answer', status: Number(step.fault) }));
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
        proxy.setRule(undefined);
        proxy.resume();
        await untilEqual(informer);
        await end();
      }),
      { numRuns: 15 },
    );
  });
});

describe('calls', () => {
  it('end at their deadline in a network that swallows everything', async () => {
    proxy.pause();
    const options = { timeoutMs: 300 };
    await expect(client.get(CONFIG_MAPS, key('x'), options)).rejects.toMatchObject({ code: 'timeout' });
    await expect(client.create(CONFIG_MAPS, configMap('x', '1'), options)).rejects.toMatchObject({ code: 'timeout' });
  });

  it('do not repeat a write whose answer was lost', async () => {
    proxy.setRule(({ write }) => (write ? { kind: 'cutAnswer' } : undefined));
    const from = proxy.calls.length;
    await expect(client.create(CONFIG_MAPS, configMap(`lost${run}`, '1'))).rejects.toMatchObject({
      code: 'connection',
    });
    expect(proxy.calls.length - from).toBe(1);
    expect((await client.get(CONFIG_MAPS, key(`lost${run}`))).data).toEqual({ value: '1' });
  });

  it('keep to few connections', async () => {
    const before = proxy.connections();
    const fresh = plane.client('frugal', proxy.server);
    await Promise.all(Array.from({ length: 100 }, async () => await fresh.list(CONFIG_MAPS, { limit: 1 })));
    expect(proxy.connections() - before).toBeLessThanOrEqual(16);
    await fresh.close();
  });
});
