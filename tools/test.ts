// `npm test` after set-up: runs the test projects and ends with one plain line, `N passed, N failed`.
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { runWithin } from './run-within.ts';

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numFailedTestSuites: number;
  readonly numPendingTests: number;
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

const ROOT = new URL('..', import.meta.url).pathname;
const projects = process.argv.length > 2 ? process.argv.slice(2) : ['unit', 'integration'];
const reports = join(ROOT, 'reports');
mkdirSync(reports, { recursive: true });
/** A test that never yields cannot be timed out from inside: its project ends then, and the log says which file was running. */
const LIMIT_MS = 45 * 60_000;

let passed = 0;
let failed = 0;
const notRun: string[] = [];

for (const project of projects) {
  const file = join(reports, `${project}.json`);
  rmSync(file, { force: true });
  const reporters = ['default', './tools/test-progress.ts', 'json'].map((name) => `--reporter=${name}`);
  const vitest = join(ROOT, 'node_modules', '.bin', 'vitest');
  const args = ['run', '--project', project, ...reporters, `--outputFile.json=${file}`];
  const status = await runWithin(LIMIT_MS, vitest, args, ROOT);
  if (status === 'late') console.error(`kubembed: ${project} had not ended after ${LIMIT_MS / 60_000} minutes`);
  if (!existsSync(file)) {
    failed += 1;
    continue;
  }
  const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
  passed += report.numPassedTests;
  // A suite that breaks before its first test counts as one failure, and so does a runner that exits non-zero without one.
  const broken = Math.max(report.numFailedTests, report.numFailedTestSuites > 0 ? 1 : 0, status === 0 ? 0 : 1);
  failed += broken;
  const tests = report.testResults.flatMap((suite) => suite.assertionResults);
  notRun.push(
    ...tests.filter(({ status }) => status !== 'passed' && status !== 'failed').map(({ fullName }) => fullName),
  );
}

for (const name of notRun) console.log(`not run: ${name}`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
