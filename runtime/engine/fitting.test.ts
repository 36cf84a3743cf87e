import { expect, it } from 'vitest';
import { createFitting } from './fitting.ts';
import type { Pool } from './pool.ts';

type Outcome = Awaited<ReturnType<Pool['refit']>>;

function setUp() {
  let nowMs = 0;
  const asked: number[] = [];
  const tunings: object[] = [];
  let answer: (outcome: Outcome) => void = () => undefined;
  const fitting = createFitting({
    pool: {
      refit: (threads) => {
        asked.push(threads);
        return new Promise((resolve) => (answer = resolve));
      },
    },
    scheduler: { retune: (tuning) => void tunings.push(tuning) },
    threads: { narrow: 1, wide: 4 },
    now: () => nowMs,
    onRefit: () => undefined,
  });
  /** Of one kind, until the worker is asked to change. */
  const runs = (alone: boolean): void => {
    const before = asked.length;
    for (let run = 0; run < 40 && asked.length === before; run++, nowMs += 50) fitting.ran({ alone });
  };
  const settle = async (outcome: Outcome): Promise<void> => {
    answer(outcome);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { fitting, runs, settle, asked, last: () => tunings.at(-1) };
}

it('widens and narrows the first worker, once for each change of habit', async () => {
  const { runs, settle, asked, last } = setUp();
  runs(true);
  expect([asked, last()]).toEqual([[4], { isWide: false }]);
  await settle('done');
  expect(last()).toEqual({ isWide: true });
  runs(true);
  runs(false);
  expect([asked, last()]).toEqual([[4, 1], { isWide: false }]);
  await settle('done');
  expect(last()).toEqual({ isWide: false });
});

it('leaves everything as it was when the worker is busy, and asks again', async () => {
  const { fitting, runs, settle, asked, last } = setUp();
  const becoming = fitting.become('wide');
  expect(await fitting.become('wide')).toBe(false);
  await settle('done');
  expect(await becoming).toBe(true);
  expect(await fitting.become('wide')).toBe(true);
  runs(false);
  await settle('busy');
  expect(last()).toEqual({ isWide: true });
  runs(false);
  expect(asked).toEqual([4, 1, 1]);
});

it('knows that a worker that died of it is narrow again, and tries again after a minute at the earliest', async () => {
  const { fitting, runs, settle, asked, last } = setUp();
  const becoming = fitting.become('wide');
  fitting.reset();
  await settle('died');
  expect([await becoming, last()]).toEqual([false, { isWide: false }]);
  runs(true);
  expect(asked).toEqual([4]);
  for (let seconds = 2; seconds <= 60; seconds += 2) runs(true);
  expect(asked).toEqual([4, 4]);
});
