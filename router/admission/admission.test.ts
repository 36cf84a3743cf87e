import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createDemandBook } from './demand.ts';
import { createHold, HoldError } from './hold.ts';
import type { Gone, Waiter } from './hold.ts';
import { mayUse, parseKeys } from './keys.ts';
import { fullBudget, printDuration, refill, take, waitMs } from './rate.ts';

const goneWith = (signal: AbortSignal): Gone => ({
  on: (listener) => signal.addEventListener('abort', listener),
  off: (listener) => signal.removeEventListener('abort', listener),
});

describe('hold', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const limits = { maxRequests: 3, maxBytes: 100, maxMs: 1000 };
  const waiter = (taken: () => string | undefined, more: Partial<Waiter<string>> = {}): Waiter<string> => ({
    lane: 'interactive',
    bytes: 10,
    maxMs: 5000,
    gone: goneWith(new AbortController().signal),
    take: taken,
    ...more,
  });

  it('lets waiters out first come, first served, as many as can take', async () => {
    let free = 0;
    const hold = createHold<string>({ ...limits, maxRequests: 10 });
    const order: number[] = [];
    const enter = (at: number): Promise<unknown> =>
      Promise.resolve(hold.enter(waiter(() => (free > 0 ? String((free -= 1)) : undefined)))).then(() =>
        order.push(at),
      );
    const all = [0, 1, 2, 3].map(enter);
    free = 2;
    hold.pump();
    await Promise.all(all.slice(0, 2));
    expect([order, hold.size()]).toEqual([[0, 1], 2]);
    // A newcomer does not overtake those who wait.
    free = 1;
    void enter(4);
    expect([hold.size(), free]).toEqual([3, 1]);
    free = 3;
    hold.pump();
    await Promise.all(all);
    expect(order.slice(0, 4)).toEqual([0, 1, 2, 3]);
  });

  it('lets interactive requests past bulk ones that cannot go yet', async () => {
    const free = { interactive: 0, bulk: 0 };
    const hold = createHold<string>(limits);
    const order: string[] = [];
    const enter = (lane: 'interactive' | 'bulk'): unknown =>
      Promise.resolve(
        hold.enter(waiter(() => (free[lane] > 0 ? String((free[lane] -= 1)) : undefined), { lane })),
      ).then(() => order.push(lane));
    const all = [enter('bulk'), enter('bulk'), enter('interactive')];
    free.interactive = 1;
    hold.pump();
    await all[2];
    free.bulk = 2;
    hold.pump();
    await Promise.all(all);
    expect(order).toEqual(['interactive', 'bulk', 'bulk']);
  });

  it('is bounded in requests and in bytes', () => {
    const hold = createHold<string>(limits);
    const wait = (bytes: number): unknown => hold.enter(waiter(() => undefined, { bytes }));
    const full = (bytes: number): void => expect(() => wait(bytes)).toThrow(HoldError);
    const waits = [wait(50), wait(40)];
    full(20);
    waits.push(wait(10));
    full(0);
    for (const one of waits) (one as Promise<unknown>).catch(() => undefined);
  });

  it('is bounded in time, the waiter’s own deadline included', async () => {
    const hold = createHold<string>(limits);
    const own = Promise.resolve(hold.enter(waiter(() => undefined, { maxMs: 300 }))).catch((error: unknown) => error);
    const room = Promise.resolve(hold.enter(waiter(() => undefined))).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(300);
    expect([await own, hold.size()]).toEqual([new HoldError('timeout'), 1]);
    await vi.advanceTimersByTimeAsync(700);
    expect([await room, hold.size()]).toEqual([new HoldError('timeout'), 0]);
  });

  it('never takes for one who left, whatever comes in whatever order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('enter', 'leave', 'free', 'late'), { maxLength: 40 }),
        async (steps) => {
          let free = 0;
          let taken = 0;
          let served = 0;
          const clients: AbortController[] = [];
          const hold = createHold<string>({ ...limits, maxRequests: 5 });
          const enter = async (): Promise<void> => {
            const client = new AbortController();
            clients.push(client);
            const one = waiter(
              () => {
                if (free === 0) return undefined;
                free -= 1;
                taken += 1;
                return 'slot';
              },
              { gone: goneWith(client.signal) },
            );
            try {
              await hold.enter(one);
              served += 1;
            } catch (error) {
              expect(error).toBeInstanceOf(HoldError);
            }
          };
          const act = {
            enter: () => void enter(),
            leave: () => clients.shift()?.abort(),
            free: () => {
              free += 1;
              hold.pump();
            },
            late: () => vi.advanceTimersByTime(400),
          };
          for (const step of steps) act[step]();
          await vi.advanceTimersByTimeAsync(2000);
          expect(served).toBe(taken);
          expect(hold.size()).toBe(0);
        },
      ),
    );
  });
});

describe('demand book', () => {
  const book = () => {
    const time = { now: 0 };
    const woken: string[] = [];
    const demand = createDemandBook({ instance: 'i', now: () => time.now, onWake: (model) => woken.push(model) });
    const read = () => demand.snapshot(() => ({ heldRequests: 0, capacityTokensPerSecond: undefined }));
    return { time, woken, demand, read };
  };

  it('wakes a model once however many ask, again only when nobody waited and time has passed', () => {
    const { time, woken, demand } = book();
    demand.wake('m', 0);
    for (let held = 1; held < 1000; held += 1) demand.wake('m', held);
    expect(woken).toHaveLength(1);
    time.now = 9_999;
    demand.wake('m', 0);
    expect(woken).toHaveLength(1);
    time.now = 20_000;
    demand.wake('m', 5);
    expect(woken).toHaveLength(1);
    demand.wake('m', 0);
    expect(woken).toHaveLength(2);
    time.now = 21_500;
    expect(demand.awake('m')).toBe(1500);
    expect(demand.awake('m')).toBeUndefined();
    demand.wake('m', 0);
    expect(woken).toHaveLength(3);
  });

  it('only ever counts up, numbers its lines, and forgets removed models', () => {
    const { demand, read } = book();
    demand.offer('m', 10);
    demand.offer('m', 5);
    demand.complete('m', 10);
    expect(read()).toEqual({
      instance: 'i',
      sequence: 1,
      models: {
        m: {
          offeredTokens: 15,
          completedTokens: 10,
          offeredRequests: 2,
          completedRequests: 1,
          activations: 0,
          heldRequests: 0,
        },
      },
    });
    demand.forget('m');
    demand.complete('m', 5);
    expect(read()).toEqual({ instance: 'i', sequence: 2, models: {} });
  });
});

describe('rate', () => {
  it('never lets more through than the limit and what refilled', () => {
    const step = fc.tuple(fc.integer({ min: 0, max: 5000 }), fc.integer({ min: 1, max: 40 }));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.array(step), (perMinute, steps) => {
        let budget = fullBudget(perMinute, 0);
        let now = 0;
        let passed = 0;
        for (const [pause, amount] of steps) {
          now += pause;
          budget = refill(budget, perMinute, now);
          const next = take(budget, perMinute, amount);
          if (next) passed += amount;
          else expect(waitMs(budget, perMinute, amount)).toBeGreaterThan(0);
          budget = next ?? budget;
        }
        // One request larger than the whole limit may overdraw a full budget.
        expect(passed).toBeLessThanOrEqual(perMinute + (perMinute * now) / 60_000 + 40);
      }),
    );
  });

  it.each([
    [12.2, '13ms'],
    [1000, '1s'],
    [59_001, '1m0s'],
    [360_000, '6m0s'],
  ])('prints %d ms as %s', (ms, text) => {
    expect(printDuration(ms)).toBe(text);
  });
});

describe('keys', () => {
  const hash = 'A'.repeat(64);

  it('reads hashes and what they may use', () => {
    const keys = parseKeys(
      `keys: [{name: a, sha256: ${hash}, models: [org/m]}, {name: b, sha256: '${'1'.repeat(64)}'}]`,
    );
    const key = keys.get(hash.toLowerCase());
    expect(key && mayUse(key, ['org/m', 'alias'])).toBe(true);
    expect(key && mayUse(key, ['org/other'])).toBe(false);
  });

  it.each(['keys: 3', 'keys: [{name: a, sha256: short}]', `keys: [{name: a, sha256: ${hash}, modles: [x]}]`])(
    'refuses %s and does not repeat it',
    (text) => {
      expect(() => parseKeys(text)).toThrow();
      expect(() => parseKeys(text)).not.toThrow(hash);
    },
  );
});
