import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { collectAtRest } from './rest.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it('collects once after much was held and nothing is any more, and not while there is work', () => {
  let held = 0;
  let collected = 0;
  const end = collectAtRest({ heldBytes: () => held, collect: () => (collected += 1), everyMs: 10 });
  const goOn = (bytes: number, looks: number): number => {
    held = bytes;
    vi.advanceTimersByTime(10 * looks);
    return collected;
  };
  expect(goOn(0, 100)).toBe(0);
  expect(goOn(1_000_000, 100)).toBe(0);
  expect(goOn(0, 100)).toBe(0);
  expect(goOn(50_000_000, 2)).toBe(0);
  expect(goOn(1_000_000, 100)).toBe(0);
  expect(goOn(0, 3)).toBe(0);
  expect(goOn(1_000_000, 1)).toBe(0);
  expect(goOn(0, 100)).toBe(1);
  goOn(50_000_000, 1);
  end();
  expect(goOn(0, 100)).toBe(1);
});

it('finds a collector, without a flag on the command line', () => {
  vi.useRealTimers();
  const end = collectAtRest({ heldBytes: () => 0 });
  end();
});
