// `node tools/test.ts SUITE`: says what the suite does and for how long, runs its projects one after the other, and names what was not run.
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { provide } from './debian.ts';
import { report } from './results.ts';
import { runWithin } from './run-within.ts';
import { SUITES } from './suites.ts';
import type { Suite, SuiteName } from './suites.ts';

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numFailedTestSuites: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

const ROOT = join(import.meta.dirname, '..');
const REPORTS = join(ROOT, 'reports');
/** A test that never yields cannot be timed out from inside: its project ends then, and the log says which file was running. */
const LIMIT_MS = 45 * 60_000;

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly notRun: readonly string[];
  readonly failures: readonly string[];
}

const firstLine = (text: string | undefined): string => stripVTControlCharacters(text ?? '').split('\n', 1)[0] ?? '';

async function run(project: string): Promise<Outcome> {
  const file = join(REPORTS, `${project}.json`);
  mkdirSync(REPORTS, { recursive: true });
  rmSync(file, { force: true });
  const reporters = ['default', './tools/test-progress.ts', 'json'].map((name) => `--reporter=${name}`);
  const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
  const args = [vitest, 'run', '--project', project, ...reporters, `--outputFile.json=${file}`];
  const status = await runWithin(LIMIT_MS, process.execPath, args, ROOT);
  if (status === 'late') console.error(`kubembed: ${project} had not ended after ${LIMIT_MS / 60_000} minutes`);
  if (!existsSync(file)) return { passed: 0, failed: 1, notRun: [], failures: [`${project}: no report`] };
  const { numPassedTests, numFailedTests, numFailedTestSuites, testResults } = JSON.parse(
    readFileSync(file, 'utf8'),
  ) as Report;
  const tests = testResults.flatMap((suite) => suite.assertionResults);
  return {
    passed: numPassedTests,
    // A suite that breaks before its first test counts as one failure, and so does a runner that exits non-zero without one.
    failed: Math.max(numFailedTests, numFailedTestSuites > 0 ? 1 : 0, status === 0 ? 0 : 1),
    notRun: tests.filter(({ status }) => !['passed', 'failed'].includes(status)).map(({ fullName }) => fullName),
    failures: testResults.flatMap(({ name, message, assertionResults }) => {
      const failed = assertionResults.filter(({ status }) => status === 'failed');
      const lines = failed.map(({ fullName, failureMessages: [error] }) => `${fullName}: ${firstLine(error)}`);
      if (message !== '' && failed.length === 0) lines.push(firstLine(message));
      return lines.map((line) => `${relative(ROOT, name)}: ${line}`);
    }),
  };
}

const name = process.argv[2] as SuiteName;
if (!(name in SUITES)) throw new Error(`usage: node tools/test.ts ${Object.keys(SUITES).join('|')}`);
const suite: Suite = SUITES[name];
const { first, later } = suite.minutes;
console.log(`${suite.command}: ${suite.runs}. About ${first} minutes on two cores the first time, ${later} later.`);

const missing: string[] = [];
for (const program of suite.programs) missing.push(...((await provide(program)) ?? []));
for (const reason of missing) console.log(`tests that need it are not run: ${reason}`);

const outcomes: Outcome[] = [];
for (const project of suite.projects) outcomes.push(await run(project));

for (const test of outcomes.flatMap(({ notRun }) => notRun)) console.log(`not run: ${test}`);
for (const reason of missing) console.log(`not run for: ${reason}`);
const total = (of: 'passed' | 'failed'): number => outcomes.reduce((all, outcome) => all + outcome[of], 0);
report({
  suite: name,
  passed: total('passed'),
  failed: total('failed'),
  failures: outcomes.flatMap(({ failures }) => failures),
});
