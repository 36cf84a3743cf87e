// The controller's loop: retries, deadlines, caches, priorities, and its end.
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { createStoreClient, ApiStore } from '../local/apiserver/store.ts';
import { FakeClock } from '../tests/helpers/fake-clock.ts';
import { ApiError } from './client.ts';
import { silentLog } from './clock.ts';
import { createController, createControllerMetrics } from './controller.ts';
import type { ControllerOptions, Reconcile } from './controller.ts';
import { createInformer } from './informer.ts';
import { CONFIG_MAPS } from './resources.ts';

const key = (name: string) => ({ namespace: 'ns', name });

function setUp(reconcile: Reconcile, options: Partial<ControllerOptions> = {}) {
  const clock = new FakeClock(0);
  const environment = { clock, random: () => 0, log: silentLog };
  const controller = createController({ name: 'test', reconcile, ...options }, environment);
  const stop = new AbortController();
  return { clock, environment, controller, stop };
}

/** Records when each run began; the script says how each ends. */
function scripted(...ends: (object | Error)[]) {
  const runs: number[] = [];
  const parts = setUp(async () => {
    runs.push(parts.clock.now());
    const end = ends.shift() ?? {};
    if (end instanceof Error) throw end;
    return end;
  });
  return { ...parts, runs };
}

describe('controller', () => {
  const failure = new Error('failed');
  const busy = new ApiError({ status: 429, reason: 'TooManyRequests', message: 'busy', retryAfterMs: 3_000 });
  it.each<[string, (object | Error)[], number[]]>([
    ['runs once for a success', [{}], [0]],
    [
      'backs off after failures and starts anew after a success',
      [failure, failure, { requeueAfterMs: 1_000 }, failure],
      [0, 50, 150, 1_150, 1_200],
    ],
    ['obeys Retry-After', [busy], [0, 3_000]],
  ])('%s', async (_, ends, expected) => {
    const { clock, controller, stop, runs } = scripted(...ends);
    const done = controller.run(stop.signal);
    controller.enqueue(key('a'));
    await clock.advance(100_000);
    expect(runs).toEqual(expected);
    stop.abort();
    await done;
  });

  it('tells a run that its deadline passed, and frees the worker for others', async () => {
    const seen: unknown[] = [];
    const { clock, controller, stop } = setUp(
      async ({ name }, { signal }) => {
        if (name === 'quick') seen.push('quick');
        else await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
        return {};
      },
      { deadlineMs: 5_000 },
    );
    const done = controller.run(stop.signal);
    controller.enqueue(key('slow'));
    controller.enqueue(key('quick'));
    await clock.advance(4_999);
    expect(seen).toEqual([]);
    await clock.advance(1);
    expect(seen).toEqual(['quick']);
    stop.abort();
    await done;
  });

  it('works on several keys at once, never twice on one', async () => {
    const working = new Set<string>();
    let most = 0;
    let twice = 0;
    let finish: (() => void)[] = [];
    const { clock, controller, stop } = setUp(
      async ({ name }) => {
        if (working.has(name)) twice += 1;
        working.add(name);
        most = Math.max(most, working.size);
        await new Promise<void>((resolve) => finish.push(resolve));
        working.delete(name);
        return {};
      },
      { workers: 3 },
    );
    const done = controller.run(stop.signal);
    for (let round = 0; round < 5; round += 1) {
      for (const name of ['a', 'b', 'c', 'd']) controller.enqueue(key(name));
      await clock.advance(1);
      for (const resolve of finish.splice(0, 2)) resolve();
    }
    expect([most, twice]).toEqual([3, 0]);
    stop.abort();
    finish.forEach((resolve) => resolve());
    finish = [];
    await done;
  });

  it('waits for its caches, and maps changes of other objects to keys', async () => {
    const seen: string[] = [];
    const { clock, controller, stop, environment } = setUp(async ({ name }) => {
      seen.push(name);
      return {};
    });
    let uids = 0;
    const store = new ApiStore({ clock, newUid: () => String((uids += 1)) });
    const object = (name: string, owner: string) => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { ...key(name), labels: { owner } },
    });
    store.create(CONFIG_MAPS, object('x', 'one'));
    const informer = createInformer(createStoreClient(store), CONFIG_MAPS, environment);
    controller.watch(informer, ({ metadata }) => [key(metadata.labels?.['owner'] ?? '')]);
    const done = controller.run(stop.signal);
    await clock.advance(1_000);
    expect(seen).toEqual([]);
    void informer.run(stop.signal);
    await clock.advance(0);
    expect(seen).toEqual(['one']);
    store.patch(CONFIG_MAPS, key('x'), { metadata: { labels: { owner: 'two' } } });
    await clock.advance(0);
    expect(seen).toEqual(['one', 'one', 'two']);
    stop.abort();
    await done;
  });

  it('gives up when the caches do not fill', async () => {
    const { clock, controller, stop, environment } = setUp(async () => ({}));
    const never = createInformer(
      createStoreClient(new ApiStore({ clock, newUid: () => '' })),
      CONFIG_MAPS,
      environment,
    );
    controller.watch(never);
    const failed = expect(controller.run(stop.signal)).rejects.toThrow('caches of test did not fill within 120000 ms');
    await clock.advance(120_000);
    await failed;
  });

  it('lets the last run finish before it ends, and counts it as neither success nor failure', async () => {
    const registry = new Registry();
    const ended: string[] = [];
    const { clock, controller, stop } = setUp(
      async (_, { signal }) => {
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
        ended.push('run');
        return {};
      },
      { metrics: createControllerMetrics(registry) },
    );
    const done = controller.run(stop.signal).then(() => ended.push('controller'));
    controller.enqueue(key('a'));
    await clock.advance(2_000);
    const during = await registry.metrics();
    expect(during).toContain('workqueue_unfinished_work_seconds{name="test"} 2');
    expect(during).toContain('workqueue_adds_total{name="test"} 1');
    stop.abort();
    await done;
    expect(ended).toEqual(['run', 'controller']);
    expect(await registry.metrics()).toContain('controller_reconcile_total{controller="test",result="aborted"} 1');
  });
});
