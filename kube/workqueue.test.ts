// The work queue against a model of it, and its delays, priorities and end by example.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../tests/helpers/fake-clock.ts';
import { createRateLimiter, createWorkQueue } from './workqueue.ts';
import type { Priority } from './workqueue.ts';

/** What the queue is, without its speed: one list of waiting keys, one set at work, one list of later additions. */
class Model {
  waiting: { key: string; priority: Priority }[] = [];
  again: { key: string; priority: Priority }[] = [];
  working = new Set<string>();
  later: { key: string; priority: Priority; at: number }[] = [];

  add(key: string, priority: Priority): void {
    const list = this.working.has(key) ? this.again : this.waiting;
    const known = list.find((item) => item.key === key);
    if (!known) list.push({ key, priority });
    else if (known.priority === 'resync' && priority === 'live') {
      list.splice(list.indexOf(known), 1);
      list.push({ key, priority });
    }
  }
  addAfter(key: string, priority: Priority, at: number): void {
    const known = this.later.find((item) => item.key === key);
    const live = priority === 'live' || known?.priority === 'live';
    this.later = this.later.filter((item) => item !== known);
    this.later.push({ key, priority: live ? 'live' : 'resync', at: Math.min(at, known?.at ?? at) });
  }
  tick(now: number): void {
    const due = this.later.filter(({ at }) => at <= now).sort((a, b) => a.at - b.at);
    this.later = this.later.filter(({ at }) => at > now);
    for (const { key, priority } of due) this.add(key, priority);
  }
  take(): string | undefined {
    const next = this.waiting.find(({ priority }) => priority === 'live') ?? this.waiting[0];
    this.waiting = this.waiting.filter((item) => item !== next);
    if (next) this.working.add(next.key);
    return next?.key;
  }
  done(key: string): void {
    this.working.delete(key);
    const again = this.again.find((item) => item.key === key);
    this.again = this.again.filter((item) => item !== again);
    if (again) this.add(key, again.priority);
  }
}

const keys = fc.constantFrom('a', 'b', 'c', 'd');
const priorities = fc.constantFrom<Priority>('live', 'resync');
const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('add' as const), key: keys, priority: priorities }),
    fc.record({
      do: fc.constant('addAfter' as const),
      key: keys,
      priority: priorities,
      ms: fc.integer({ min: 1, max: 50 }),
    }),
    fc.record({ do: fc.constant('take' as const) }),
    fc.record({ do: fc.constant('done' as const), key: keys }),
    fc.record({ do: fc.constant('tick' as const), ms: fc.integer({ min: 1, max: 40 }) }),
  ),
  { maxLength: 60 },
);

describe('work queue', () => {
  it('behaves as its model', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (moves) => {
        const clock = new FakeClock(0);
        const queue = createWorkQueue(clock);
        const model = new Model();
        for (const move of moves) {
          if (move.do === 'add') {
            queue.add(move.key, move.priority);
            model.add(move.key, move.priority);
          } else if (move.do === 'addAfter') {
            queue.addAfter(move.key, move.ms, move.priority);
            model.addAfter(move.key, move.priority, clock.now() + move.ms);
          } else if (move.do === 'tick') {
            clock.tick(move.ms);
            model.tick(clock.now());
          } else if (move.do === 'done') {
            queue.done(move.key);
            if (model.working.has(move.key)) model.done(move.key);
          } else if (model.waiting.length > 0) expect(await queue.take()).toBe(model.take());
          expect(queue.depth).toBe(model.waiting.length);
          expect(queue.inProgress()).toHaveLength(model.working.size);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('hands a key to whoever waits, and never to two at once', async () => {
    const queue = createWorkQueue(new FakeClock());
    const [first, second] = [queue.take(), queue.take()];
    queue.add('a');
    expect(await first).toBe('a');
    queue.add('a');
    queue.add('b');
    expect(await second).toBe('b');
    queue.done('a');
    expect(await queue.take()).toBe('a');
  });

  it('ends: nobody waits for ever, nothing fires afterwards', async () => {
    const clock = new FakeClock();
    const queue = createWorkQueue(clock);
    const waiting = queue.take();
    queue.addAfter('a', 10);
    queue.shutDown();
    queue.add('b');
    expect([await waiting, await queue.take(), queue.depth, clock.pending()]).toEqual([undefined, undefined, 0, 0]);
  });

  it('never asks for a delay below zero, even of what is overdue', () => {
    const clock = new FakeClock();
    const delays: number[] = [];
    const queue = createWorkQueue({
      now: clock.now,
      setTimeout: (fn, ms) => (delays.push(ms), clock.setTimeout(fn, ms)),
    });
    queue.addAfter('a', 10);
    clock.jump(50);
    queue.addAfter('a', 10);
    expect(delays).toEqual([10, 0]);
  });

  it('reports waits and work in seconds', async () => {
    const clock = new FakeClock();
    const seen: string[] = [];
    const queue = createWorkQueue(clock, {
      added: () => seen.push('added'),
      taken: (seconds) => seen.push(`waited ${seconds}`),
      finished: (seconds) => seen.push(`worked ${seconds}`),
    });
    queue.add('a');
    queue.add('a');
    clock.tick(1_500);
    await queue.take();
    clock.tick(250);
    queue.done('a');
    expect(seen).toEqual(['added', 'waited 1.5', 'worked 0.25']);
  });
});

describe('rate limiter', () => {
  it('doubles from 50 ms to 5 min, for each key, until forgotten', () => {
    const limiter = createRateLimiter(new FakeClock());
    const delays = Array.from({ length: 15 }, () => limiter.when('a'));
    expect(delays.slice(0, 6)).toEqual([50, 100, 200, 400, 800, 1_600]);
    expect(delays.at(-1)).toBe(300_000);
    expect([limiter.when('b'), limiter.retries('a')]).toEqual([50, 15]);
    limiter.forget('a');
    expect([limiter.retries('a'), limiter.when('a')]).toEqual([0, 50]);
  });

  it('lets a burst of 100 pass, then 10 a second in all', () => {
    const clock = new FakeClock();
    const limiter = createRateLimiter(clock);
    const delays = Array.from({ length: 121 }, (_, i) => limiter.when(String(i)));
    expect([delays[99], delays[104], delays[120]]).toEqual([50, 500, 2_100]);
  });
});
