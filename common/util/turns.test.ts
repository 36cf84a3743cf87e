import { setImmediate } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { createTurns } from './turns.ts';

it('gives heavy steps their turn in the order in which they came, and others several turns in between', async () => {
  const turn = createTurns();
  const seen: string[] = [];
  const heavy = async (name: string): Promise<void> => {
    await turn();
    seen.push(name);
    await turn();
    seen.push(name.toUpperCase());
  };
  let over = false;
  const light = async (): Promise<void> => {
    while (!over) {
      await setImmediate();
      seen.push('.');
    }
  };
  const lightly = light();
  await Promise.all([heavy('a'), heavy('b'), heavy('c')]);
  over = true;
  await lightly;
  expect(seen.filter((name) => name !== '.').join('')).toBe('abcABC');
  const between = seen.join('').split(/[a-z]/i).slice(1, -1);
  expect(Math.min(...between.map((dots) => dots.length))).toBeGreaterThanOrEqual(2);
});
