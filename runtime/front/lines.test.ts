import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createLines } from './lines.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const line = (level: string, at: number): string => `{"level":"${level}","at":${at}}\n`;

it('gathers lines, and hurries for a warning', () => {
  const sent: unknown[] = [];
  const lines = createLines((text, isUrgent) => sent.push([text, isUrgent]));
  lines.write(line('info', 1));
  lines.write(line('debug', 2));
  expect(sent).toEqual([]);
  lines.write(line('warn', 3));
  expect(sent).toEqual([[line('info', 1) + line('debug', 2) + line('warn', 3), true]]);
});

it('keeps none for long, and none at the end', () => {
  const sent: string[] = [];
  const lines = createLines((text) => sent.push(text));
  lines.write(line('info', 1));
  vi.advanceTimersByTime(1000);
  expect(sent).toEqual([line('info', 1)]);
  lines.write(line('info', 2));
  lines.flush();
  lines.flush();
  vi.advanceTimersByTime(1000);
  expect(sent).toEqual([line('info', 1), line('info', 2)]);
});

it('sends many at once', () => {
  const sent: string[] = [];
  const lines = createLines((text) => sent.push(text));
  for (let at = 0; at < 10_000; at++) lines.write(line('info', at));
  lines.flush();
  expect(sent.join('')).toBe(Array.from({ length: 10_000 }, (_, at) => line('info', at)).join(''));
  expect(sent.length).toBeLessThan(100);
});
