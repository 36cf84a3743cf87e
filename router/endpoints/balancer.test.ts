import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { choose, createBalancer, FIRST_LIMIT, nextLimit, notePace, score, slownessOf, spareOf } from './balancer.ts';
import type { Candidate, ChooseOptions, Endpoint, Pace } from './balancer.ts';
import type { Attempt, Outcome } from './client.ts';

const idle = (id: string, more: Partial<Candidate> = {}): Candidate => ({
  id,
  outstandingTokens: 0,
  inFlight: 0,
  limit: 256,
  ageMs: 1e9,
  slowness: 1,
  ejected: false,
  ...more,
});

const options = (more: Partial<ChooseOptions> = {}): ChooseOptions => ({
  draws: [0.3, 0.7],
  tokens: 10,
  slowStartMs: 10_000,
  tried: new Set(),
  thorough: false,
  ...more,
});

const draw = fc.double({ min: 0, max: 0.999999, noNaN: true });
const candidates = fc.uniqueArray(
  fc.record({
    id: fc.string({ minLength: 1, maxLength: 3 }),
    outstandingTokens: fc.nat(10_000),
    inFlight: fc.nat(8),
    limit: fc.integer({ min: 1, max: 8 }),
    ageMs: fc.nat(20_000),
    slowness: fc.double({ min: 1, max: 20, noNaN: true }),
    ejected: fc.boolean(),
  }),
  { selector: ({ id }) => id, maxLength: 6 },
);

describe('the spare', () => {
  it('is the one with most to do, where two others are left to split over', () => {
    const [a, b, c] = [idle('a', { outstandingTokens: 5 }), idle('b', { outstandingTokens: 9 }), idle('c')];
    expect(spareOf([a, b, c])).toBe(b);
    expect([spareOf<Candidate>([]), spareOf([a, b])]).toEqual([undefined, undefined]);
  });
});

describe('choose', () => {
  it('never picks a tried, capped, or needlessly an ejected endpoint', () => {
    fc.assert(
      fc.property(candidates, draw, draw, fc.array(fc.string({ maxLength: 3 })), (all, a, b, ids) => {
        const tried = new Set([...ids, ...all.slice(0, 1).map(({ id }) => id)]);
        const picked = choose(all, options({ draws: [a, b], tried }));
        const untried = all.filter(({ id }) => !tried.has(id));
        if (picked === undefined) {
          // Nothing was free: none at all, or all of those that it may go to at their cap.
          const healthy = untried.filter(({ ejected }) => !ejected);
          const open = healthy.length > 0 ? healthy : untried;
          expect(open.every(({ inFlight, limit }) => inFlight >= limit)).toBe(true);
          return;
        }
        expect(tried.has(picked.id)).toBe(false);
        expect(picked.inFlight).toBeLessThan(picked.limit);
        if (picked.ejected) expect(untried.every(({ ejected }) => ejected)).toBe(true);
      }),
    );
  });

  it('with two candidates takes the better, whatever is drawn', () => {
    fc.assert(
      fc.property(draw, draw, (a, b) => {
        const pair = [idle('busy', { outstandingTokens: 50 }), idle('free')];
        expect(choose(pair, options({ draws: [a, b] }))?.id).toBe('free');
      }),
    );
  });

  it('spreads equal candidates evenly', () => {
    const three = [idle('a'), idle('b'), idle('c')];
    const counts = new Map<string, number>();
    for (let step = 0; step < 300; step += 1) {
      const choice = choose(three, options({ draws: [(step % 30) / 30, (step % 7) / 7] }));
      if (choice) counts.set(choice.id, (counts.get(choice.id) ?? 0) + 1);
    }
    expect([...counts.values()]).toEqual([100, 100, 100]);
  });

  it('eases a fresh endpoint in: it must be ten times as free at first, equal at the end', () => {
    const request = options();
    expect(score(idle('new', { ageMs: 0 }), request)).toBeCloseTo(100);
    expect(score(idle('new', { ageMs: 5000 }), request)).toBeCloseTo(20);
    expect(score(idle('new', { ageMs: 10_000 }), request)).toBe(score(idle('old'), request));
  });

  it('avoids an outlier while a peer has less than its multiple of work', () => {
    const pair = [idle('slow', { slowness: 10 }), idle('normal', { outstandingTokens: 80 })];
    expect(choose(pair, options())?.id).toBe('normal');
    const swamped = [idle('slow', { slowness: 10 }), idle('normal', { outstandingTokens: 95 })];
    expect(choose(swamped, options())?.id).toBe('slow');
  });
});

describe('slowness', () => {
  const after = (tookMs: number): Pace => notePace(undefined, { tookMs, tokensAhead: 64 }, 0);

  it('marks the one outlier and forgives it with time', () => {
    const paces = [after(10), after(11), after(100), after(9), undefined];
    expect(slownessOf(paces, 0)).toEqual([1, 1, expect.closeTo(10, 0), 1, 1]);
    expect(slownessOf(paces, 60_000)).toEqual([1, 1, 1, 1, 1]);
  });

  it('finds the slow one of two, and nothing when there is one', () => {
    expect(slownessOf([after(100), after(10)], 0)[0]).toBeGreaterThan(5);
    expect(slownessOf([after(100)], 0)).toEqual([1]);
  });
});

describe('cap', () => {
  const quiet = { refused: false, inFlight: 0, queueMs: 0 };

  it('shrinks below what is in flight while backlog is long, grows again when it is short', () => {
    const busy = { refused: false, inFlight: 100, queueMs: 9000 };
    expect(nextLimit(FIRST_LIMIT, busy)).toBe(80);
    expect(nextLimit(80, { ...busy, queueMs: 100, inFlight: 60 })).toBe(81);
    expect(nextLimit(FIRST_LIMIT, { ...quiet, inFlight: 10, refused: true })).toBe(8);
  });

  it('stays within its bounds, and comes back to the start when idle', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(3000))), (history) => {
        let limit = FIRST_LIMIT;
        for (const [refused, inFlight] of history) limit = nextLimit(limit, { refused, inFlight, queueMs: 0 });
        expect(limit).toBeGreaterThanOrEqual(4);
        expect(limit).toBeLessThanOrEqual(1024);
        for (let step = 0; step < FIRST_LIMIT; step += 1) limit = nextLimit(limit, quiet);
        expect(limit).toBeGreaterThanOrEqual(FIRST_LIMIT);
      }),
    );
  });
});

describe('the balancer', () => {
  const A = { id: 'a:80', origin: 'http://a:80' };
  const B = { id: 'b:80', origin: 'http://b:80' };
  const setUp = () => {
    const endpoints = new Set<Endpoint>();
    const closed: string[] = [];
    const balancer = createBalancer({
      now: () => 0,
      random: () => 0,
      slowStartMs: 0,
      endpoints,
      onBusy: () => undefined,
      onEject: () => undefined,
      onFree: () => undefined,
      connect: (origin) => ({
        send: () => expect.fail('the test sends'),
        probe: async () => true,
        close: () => closed.push(origin),
        destroy: () => undefined,
      }),
    });
    const reserve = () =>
      balancer.reserve({ priority: 'interactive', tokens: 5, tried: new Set(), thorough: false }) ?? expect.fail();
    return { balancer, endpoints, closed, reserve };
  };
  const attemptWith = (outcome: Promise<Outcome>): Attempt => ({ outcome, abort: () => undefined });
  const load = (endpoints: Iterable<Endpoint>) =>
    [...endpoints].map(({ loads, outstandingTokens, running }) => [
      loads.interactive.inFlight,
      outstandingTokens,
      running.size,
    ]);

  it('gives a place back whatever becomes of the attempt, also of one that cannot even start', async () => {
    const { balancer, endpoints, reserve } = setUp();
    balancer.update([A]);
    const failed = { kind: 'failed', failure: 'reset', cause: undefined } as const;
    expect(await balancer.run(reserve(), () => attemptWith(Promise.resolve(failed)))).toBe(failed);
    const unfit = new Error('cannot be sent');
    await expect(balancer.run(reserve(), () => attemptWith(Promise.reject(unfit)))).rejects.toBe(unfit);
    const broken = (): Attempt => {
      throw unfit;
    };
    await expect(balancer.run(reserve(), broken)).rejects.toBe(unfit);
    expect(load(endpoints)).toEqual([[0, 0, 0]]);
  });

  it('closes what left the table once its last request has ended, and knows nothing of it when it returns', async () => {
    const { balancer, endpoints, closed, reserve } = setUp();
    balancer.update([A]);
    const [old] = endpoints;
    old!.signal('unreachable');
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    const running = balancer.run(reserve(), () => attemptWith(promise));
    balancer.update([B]);
    expect([closed, endpoints.size, balancer.inFlight()]).toEqual([[], 2, 0]);
    resolve({ kind: 'answer', status: 200, headers: {}, chunks: [], headAtMs: 0 });
    await running;
    expect([closed, endpoints.size]).toEqual([[A.origin], 1]);
    balancer.update([A]);
    expect([closed, balancer.healthy()]).toEqual([[A.origin, B.origin], 1]);
  });
});
