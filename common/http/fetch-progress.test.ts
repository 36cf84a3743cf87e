import { expect, it } from 'vitest';
import { parseProgress, printProgress, printShortProgress } from './fetch-progress.ts';

const MB = 1_000_000;

it('is told in short and in full', () => {
  const progress = { bytes: 430 * MB, total: 1000 * MB, bytesPerSecond: 5 * MB };
  expect(printShortProgress(progress)).toBe('43 %, 2 min');
  expect(printProgress(progress)).toBe('43 % of 1.0 GB, 5.0 MB/s, 2 min left');
  expect(printShortProgress({ ...progress, bytesPerSecond: 0 })).toBe('43 %');
  expect(printShortProgress({ bytes: 0, total: 0, bytesPerSecond: 0 })).toBe('100 %');
  expect(printShortProgress({ bytes: 999, total: 1000, bytesPerSecond: 1 })).toBe('99 %, 1 s');
  expect(printShortProgress({ bytes: 0, total: 1e12, bytesPerSecond: 1e7 })).toBe('0 %, 28 h');
});

it('is read only where it makes sense', () => {
  const text = (value: unknown): string => JSON.stringify(value);
  const good = { bytes: 1, total: 2, bytesPerSecond: 3 };
  expect(parseProgress(text({ ...good, more: 'x' }))).toEqual(good);
  for (const bad of ['', '"x"', '[]', 'null', text({ ...good, bytes: 3 }), text({ ...good, total: '2' }), text({})])
    expect(parseProgress(bad)).toBeUndefined();
  expect(parseProgress('{"bytes":-1,"total":2,"bytesPerSecond":3}')).toBeUndefined();
  expect(parseProgress('{"bytes":1,"total":1e999,"bytesPerSecond":3}')).toBeUndefined();
});
