// What suites came to: each prints `N passed, N failed` as its last line, or, where TEST_RESULTS names a file, writes it there for the sum of all.
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { ALL_SUITES } from './suites.ts';

export interface Result {
  readonly suite: string;
  readonly passed: number;
  readonly failed: number;
  /** What failed, a line each: by name, with the first line of its error. */
  readonly failures?: readonly string[];
}

/** Sets the exit code, too: a suite in which nothing passed has failed. */
export function report(result: Result): void {
  const { suite, passed, failed } = result;
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
  const file = process.env['TEST_RESULTS'];
  if (file === undefined) {
    if (suite !== 'check') console.log(`${passed} passed, ${failed} failed`);
    return;
  }
  mkdirSync(dirname(file), { recursive: true });
  appendFileSync(file, `${JSON.stringify(result)}\n`);
  console.log(`${suite}: ${passed} passed, ${failed} failed`);
}

/** Lines of all suites; one that reported nothing, or nothing that passed, counts as a failure. */
export function sum(text: string, expected: readonly string[]): { lines: string[]; passed: number; failed: number } {
  const reported = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Result);
  const results = expected.map((suite) => {
    const found = reported.findLast((result) => result.suite === suite);
    const { passed, failed, failures = [] } = found ?? { passed: 0, failed: 0 };
    return { suite, passed, failed: passed === 0 ? Math.max(1, failed) : failed, failures };
  });
  const total = (of: 'passed' | 'failed'): number => results.reduce((all, result) => all + result[of], 0);
  return {
    lines: [
      ...results.flatMap(({ suite, failures }) => failures.map((failure) => `failed in ${suite}: ${failure}`)),
      ...results.map(({ suite, passed, failed }) => `${suite}: ${passed} passed, ${failed} failed`),
    ],
    passed: total('passed'),
    failed: total('failed'),
  };
}

if (import.meta.main) {
  const file = process.env['TEST_RESULTS'] ?? '';
  const { lines, passed, failed } = sum(existsSync(file) ? readFileSync(file, 'utf8') : '', ALL_SUITES);
  for (const line of lines) console.log(line);
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}
