import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NO_DEMAND } from '../../api/demand.ts';
import { embeddingModel } from '../../tests/helpers/builders.ts';
import { FakeClock } from '../../tests/helpers/fake-clock.ts';
import { statedDemand } from '../../tests/helpers/operator-fixture.ts';
import { modelKey } from '../../api/names.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { createAutoscaler } from './autoscaler.ts';
import type { ScaleChange } from './autoscaler.ts';
import { decide, newScaler } from './decide.ts';
import type { Decision } from './decide.ts';
import type { RouterState } from './demand.ts';

function setUp(models: EmbeddingModel[] = [embeddingModel('a')]) {
  const clock = new FakeClock();
  const demand = statedDemand();
  const changes: ScaleChange[] = [];
  const autoscaler = createAutoscaler({
    clock,
    demand: demand.source,
    models: () => models.map((model) => [modelKey(model), model] as const),
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

test('while it sleeps it is not decided for, and what is decided is the same as with a decision a second', () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ requests: fc.nat({ max: 40 }), seconds: fc.integer({ min: 1, max: 8 }) }) },
    { weight: 1, arbitrary: fc.record({ wakes: fc.constant(true), seconds: fc.integer({ min: 1, max: 60 }) }) },
    { weight: 1, arbitrary: fc.record({ answers: fc.constant(true), seconds: fc.integer({ min: 1, max: 700 }) }) },
    { weight: 1, arbitrary: fc.record({ silent: fc.boolean(), seconds: fc.integer({ min: 1, max: 100 }) }) },
    { weight: 1, arbitrary: fc.record({ restarts: fc.constant(true), seconds: fc.integer({ min: 1, max: 100 }) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const clock = new FakeClock();
      let demand = NO_DEMAND;
      let [instance, reachable] = [1, true];
      let router: RouterState | undefined;
      const say = (): void => {
        const snapshot = { instance: String(instance), sequence: 1, models: { 'default/a': demand } };
        router = { id: 'r', reachable, leaving: false, snapshot };
      };
      say();
      const model = embeddingModel('a', {
        spec: { scaling: { idleSeconds: 300, maxReplicas: 4, targetUtilization: 0.7 } },
      });
      const autoscaler = createAutoscaler({
        clock,
        demand: {
          routers: () => [router!],
          onUrgent: () => undefined,
          run: async () => await new Promise(() => undefined),
        },
        models: () => [[modelKey(model), model]],
        observed: () => ({ replicas: 0, starting: false, progressing: false }),
        drainBacklogMs: 10_000,
        scaleDownMs: 120_000,
      });
      void autoscaler.run(new AbortController().signal);
      let state = newScaler(clock.now());
      const settings = {
        minReplicas: 0,
        maxReplicas: 4,
        targetUtilization: 0.7,
        idleMs: 300_000,
        drainMs: 10_000,
        downMs: 120_000,
      };
      const decideEverySecond = (): Decision => {
        const routers = [{ id: 'r', reachable, instance: String(instance), demand }];
        const sample = { routers, replicas: state.decision?.replicas ?? 0, starting: false, progressing: false };
        const { state: next, ...decision } = decide(state, sample, settings, clock.now());
        state = next;
        return decision;
      };
      clock.tick(0);
      expect(autoscaler.target('default/a')).toEqual(decideEverySecond());
      for (const move of steps) {
        if ('requests' in move)
          demand = {
            ...demand,
            offeredTokens: demand.offeredTokens + 500 * move.requests,
            offeredRequests: demand.offeredRequests + move.requests,
            capacityTokensPerSecond: 900,
          };
        if ('wakes' in move) demand = { ...demand, activations: demand.activations + 1 };
        if ('answers' in move)
          demand = { ...demand, completedTokens: demand.offeredTokens, completedRequests: demand.offeredRequests };
        if ('silent' in move) reachable = !move.silent;
        if ('restarts' in move) [instance, demand] = [instance + 1, NO_DEMAND];
        say();
        for (let second = 0; second < move.seconds; second += 1) {
          clock.tick(1000);
          expect(autoscaler.target('default/a')).toEqual(decideEverySecond());
        }
      }
    }),
  );
});
