import { expect, it } from 'vitest';
import { sum } from './results.ts';

const result = (suite: string, passed: number, failed: number): string => JSON.stringify({ suite, passed, failed });

it('adds up what all suites came to', () => {
  const text = [result('a', 3, 0), result('b', 2, 1), ''].join('\n');
  expect(sum(text, ['a', 'b'])).toEqual({
    lines: ['a: 3 passed, 0 failed', 'b: 2 passed, 1 failed'],
    passed: 5,
    failed: 1,
  });
});

it('names what failed before the numbers, so that the end of a log says it', () => {
  const text = JSON.stringify({ suite: 'a', passed: 1, failed: 1, failures: ['a.test.ts: adds: Error: 1 is not 2'] });
  expect(sum(text, ['a']).lines).toEqual(['failed in a: a.test.ts: adds: Error: 1 is not 2', 'a: 1 passed, 1 failed']);
});

it('takes a suite that said nothing for a failure, and one in which nothing passed', () => {
  expect(sum(result('b', 0, 0), ['a', 'b'])).toMatchObject({ passed: 0, failed: 2 });
  expect(sum('', ['a'])).toMatchObject({ failed: 1 });
});
