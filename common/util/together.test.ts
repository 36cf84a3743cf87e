import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { together } from './together.ts';

const never = new AbortController().signal;

test('gives all results, in order', async () => {
  expect(await together(never, () => [sleep(5, 'a'), Promise.resolve('b')])).toEqual(['a', 'b']);
});

test('the first failure stops the others, and comes out when they have ended', async () => {
  const ended: string[] = [];
  const running = together(never, (signal) => [
    Promise.reject(new Error('first')),
    sleep(60_000, undefined, { signal }).finally(async () => {
      await sleep(5);
      ended.push('stopped');
    }),
  ]);
  await expect(running).rejects.toThrow('first');
  expect(ended).toEqual(['stopped']);
});

test('told to stop, it throws what it was told', async () => {
  const stop = new AbortController();
  const running = together(stop.signal, (signal) => [sleep(60_000, undefined, { signal })]);
  stop.abort(new Error('enough'));
  await expect(running).rejects.toThrow('enough');
});
