import { expect, it } from 'vitest';
import { findCondition } from '../../api/conditions.ts';
import type { FetchProgress } from '../../common/http/fetch-progress.ts';
import type { Pod } from '../../kube/resources.ts';
import { manifestConfig, pod, snapshot } from '../../tests/helpers/builders.ts';
import { FakeClock } from '../../tests/helpers/fake-clock.ts';
import { plan } from './plan.ts';
import { createProgressTracker } from './progress.ts';

const RUNNING = { running: { startedAt: '2026-01-01T00:00:00Z' } };
const fetching = (name: string, podIP: string, state: object = RUNNING): Pod =>
  pod(name, {
    status: { podIP, initContainerStatuses: [{ name: 'fetch', ready: false, restartCount: 0, state }] },
  });

const settle = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve));

const setUp = () => {
  const clock = new FakeClock();
  const pods = new Map<string, Pod>();
  const handlers = new Set<(old: Pod | undefined, next: Pod | undefined) => void>();
  const told = new Map<string, FetchProgress>();
  const asked: string[] = [];
  const changed: string[] = [];
  const tracker = createProgressTracker({
    clock,
    pods: {
      store: { size: 1, list: () => [...pods.values()], entries: () => pods, get: () => undefined, byIndex: () => [] },
      onChange: (handler) => {
        handlers.add(handler);
        return () => handlers.delete(handler);
      },
    },
    keyOf: ({ metadata }) => (metadata.name.startsWith('foreign') ? undefined : 'default/minilm'),
    ask: async (host) => {
      asked.push(host);
      return told.get(host);
    },
  });
  tracker.onChange((key) => changed.push(key));
  const stopping = new AbortController();
  const running = tracker.run(stopping.signal);
  const set = (one: Pod): void => {
    pods.set(one.metadata.name, one);
    for (const handler of handlers) handler(undefined, one);
  };
  const pass = async (ms: number): Promise<void> => {
    clock.tick(ms);
    await settle();
  };
  const stop = async (): Promise<void> => {
    stopping.abort();
    await running;
  };
  return { clock, told, asked, changed, tracker, set, pass, stop };
};

it('asks a pod that fetches again and again, tells of what is new, and forgets it when it has ended', async () => {
  const { told, asked, changed, tracker, set, pass, stop } = setUp();
  set(fetching('a', '10.0.0.1'));
  await pass(5000);
  expect([asked, changed, tracker.of('default/minilm')]).toEqual([['10.0.0.1'], [], undefined]);
  told.set('10.0.0.1', { bytes: 43, total: 100, bytesPerSecond: 1 });
  await pass(5000);
  await pass(5000);
  expect([asked.length, changed]).toEqual([3, ['default/minilm']]);
  expect(tracker.of('default/minilm')?.bytes).toBe(43);
  set(fetching('a', '10.0.0.1', { terminated: { exitCode: 0 } }));
  await pass(5000);
  expect([asked.length, tracker.of('default/minilm')]).toEqual([3, undefined]);
  await stop();
});

it('does nothing while nobody fetches, and begins anew', async () => {
  const { clock, asked, set, pass, stop } = setUp();
  set(fetching('a', '10.0.0.1', { waiting: {} }));
  expect(clock.pending()).toBe(0);
  set(fetching('b', 'fd00::1'));
  await pass(5000);
  set(fetching('b', 'fd00::1', { terminated: { exitCode: 0 } }));
  await pass(5000);
  expect([asked, clock.pending()]).toEqual([['[fd00::1]'], 0]);
  set(fetching('b', '10.0.0.2'));
  await pass(5000);
  expect(asked).toEqual(['[fd00::1]', '10.0.0.2']);
  await stop();
  expect(clock.pending()).toBe(0);
});

it('is in the status for as long as a pod fetches', () => {
  const statusWith = (state: object) =>
    plan(
      snapshot({
        pods: [fetching('a', '10.0.0.1', state)],
        target: { replicas: 1, reason: 'load' },
        progress: { bytes: 430e6, total: 1e9, bytesPerSecond: 5e6 },
      }),
      manifestConfig(),
    ).status;
  const during = statusWith(RUNNING);
  expect(during?.fetchProgress).toBe('43 %, 2 min');
  const messageOf = (type: 'Fetched' | 'Ready') => findCondition(during?.conditions, type)?.message;
  expect(messageOf('Fetched')).toBe('43 % of 1.0 GB, 5.0 MB/s, 2 min left');
  expect(messageOf('Ready')).toBe('Fetching: 43 % of 1.0 GB, 5.0 MB/s, 2 min left');
  const message = JSON.stringify({ revision: 'a'.repeat(40), dimensions: 384, maxTokens: 256 });
  const after = statusWith({ terminated: { exitCode: 0, message } });
  expect(after?.fetchProgress).toBeUndefined();
  expect(findCondition(after?.conditions, 'Fetched')?.reason).toBe('Fetched');
});
