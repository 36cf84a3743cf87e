// `npm test` after set-up: runs the test projects and ends with one plain line, `N passed, N failed`.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

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

let passed = 0;
let failed = 0;
const notRun: string[] = [];

for (const project of projects) {
  const file = join(reports, `${project}.json`);
  rmSync(file, { force: true });
  const result = spawnSync(
    join(ROOT, 'node_modules', '.bin', 'vitest'),
    ['run', '--project', project, '--reporter=default', '--reporter=json', `--outputFile.json=${file}`],
    { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] },
  );
  if (!existsSync(file)) {
    failed += 1;
    continue;
  }
  const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
  passed += report.numPassedTests;
  // A suite that breaks before its first test counts as one failure, and so does a runner that exits non-zero without one.
  const broken = Math.max(report.numFailedTests, report.numFailedTestSuites > 0 ? 1 : 0, result.status === 0 ? 0 : 1);
  failed += broken;
  const tests = report.testResults.flatMap((suite) => suite.assertionResults);
  notRun.push(
    ...tests.filter(({ status }) => status !== 'passed' && status !== 'failed').map(({ fullName }) => fullName),
  );
}

for (const name of notRun) console.log(`not run: ${name}`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
