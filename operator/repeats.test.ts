import { expect, test } from 'vitest';
import { FakeClock } from '../tests/helpers/fake-clock.ts';
import { createRepeats } from './repeats.ts';

test('the same manifest again and again is left alone, each time for longer, and tried again', async () => {
  const clock = new FakeClock();
  const repeats = createRepeats(clock);
  const insist = (): number => {
    let times = 1;
    while (!repeats.applied('a', 'x')) times += 1;
    return times;
  };
  expect(insist()).toBe(6);
  expect(repeats.paused('a')).toEqual({ hash: 'x', leftMs: 60_000 });
  expect(repeats.paused('b')).toBeUndefined();
  await clock.advance(60_000);
  expect(repeats.paused('a')).toBeUndefined();
  const pauses = [1, 2, 3, 4, 5].map(() => {
    insist();
    return repeats.paused('a')?.leftMs;
  });
  expect(pauses).toEqual([120_000, 240_000, 480_000, 600_000, 600_000]);
});

test('another manifest is another matter, and so is one now and then', async () => {
  const clock = new FakeClock();
  const repeats = createRepeats(clock);
  for (let time = 0; time < 50; time += 1) expect(repeats.applied('a', time % 2 === 0 ? 'x' : 'y')).toBe(false);
  for (let time = 0; time < 50; time += 1) {
    expect(repeats.applied('b', 'x')).toBe(false);
    await clock.advance(15_000);
  }
});
