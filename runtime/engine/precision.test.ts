import { expect, it } from 'vitest';
import { fasterPrecision, measurePrecisions } from './precision.ts';

it.each([
  [{ float32Ms: 3, int8Ms: 2 }, 'int8'],
  [{ float32Ms: 2.1, int8Ms: 2 }, 'float32'],
  [{ float32Ms: 2, int8Ms: 2.6 }, 'float32'],
] as const)('%o are served as %s', (times, served) => {
  expect(fasterPrecision(times)).toBe(served);
});

it('times a layer in both precisions', async () => {
  const { float32Ms, int8Ms } = await measurePrecisions({ hiddenSize: 64 });
  expect(float32Ms).toBeGreaterThan(0);
  expect(int8Ms).toBeGreaterThan(0);
  expect(Math.max(float32Ms, int8Ms)).toBeLessThan(Infinity);
});
