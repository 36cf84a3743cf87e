import { expect, it } from 'vitest';
import { createWidening } from './widening.ts';
import type { Widening } from './widening.ts';

/** Runs of one kind, one each 50 ms, from `fromMs` to `toMs`; what was first asked for, and when. */
function runs(widening: Widening, alone: boolean, fromMs: number, toMs: number) {
  for (let nowMs = fromMs; nowMs <= toMs; nowMs += 50) {
    const asked = widening.ran(alone, nowMs);
    if (asked !== undefined) return [asked, nowMs];
  }
  return undefined;
}

it('widens once texts have come one at a time for a while, and narrows once requests have competed as long', () => {
  const widening = createWidening();
  expect(runs(widening, true, 0, 1000)).toEqual(['wide', 300]);
  widening.became('wide', 10);
  expect(runs(widening, true, 1000, 2000)).toBeUndefined();
  expect(runs(widening, false, 2000, 3000)).toEqual(['narrow', 2300]);
  widening.became('narrow', 10);
  expect(runs(widening, false, 3000, 4000)).toBeUndefined();
});

it('does not change for a moment', () => {
  const widening = createWidening();
  for (let second = 0; second < 5; second++) {
    expect(runs(widening, true, second * 1000, second * 1000 + 200)).toBeUndefined();
    expect(runs(widening, false, second * 1000 + 250, second * 1000 + 950)).toBeUndefined();
  }
});

it('does not take a text an hour for a habit', () => {
  const widening = createWidening();
  expect(widening.ran(true, 0)).toBeUndefined();
  expect(widening.ran(true, 3_600_000)).toBeUndefined();
  expect(widening.ran(true, 7_200_000)).toBe('wide');
});

it('is the slower to change the more a change costs', () => {
  const widening = createWidening();
  runs(widening, true, 0, 1000);
  widening.became('wide', 2000);
  expect(runs(widening, false, 10_000, 20_000)).toEqual(['narrow', 16_000]);
});

it('waits a minute after a change that the worker died of', () => {
  const widening = createWidening();
  runs(widening, true, 0, 1000);
  widening.failed();
  expect(widening.width()).toBe('narrow');
  expect(runs(widening, true, 1000, 120_000)).toEqual(['wide', 61_000]);
});
