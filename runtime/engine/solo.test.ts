import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Pool } from './pool.ts';
import { createComparison, createHabit, createSolo } from './solo.ts';
import type { Habit, SoloEvent } from './solo.ts';

describe('habit', () => {
  /** Runs of one kind, one each 50 ms, from `fromMs` to `toMs`; what was first asked for, and when. */
  function runs(habit: Habit, alone: boolean, fromMs: number, toMs: number) {
    for (let nowMs = fromMs; nowMs <= toMs; nowMs += 50) {
      const asked = habit.ran(alone, nowMs);
      if (asked !== undefined) return [asked, nowMs];
    }
    return undefined;
  }

  it('wants all cores once texts have come one at a time for a while, and no longer once requests have competed as long', () => {
    const habit = createHabit();
    expect(runs(habit, true, 0, 1000)).toEqual([true, 300]);
    habit.replaced(true, 10);
    expect(runs(habit, true, 1000, 2000)).toBeUndefined();
    expect(runs(habit, false, 2000, 3000)).toEqual([false, 2300]);
    habit.replaced(false, 10);
    expect(runs(habit, false, 3000, 4000)).toBeUndefined();
  });

  it('does not change for a moment', () => {
    const habit = createHabit();
    for (let second = 0; second < 5; second++) {
      expect(runs(habit, true, second * 1000, second * 1000 + 200)).toBeUndefined();
      expect(runs(habit, false, second * 1000 + 250, second * 1000 + 950)).toBeUndefined();
    }
  });

  it('is not made by a text an hour', () => {
    const habit = createHabit();
    expect(habit.ran(true, 0)).toBeUndefined();
    expect(habit.ran(true, 3_600_000)).toBeUndefined();
    expect(habit.ran(true, 7_200_000)).toBe(true);
  });

  it('is the slower to change the more a change costs', () => {
    const habit = createHabit();
    runs(habit, true, 0, 1000);
    habit.replaced(true, 2000);
    expect(runs(habit, false, 10_000, 20_000)).toEqual([false, 16_000]);
  });

  it('is not made slow for long by one change in a bad moment', () => {
    const habit = createHabit();
    runs(habit, true, 0, 1000);
    habit.replaced(true, 200);
    runs(habit, false, 10_000, 20_000);
    habit.replaced(false, 5000);
    expect(runs(habit, true, 30_000, 40_000)).toEqual([true, 30_600]);
  });

  it('waits a minute after a change that the worker died of', () => {
    const habit = createHabit();
    runs(habit, true, 0, 1000);
    habit.failed();
    expect(runs(habit, true, 1000, 120_000)).toEqual([true, 61_000]);
  });
});

/** A number in [0, 1) for each call: the same for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe('comparison', () => {
  const TOKENS = 20;

  interface Machine {
    /** Of a run on one worker's cores. */
    readonly oneMs: number;
    readonly allMs: (nowMs: number) => number;
    /** Run time is multiplied by 1 to 1 + this. */
    readonly noise?: number;
    readonly seed?: number;
    /** Between two lone texts. */
    readonly pauseMs?: number;
  }

  /** A lone client that asks again as soon as it is answered; when lone texts ran on all cores, and when that was stopped. */
  function serve(machine: Machine, forMs: number, comparison = createComparison(), fromMs = 0) {
    const { oneMs, allMs, noise = 0, seed = 1, pauseMs = 1 } = machine;
    const random = randomFrom(seed);
    const stops: { readonly atMs: number; readonly pauseMs: number }[] = [];
    const counts = { solo: 0, one: 0 };
    for (let nowMs = fromMs; nowMs < fromMs + forMs;) {
      const solo = comparison.prefersSolo(TOKENS, nowMs);
      counts[solo ? 'solo' : 'one']++;
      const ms = (solo ? allMs(nowMs) : oneMs) * (1 + noise * random());
      nowMs += ms;
      const stoppedMs = comparison.ran({ tokens: TOKENS, solo, ms }, nowMs);
      if (stoppedMs !== undefined) stops.push({ atMs: nowMs, pauseMs: stoppedMs });
      nowMs += pauseMs;
    }
    return { stops, counts };
  }

  const HOUR_MS = 3_600_000;

  it('runs all but a few texts on all cores where that is faster, for ever', () => {
    const { stops, counts } = serve({ oneMs: 8, allMs: () => 5, noise: 0.5 }, HOUR_MS);
    expect(stops).toEqual([]);
    expect(counts.one).toBeGreaterThan(100);
    expect(counts.one / (counts.one + counts.solo)).toBeLessThan(0.01);
  });

  it('stops where all cores are clearly slower, tries again, and waits twice as long each time, up to ten minutes', () => {
    const { stops } = serve({ oneMs: 8, allMs: () => 12, noise: 0.1 }, HOUR_MS);
    expect(stops.map(({ pauseMs }) => pauseMs / 1000).slice(0, 7)).toEqual([30, 60, 120, 240, 480, 600, 600]);
    expect(stops[0]!.atMs).toBeLessThan(30_000);
    for (const [index, { atMs, pauseMs }] of stops.slice(0, -1).entries()) {
      const triedForMs = stops[index + 1]!.atMs - atMs - pauseMs;
      expect(triedForMs).toBeGreaterThan(0);
      expect(triedForMs).toBeLessThan(15_000);
    }
  });

  it('is never stopped by what lasts less than ten seconds, be it at start or later', () => {
    for (const fromMs of [0, 60_000]) {
      const allMs = (nowMs: number): number => (nowMs >= fromMs && nowMs < fromMs + 10_000 ? 40 : 5);
      expect(serve({ oneMs: 8, allMs, noise: 0.3 }, HOUR_MS / 6).stops).toEqual([]);
    }
  });

  it('concludes nothing in the first twenty seconds, whatever the times', () => {
    const times = fc.record({ oneMs: fc.integer({ min: 1, max: 100 }), all: fc.integer({ min: 1, max: 100 }) });
    fc.assert(
      fc.property(times, fc.nat(), ({ oneMs, all }, seed) => {
        const { stops, counts } = serve({ oneMs, allMs: () => all, noise: 3, seed }, 20_000);
        expect(stops).toEqual([]);
        expect(counts.solo).toBeGreaterThan(counts.one);
      }),
      { numRuns: 50 },
    );
  });

  it('stays on all cores beside a neighbour that takes a core: a tenth slower on average, now half as fast, now faster', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = randomFrom(seed * 7919);
      const allMs = (): number => 4.5 + 6 * random();
      expect(serve({ oneMs: 6.7, allMs, noise: 0.1, seed }, 120_000).stops).toEqual([]);
    }
  });

  it('whatever the noise: stops soon where all cores take twice as long, and hardly ever where they take half', () => {
    fc.assert(
      fc.property(fc.nat(), fc.double({ min: 0, max: 1, noNaN: true }), (seed, noise) => {
        expect(serve({ oneMs: 8, allMs: () => 16, noise, seed }, 120_000).stops.length).toBeGreaterThan(0);
        expect(serve({ oneMs: 8, allMs: () => 4, noise, seed }, 600_000).stops).toEqual([]);
      }),
      { numRuns: 20 },
    );
  });

  it('forgives: after a bad time all texts run on all cores again, and the next stop is a short one', () => {
    const comparison = createComparison();
    const slow = serve({ oneMs: 8, allMs: () => 16 }, 300_000, comparison);
    expect(slow.stops.length).toBeGreaterThan(2);
    const restMs = slow.stops.at(-1)!.atMs + slow.stops.at(-1)!.pauseMs;
    const well = serve({ oneMs: 8, allMs: () => 5 }, 600_000, comparison, restMs);
    expect(well.stops).toEqual([]);
    expect(well.counts.solo).toBeGreaterThan(well.counts.one * 50);
    const again = serve({ oneMs: 8, allMs: () => 16 }, 60_000, comparison, restMs + 600_000);
    expect(again.stops[0]!.pauseMs).toBe(30_000);
  });

  it('judges each length by itself', () => {
    const comparison = createComparison();
    serve({ oneMs: 8, allMs: () => 16 }, 25_000, comparison);
    expect(comparison.prefersSolo(TOKENS, 26_000)).toBe(false);
    expect(comparison.prefersSolo(TOKENS * 4, 26_000)).toBe(true);
    expect(comparison.prefersSolo(TOKENS, 26_000 + 60_000)).toBe(true);
  });

  it('compares nothing with times of before', () => {
    const comparison = createComparison();
    serve({ oneMs: 8, allMs: () => 16 }, 9000, comparison);
    comparison.forgetTimes();
    for (let text = 0; text < 100; text++) {
      expect(comparison.prefersSolo(TOKENS, 20_000 + text * 1000)).toBe(true);
      comparison.ran({ tokens: TOKENS, solo: true, ms: 5 }, 20_000 + text * 1000);
    }
    expect(comparison.prefersSolo(TOKENS, 200_000)).toBe(false);
  });
});

describe('solo mode', () => {
  type Outcome = Awaited<ReturnType<Pool['replaceSession']>>;

  function setUp() {
    let nowMs = 0;
    const asked: number[] = [];
    const events: SoloEvent[] = [];
    let answer: (outcome: Outcome) => void = () => undefined;
    const solo = createSolo({
      pool: {
        replaceSession: (threads) => {
          asked.push(threads);
          return new Promise((resolve) => (answer = resolve));
        },
      },
      threads: { solo: 4, shared: 1 },
      now: () => nowMs,
      onEvent: (event) => events.push(event),
    });
    /** Of one kind, until the worker is asked to change. */
    const runs = (alone: boolean): void => {
      const before = asked.length;
      for (let run = 0; run < 40 && asked.length === before; run++, nowMs += 50) {
        solo.ran({ alone, solo: alone && solo.takes(20, nowMs), tokens: 20 }, 5);
      }
    };
    const settle = async (outcome: Outcome): Promise<void> => {
      answer(outcome);
      await new Promise((resolve) => setImmediate(resolve));
    };
    return { solo, runs, settle, asked, events, takes: () => solo.takes(20, nowMs) };
  }

  it('gives the first worker all cores and takes them back, once for each change of habit', async () => {
    const { runs, settle, asked, takes } = setUp();
    expect(takes()).toBe(false);
    runs(true);
    expect([asked, takes()]).toEqual([[4], false]);
    await settle('done');
    expect(takes()).toBe(true);
    runs(true);
    runs(false);
    expect([asked, takes()]).toEqual([[4, 1], false]);
    await settle('done');
    expect(takes()).toBe(false);
  });

  it('leaves everything as it was when the worker is busy, and asks again', async () => {
    const { runs, settle, asked, takes } = setUp();
    runs(true);
    await settle('done');
    runs(false);
    runs(false);
    await settle('busy');
    expect(takes()).toBe(true);
    runs(false);
    expect(asked).toEqual([4, 1, 1]);
  });

  it('knows that a worker that died of it has its own threads again, and tries again after a minute at the earliest', async () => {
    const { solo, runs, settle, asked, takes } = setUp();
    runs(true);
    solo.reset();
    await settle('died');
    expect(takes()).toBe(false);
    runs(true);
    expect(asked).toEqual([4]);
    for (let seconds = 2; seconds <= 60; seconds += 2) runs(true);
    expect(asked).toEqual([4, 4]);
  });

  it('says when it stops: lone texts that are slower on all cores run on one worker for a while, and its session stays', async () => {
    let nowMs = 0;
    const events: SoloEvent[] = [];
    const replaceSession = () => Promise.resolve('done' as const);
    const threads = { solo: 2, shared: 1 };
    const solo = createSolo({
      pool: { replaceSession },
      threads,
      now: () => nowMs,
      onEvent: (event) => events.push(event),
    });
    while (nowMs < 40_000) {
      const isSolo = solo.takes(20, nowMs);
      nowMs += isSolo ? 20 : 10;
      solo.ran({ alone: true, solo: isSolo, tokens: 20 }, isSolo ? 20 : 10);
      await Promise.resolve();
    }
    expect(events.map(({ kind }) => kind)).toEqual(['session-replaced', 'solo-stopped']);
    expect(events[1]).toEqual({ kind: 'solo-stopped', tokens: 20, pauseMs: 30_000 });
  });
});
