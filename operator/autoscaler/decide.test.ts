import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ModelDemand } from '../../api/demand.ts';
import { NO_DEMAND } from '../../api/demand.ts';
import { PLANT, SETTINGS, reversals, simulate } from '../../tests/helpers/simulate-demand.ts';
import type { Step, Trace } from '../../tests/helpers/simulate-demand.ts';
import { decide, newScaler } from './decide.ts';
import type { RouterDemand, ScalerState } from './decide.ts';

const at = (steps: readonly Step[], second: number): Step => steps.findLast((step) => step.second <= second)!;
const most = (steps: readonly Step[]): number => Math.max(...steps.map(({ replicas }) => replicas));
const phase = (seconds: number, requestsPerSecond: number | [number, number], tokensPerRequest = 100) => ({
  seconds,
  requestsPerSecond,
  tokensPerRequest,
});

describe('a wake whose clients have gone', () => {
  const settings = { ...SETTINGS, idleMs: 4000 };
  const woken: ModelDemand = {
    offeredTokens: 5,
    completedTokens: 5,
    offeredRequests: 1,
    completedRequests: 1,
    queuedRequests: 0,
    activations: 1,
  };
  /** The replicas asked for, second by second, of a model that is ready at `readyAt`. */
  const run = (seconds: number, readyAt: number, movesUntil = 0): readonly number[] => {
    let state = newScaler(0);
    let replicas = 0;
    return Array.from({ length: seconds }, (_, second) => {
      const router = { id: 'r', reachable: true, instance: 'a', demand: second > 0 ? woken : undefined };
      const starting = replicas > 0 && second < readyAt;
      const decided = decide(
        state,
        { routers: [router], replicas, starting, progressing: starting && second < movesUntil },
        settings,
        second * 1000,
      );
      state = decided.state;
      replicas = decided.replicas;
      return replicas;
    });
  };

  test('may take as long as something moves, and ten minutes more', () => {
    const replicas = run(5000, Infinity, 3600);
    expect(replicas.slice(1, 4200)).toEqual(Array.from({ length: 4199 }, () => 1));
    expect(replicas.indexOf(0, 1)).toBeLessThanOrEqual(4210);
  });

  test('goes on until the model is ready, and then idles as always', () => {
    const replicas = run(40, 20);
    expect(replicas.slice(1, 22)).toEqual(Array.from({ length: 21 }, () => 1));
    expect(replicas.indexOf(0, 1)).toBeLessThanOrEqual(25);
  });

  test('is given up where the model never gets ready', () => {
    expect(run(700, Infinity).at(-1)).toBe(0);
  });
});

describe('simulation', () => {
  test('1 request/s of 10 ms for an hour never reaches zero', () => {
    const steps = simulate({ phases: [phase(3600, 1, 50)] });
    expect(steps[0]?.replicas).toBe(0);
    const awake = steps.slice(steps.findIndex(({ replicas }) => replicas > 0));
    expect(new Set(awake.map(({ replicas }) => replicas))).toEqual(new Set([1]));
  });

  test('a request every 4 minutes keeps a model with idleSeconds 300 awake, one every 6 minutes does not', () => {
    const everyMinutes = (minutes: number): Trace => ({ phases: [phase(3600, 1 / (60 * minutes), 50)] });
    const from = (steps: readonly Step[]) => steps.slice(steps.findIndex(({ replicas }) => replicas > 0));
    expect(from(simulate(everyMinutes(4))).every(({ replicas }) => replicas === 1)).toBe(true);
    expect(from(simulate(everyMinutes(6))).some(({ replicas }) => replicas === 0)).toBe(true);
  });

  test('to zero exactly idleSeconds after the last demand', () => {
    const steps = simulate({ phases: [phase(60, 1), phase(600, 0)] });
    const last = steps.findLast(({ backlogTokens, second }) => backlogTokens > 0 || second <= 59)!;
    const zero = steps.find(({ replicas, second }) => second > 60 && replicas === 0)!;
    expect(zero.second - last.second).toBeGreaterThanOrEqual(300);
    expect(zero.second - last.second).toBeLessThanOrEqual(302);
    expect(zero.reason).toBe('no demand for 300 s');
  });

  test('a 10× step has its replicas within two decisions', () => {
    // 1 replica at 70 % before, 10 wanted after.
    const plant = { ...PLANT, startReplicas: 1 };
    const steps = simulate({ phases: [phase(120, 35), phase(60, 350)] }, SETTINGS, plant);
    expect(at(steps, 119).replicas).toBe(1);
    const decisions = steps.filter(({ second }) => second > 120);
    expect(decisions[1]!.replicas).toBeGreaterThanOrEqual(10);
    expect(decisions[1]!.second).toBeLessThanOrEqual(122);
    expect(most(steps)).toBeLessThanOrEqual(25);
    expect(at(steps, 179).backlogTokens).toBe(0);
  });

  test('the first request of a sleeping model is answered by one decision at once', () => {
    const steps = simulate({ phases: [phase(10.4, 0), phase(30, 1)] });
    const wake = steps.find(({ replicas }) => replicas > 0)!;
    expect(wake.replicas).toBe(1);
    expect(wake.second).toBeLessThanOrEqual(11.5);
    expect(wake.reason).toBe('a request found no replica');
  });

  test('steady load settles at its target utilisation and stays', () => {
    const steps = simulate({ phases: [phase(900, 150)] });
    // 15,000 tokens/s over 5,000 × 0.7: 4.3, and room to breathe.
    const late = steps.filter(({ second }) => second > 400);
    expect(new Set(late.map(({ replicas }) => replicas))).toEqual(new Set([5]));
  });

  test('sawtooth and bursts do not flap', () => {
    const teeth = Array.from({ length: 30 }, () => [phase(30, [35, 210]), phase(30, [210, 35])]).flat();
    expect(reversals(simulate({ phases: teeth }))).toBeLessThanOrEqual(1);
    const bursts = Array.from({ length: 30 }, () => [phase(5, 200), phase(55, 20)]).flat();
    expect(reversals(simulate({ phases: bursts }))).toBeLessThanOrEqual(1);
  });

  test('load that falls is followed down, slowly', () => {
    const steps = simulate({ phases: [phase(300, 350), phase(600, 30)] });
    expect(at(steps, 299).replicas).toBeGreaterThanOrEqual(10);
    expect(at(steps, 300 + 60).replicas).toBe(at(steps, 299).replicas);
    expect(at(steps, 899).replicas).toBe(1);
  });

  test.each(['leader-change', 'router-restart', 'router-joins'] as const)('%s mid-trace changes nothing', (event) => {
    const phases = [phase(900, 175)];
    const undisturbed = simulate({ phases });
    const disturbed = simulate({ phases, events: [{ at: 500, event }] });
    expect(disturbed.filter(({ second }) => second > 400).map(({ replicas }) => replicas)).toEqual(
      undisturbed.filter(({ second }) => second > 400).map(({ replicas }) => replicas),
    );
  });

  test('a new leader over an idle model waits a full idle window', () => {
    const plant = { ...PLANT, startReplicas: 1 };
    const steps = simulate({ phases: [phase(700, 0)], events: [{ at: 200, event: 'leader-change' }] }, SETTINGS, plant);
    expect(steps.find(({ replicas }) => replicas === 0)!.second).toBe(500);
  });

  test('while a router is silent nothing shrinks, and growth goes on', () => {
    const phases = [phase(300, 175), phase(900, 0)];
    const events = [
      { at: 299, event: 'router-silent' as const },
      { at: 1000, event: 'router-back' as const },
    ];
    const steps = simulate({ phases, events });
    expect(at(steps, 999).replicas).toBe(at(steps, 299).replicas);
    expect(at(steps, 1199).replicas).toBeLessThan(at(steps, 299).replicas);
    const growing = simulate({
      phases: [phase(100, 35), phase(60, 350)],
      events: [{ at: 99, event: 'router-silent' }],
    });
    expect(at(growing, 159).replicas).toBeGreaterThan(at(growing, 99).replicas);
  });
});

describe('decide', () => {
  const demand = (fields: Partial<ModelDemand> = {}): ModelDemand => ({ ...NO_DEMAND, ...fields });
  const router = (fields?: Partial<ModelDemand>, rest: Partial<RouterDemand> = {}): RouterDemand => ({
    id: 'r',
    reachable: true,
    instance: 'i',
    demand: fields && demand(fields),
    ...rest,
  });
  const run = (state: ScalerState, routers: readonly RouterDemand[], replicas: number, now: number) =>
    decide(state, { routers, replicas, starting: false, progressing: false }, SETTINGS, now);

  test('an activation outlives the client that caused it', () => {
    const first = run(newScaler(0), [router()], 0, 0);
    const gone = { offeredRequests: 1, completedRequests: 1, activations: 1 };
    expect(run(first.state, [router(gone)], 0, 1000).replicas).toBe(1);
  });

  test('old counters of a router met for the first time are not demand', () => {
    const old = { offeredTokens: 1e9, completedTokens: 1e9, offeredRequests: 5, completedRequests: 5, activations: 3 };
    expect(run(newScaler(0), [router(old)], 0, 0).replicas).toBe(0);
  });

  test('of a router that ends, and is met while it does, only what waits is demand', () => {
    const old = { offeredTokens: 1e9, completedTokens: 1e9, offeredRequests: 5, completedRequests: 5, activations: 3 };
    const others = [router()];
    const warm = run(newScaler(0), others, 0, 0);
    const ends = (fields: Partial<ModelDemand>) => [
      ...others,
      router(fields, { id: 'e', instance: 'e', leaving: true }),
    ];
    const met = run(warm.state, ends(old), 0, 1000);
    expect(met.replicas).toBe(0);
    const holds = { ...old, offeredRequests: 6, queuedRequests: 1 };
    expect(run(warm.state, ends(holds), 0, 1000).replicas).toBe(1);
    // A newcomer's counters are new demand.
    expect(run(warm.state, [...others, router(old, { id: 'n', instance: 'n' })], 0, 1000).replicas).toBe(1);
  });

  test('a router process that started anew begins from zero', () => {
    const first = run(newScaler(0), [router({ offeredRequests: 9, completedRequests: 9 })], 0, 0);
    const anew = router({ offeredRequests: 1, completedRequests: 1, activations: 1 }, { instance: 'j' });
    expect(run(first.state, [anew], 0, 1000).replicas).toBe(1);
  });

  test('nothing shrinks without routers, or before one has spoken', () => {
    for (const routers of [[], [{ id: 'r', reachable: false, instance: undefined, demand: undefined }]])
      expect(run(newScaler(0), routers, 3, 1e9).replicas).toBe(3);
  });

  test('limits hold at once, whatever the demand', () => {
    const low = { ...SETTINGS, minReplicas: 2 };
    expect(
      decide(newScaler(0), { routers: [router()], replicas: 0, starting: false, progressing: false }, low, 0).replicas,
    ).toBe(2);
    const high = { ...SETTINGS, maxReplicas: 2 };
    expect(
      decide(newScaler(0), { routers: [router()], replicas: 5, starting: false, progressing: false }, high, 0).replicas,
    ).toBe(2);
  });

  test('the words stand until the number changes', () => {
    const first = run(newScaler(0), [router({ queuedRequests: 1, activations: 1 })], 0, 0);
    const second = run(first.state, [router({ queuedRequests: 7, activations: 7 })], 1, 1000);
    expect(second.reason).toBe(first.reason);
  });

  test('one huge request is a backlog to work off, not a rate', () => {
    const known = run(newScaler(0), [router({ capacityTokensPerSecond: 5000 })], 1, 0);
    const huge = { offeredTokens: 400_000, offeredRequests: 1, capacityTokensPerSecond: 5000 };
    // 400,000 tokens in 10 s at 3,500 tokens/s each: 11.4, and the steady rate on top.
    expect(run(known.state, [router(huge)], 1, 20_000).replicas).toBe(18);
    const soon = run(known.state, [router({ ...huge, offeredTokens: 4000 })], 1, 1000);
    expect(soon.replicas).toBe(2);
  });

  test('memory per model is bounded', () => {
    let state = newScaler(0);
    let offeredTokens = 0;
    for (let second = 0; second < 2000; second++) {
      offeredTokens += second % 7;
      ({ state } = run(state, [router({ offeredTokens, completedTokens: offeredTokens })], 1, second * 1000));
    }
    expect(state.points.length).toBeLessThan(30);
    expect(state.wants.length).toBeLessThan(200);
  });

  test('always within the limits, never a fraction, never below one while there is demand', () => {
    const readings = fc.array(
      fc.record({
        tokens: fc.nat(1e6),
        held: fc.nat(3),
        silent: fc.boolean(),
        gap: fc.nat(400_000),
        replicas: fc.nat(12),
      }),
      { maxLength: 20 },
    );
    const limits = { ...SETTINGS, minReplicas: 0, maxReplicas: 10 };
    fc.assert(
      fc.property(readings, (all) => {
        let state = newScaler(0);
        let now = 0;
        let offeredTokens = 0;
        for (const { tokens, held, silent, gap, replicas } of all) {
          now += gap;
          offeredTokens += tokens;
          const said = router(
            { offeredTokens, queuedRequests: held, capacityTokensPerSecond: 5000 },
            { reachable: !silent },
          );
          const decided = decide(
            state,
            { routers: [said], replicas, starting: false, progressing: false },
            limits,
            now,
          );
          ({ state } = decided);
          expect(Number.isInteger(decided.replicas)).toBe(true);
          expect(decided.replicas).toBeLessThanOrEqual(10);
          if (held > 0 && !silent) expect(decided.replicas).toBeGreaterThanOrEqual(1);
          if (silent) expect(decided.replicas).toBeGreaterThanOrEqual(Math.min(replicas, 10));
        }
      }),
    );
  });
});
