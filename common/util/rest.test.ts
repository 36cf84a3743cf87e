import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { collectAtRest } from './rest.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const MB = 1e6;

it('collects once after work left garbage and nothing is held any more, and not while there is work', () => {
  let held = 0;
  let taken = 30 * MB;
  let collected = 0;
  const collect = (): void => {
    collected += 1;
    taken = 40 * MB;
  };
  const end = collectAtRest({ heldBytes: () => held, takenBytes: () => taken, collect, everyMs: 10 });
  const goOn = (bytes: number, looks: number): number => {
    held = bytes;
    vi.advanceTimersByTime(10 * looks);
    return collected;
  };
  expect(goOn(0, 100)).toBe(0);
  taken = 90 * MB;
  expect(goOn(1000, 10)).toBe(0);
  expect(goOn(0, 100)).toBe(0);
  taken = 200 * MB;
  expect(goOn(1000, 100)).toBe(0);
  expect(goOn(0, 3)).toBe(0);
  expect(goOn(1000, 1)).toBe(0);
  expect(goOn(0, 100)).toBe(1);
  // What is in use by then is no garbage.
  taken = 100 * MB;
  expect(goOn(0, 100)).toBe(1);
  taken = 300 * MB;
  expect(goOn(1000, 100)).toBe(1);
  expect(goOn(0, 100)).toBe(2);
  taken = 300 * MB;
  goOn(1000, 1);
  end();
  expect(goOn(0, 100)).toBe(2);
});

it('gives back what work had taken, without a flag on the command line', async () => {
  vi.useRealTimers();
  let held = 1;
  const heap = (): number => process.memoryUsage().heapTotal;
  const work = (): number => {
    const values = Array.from({ length: 2_000_000 }, (_, at) => ({ at }));
    return values.length > 0 ? heap() : 0;
  };
  const end = collectAtRest({ heldBytes: () => held, everyMs: 5 });
  try {
    await sleep(50);
    const before = heap();
    const most = work();
    held = 0;
    await vi.waitFor(() => expect(heap() - before).toBeLessThan((most - before) / 2), 10_000);
  } finally {
    end();
  }
});
