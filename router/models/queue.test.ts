import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createActivationQueue, QueueError } from './queue.ts';
import type { Waiter } from './queue.ts';

describe('the activation queue', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const limits = { maxRequests: 3, maxBytes: 100, maxMs: 1000 };
  const waiter = (taken: () => string | undefined, more: Partial<Waiter<string>> = {}): Waiter<string> => ({
    priority: 'interactive',
    bytes: 10,
    signal: new AbortController().signal,
    take: taken,
    ...more,
  });

  it('keeps a share of its room from bulk work, and counts those who wait for another', async () => {
    const queue = createActivationQueue<string>({ ...limits, maxRequests: 16, maxBytes: 1600 });
    const leaving = new AbortController();
    const enter = (priority: 'interactive' | 'bulk', bytes = 10): Promise<unknown> =>
      queue
        .enter(waiter(() => undefined, { priority, bytes, signal: leaving.signal }))
        .catch((error: unknown) => error);
    const waiting = Array.from({ length: 13 }, () => enter('bulk'));
    const leave = queue.follow({ priority: 'bulk', bytes: 10 });
    expect(await enter('bulk')).toMatchObject({ why: 'full' });
    expect(() => queue.follow({ priority: 'bulk', bytes: 1 })).toThrow(QueueError);
    waiting.push(enter('interactive'), enter('interactive'));
    expect([queue.size(), await enter('interactive')]).toMatchObject([15, { why: 'full' }]);
    leave();
    // Of the bytes, too.
    expect(await enter('bulk', 1300)).toMatchObject({ why: 'full' });
    waiting.push(enter('interactive', 1300));
    expect(queue.size()).toBe(16);
    leaving.abort();
    await Promise.all(waiting);
    expect(queue.size()).toBe(0);
  });

  it('lets waiters out first come, first served, as many as can take', async () => {
    let free = 0;
    const queue = createActivationQueue<string>({ ...limits, maxRequests: 10 });
    const order: number[] = [];
    const enter = (at: number): Promise<unknown> =>
      queue.enter(waiter(() => (free > 0 ? String((free -= 1)) : undefined))).then(() => order.push(at));
    const all = [0, 1, 2, 3].map(enter);
    free = 2;
    queue.drain();
    await Promise.all(all.slice(0, 2));
    expect([order, queue.size()]).toEqual([[0, 1], 2]);
    // A newcomer does not overtake those who wait.
    free = 1;
    void enter(4);
    expect([queue.size(), free]).toEqual([3, 1]);
    free = 3;
    queue.drain();
    await Promise.all(all);
    expect(order.slice(0, 4)).toEqual([0, 1, 2, 3]);
  });

  it('lets interactive requests past bulk ones that cannot go yet', async () => {
    const free = { interactive: 0, bulk: 0 };
    const queue = createActivationQueue<string>(limits);
    const order: string[] = [];
    const enter = (priority: 'interactive' | 'bulk'): unknown =>
      queue
        .enter(waiter(() => (free[priority] > 0 ? String((free[priority] -= 1)) : undefined), { priority }))
        .then(() => order.push(priority));
    const all = [enter('bulk'), enter('bulk'), enter('interactive')];
    free.interactive = 1;
    queue.drain();
    await all[2];
    free.bulk = 2;
    queue.drain();
    await Promise.all(all);
    expect(order).toEqual(['interactive', 'bulk', 'bulk']);
  });

  it('is bounded in requests and in bytes', async () => {
    const queue = createActivationQueue<string>(limits);
    const wait = (bytes: number): Promise<string> => queue.enter(waiter(() => undefined, { bytes }));
    const full = async (bytes: number): Promise<void> => await expect(wait(bytes)).rejects.toThrow(QueueError);
    const waits = [wait(50), wait(40)];
    await full(20);
    waits.push(wait(10));
    await full(0);
    for (const one of waits) one.catch(() => undefined);
  });

  it('is bounded in time, the waiter’s own deadline included', async () => {
    const queue = createActivationQueue<string>(limits);
    const late = new Error('late');
    const deadline = new AbortController();
    setTimeout(() => deadline.abort(late), 300);
    const own = queue.enter(waiter(() => undefined, { signal: deadline.signal })).catch((error: unknown) => error);
    const room = queue.enter(waiter(() => undefined)).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(300);
    expect([await own, queue.size()]).toEqual([late, 1]);
    await vi.advanceTimersByTimeAsync(700);
    expect([await room, queue.size()]).toEqual([new QueueError('timeout'), 0]);
  });

  it('says when a request has to wait, and takes nothing for one whose time is up', async () => {
    const queue = createActivationQueue<string>(limits);
    let waits = 0;
    const onWait = (): void => void (waits += 1);
    expect(await queue.enter(waiter(() => 'slot', { onWait }))).toBe('slot');
    expect(waits).toBe(0);
    queue.enter(waiter(() => undefined, { onWait })).catch(() => undefined);
    expect(waits).toBe(1);
    const gone = AbortSignal.abort(new Error('gone'));
    const take = (): string => expect.fail('taken for nobody');
    await expect(queue.enter(waiter(take, { signal: gone }))).rejects.toThrow('gone');
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
          const queue = createActivationQueue<string>({ ...limits, maxRequests: 5 });
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
              { signal: client.signal },
            );
            try {
              await queue.enter(one);
              served += 1;
            } catch (error) {
              const { aborted, reason } = client.signal as { readonly aborted: boolean; readonly reason: unknown };
              if (!aborted || error !== reason) expect(error).toBeInstanceOf(QueueError);
            }
          };
          const act = {
            enter: () => void enter(),
            leave: () => clients.shift()?.abort(),
            free: () => {
              free += 1;
              queue.drain();
            },
            late: () => vi.advanceTimersByTime(400),
          };
          for (const step of steps) act[step]();
          await vi.advanceTimersByTimeAsync(2000);
          expect(served).toBe(taken);
          expect(queue.size()).toBe(0);
        },
      ),
    );
  });
});
