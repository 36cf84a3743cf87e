import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createStartupProber, dueOf } from './startup.ts';
import type { Asked, StartupProber, WaitedModel } from './startup.ts';

describe('who is asked next', () => {
  const candidate = fc.record({
    asked: fc.option(fc.record({ atMs: fc.nat(1000), isUnderWay: fc.boolean() }), { nil: undefined }),
  });

  it('never asks twice at once or too soon, and few at a time', () => {
    fc.assert(
      fc.property(fc.array(candidate, { maxLength: 200 }), fc.nat(1000), fc.nat(200), (candidates, nowMs, underWay) => {
        const due = dueOf(candidates, nowMs, underWay);
        expect(due.length).toBeLessThanOrEqual(Math.max(0, Math.min(16, 128 - underWay)));
        for (const { asked } of due) {
          if (asked !== undefined) expect([asked.isUnderWay, nowMs - asked.atMs >= 30]).toEqual([false, true]);
        }
      }),
    );
  });

  it('asks every one in turn, however many there are and though some never answer', () => {
    const all: { asked: Asked | undefined; readonly at: number }[] = Array.from({ length: 150 }, (_, at) => ({
      asked: undefined,
      at,
    }));
    const seen = new Set<number>();
    for (let nowMs = 0; nowMs < 30 * 30; nowMs += 30) {
      const underWay = all.filter(({ asked }) => asked?.isUnderWay).length;
      for (const one of dueOf(all, nowMs, underWay)) {
        seen.add(one.at);
        one.asked = { atMs: nowMs, isUnderWay: one.at % 10 === 0 };
      }
    }
    expect(seen.size).toBe(150);
  });
});

describe('the startup prober', () => {
  let prober: StartupProber;
  let probes: string[];
  let ready: Set<string>;
  beforeEach(() => {
    vi.useFakeTimers({ now: 0 });
    probes = [];
    ready = new Set();
    prober = createStartupProber({
      now: () => Date.now(),
      probe: async (origin) => {
        probes.push(origin);
        return ready.has(origin);
      },
    });
  });
  afterEach(() => {
    prober.stop();
    vi.useRealTimers();
  });

  const modelOf = (...ids: readonly string[]) => {
    const state = { waiting: 1, admitted: [] as string[] };
    const model: WaitedModel = {
      queue: { size: () => state.waiting },
      starting: () => ids.filter((id) => !state.admitted.includes(id)).map((id) => ({ id, origin: `http://${id}` })),
      admit: (id) => void state.admitted.push(id),
    };
    return { state, model };
  };

  it('asks again and again while somebody waits, and admits whoever says yes, once', async () => {
    const { state, model } = modelOf('a:80', 'b:80');
    prober.watch(model);
    await vi.advanceTimersByTimeAsync(300);
    expect(probes.filter((origin) => origin === 'http://a:80').length).toBeGreaterThan(5);
    expect(state.admitted).toEqual([]);
    ready.add('http://b:80');
    await vi.advanceTimersByTimeAsync(300);
    expect(state.admitted).toEqual(['b:80']);
    state.waiting = 0;
    await vi.advanceTimersByTimeAsync(60);
    const asked = probes.length;
    await vi.advanceTimersByTimeAsync(1000);
    expect(probes.length).toBe(asked);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('begins anew when somebody waits again', async () => {
    const { state, model } = modelOf('a:80');
    prober.watch(model);
    state.waiting = 0;
    await vi.advanceTimersByTimeAsync(100);
    expect(probes).toEqual([]);
    state.waiting = 2;
    prober.watch(model);
    await vi.advanceTimersByTimeAsync(100);
    expect(probes.length).toBeGreaterThan(1);
  });
});
