import { expect, test } from 'vitest';
import { embeddingModel } from '../../tests/helpers/builders.ts';
import { FakeClock } from '../../tests/helpers/fake-clock.ts';
import { statedDemand } from '../../tests/helpers/operator-fixture.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { createAutoscaler } from './autoscaler.ts';
import type { ScaleChange } from './autoscaler.ts';

function setUp(models: EmbeddingModel[] = [embeddingModel('a')]) {
  const clock = new FakeClock();
  const demand = statedDemand();
  const changes: ScaleChange[] = [];
  const autoscaler = createAutoscaler({
    clock,
    demand: demand.source,
    models: () => models,
    observed: () => ({ replicas: 0, starting: false, progressing: false }),
    drainBacklogMs: 10_000,
    scaleDownMs: 120_000,
  });
  const stopping = new AbortController();
  autoscaler.onChange((change) => changes.push(change));
  const running = autoscaler.run(stopping.signal);
  clock.tick(0);
  const stop = async (): Promise<void> => {
    stopping.abort();
    await running;
  };
  return { clock, demand, changes, autoscaler, models, stop };
}

const moves = (changes: readonly ScaleChange[]) => changes.filter(({ from, to }) => from !== to);

test('a thousand wake-ups are one decision, made at once', () => {
  const { clock, demand, changes } = setUp();
  clock.tick(500);
  for (let held = 1; held <= 1000; held++) demand.state('default/a', { queuedRequests: held, activations: held });
  clock.tick(25);
  expect(moves(changes)).toEqual([{ key: 'default/a', from: 0, to: 1, reason: 'a request found no replica' }]);
  clock.tick(5000);
  expect(moves(changes)).toHaveLength(1);
});

test('to zero idleSeconds after the last demand, on the tick', () => {
  const { clock, demand, changes, autoscaler } = setUp();
  demand.state('default/a', { offeredRequests: 1, activations: 1, queuedRequests: 1 });
  clock.tick(1000);
  demand.state('default/a', { completedRequests: 1, queuedRequests: 0 });
  clock.tick(299_000);
  expect(autoscaler.target('default/a')?.replicas).toBe(1);
  clock.tick(3000);
  expect(autoscaler.target('default/a')).toEqual({ replicas: 0, reason: 'no demand for 300 s' });
  expect(moves(changes)).toHaveLength(2);
});

test('models that are gone, or scaled by others, are forgotten', () => {
  const { clock, autoscaler, models } = setUp([embeddingModel('a'), embeddingModel('b')]);
  expect(autoscaler.target('default/b')).toEqual({ replicas: 0 });
  models.pop();
  clock.tick(1000);
  expect(autoscaler.target('default/b')).toBeUndefined();
});

test('stopped, it decides no more', async () => {
  const { clock, demand, changes, stop } = setUp();
  await stop();
  demand.state('default/a', { activations: 1, queuedRequests: 1 });
  clock.tick(10_000);
  expect(moves(changes)).toEqual([]);
  expect(clock.pending()).toBe(0);
});
