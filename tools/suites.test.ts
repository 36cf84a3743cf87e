import { globSync, readFileSync } from 'node:fs';
import { join, matchesGlob } from 'node:path';
import { expect, it } from 'vitest';
import { ALL_SUITES, PROJECTS, SUITES } from './suites.ts';
import type { Suite } from './suites.ts';

const ROOT = join(import.meta.dirname, '..');
const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> };

it('every test file is in exactly one project', () => {
  const files = globSync('**/*.{test,spec}.{ts,mts,js,mjs,tsx}', {
    cwd: ROOT,
    exclude: ['**/node_modules', '.kubembed', '**/.venv*', 'docs/site'],
  });
  const projects = Object.values(PROJECTS);
  const wrong = files.filter((file) => projects.filter((pattern) => matchesGlob(file, pattern)).length !== 1);
  expect(wrong).toEqual([]);
  for (const pattern of projects) expect(files.some((file) => matchesGlob(file, pattern))).toBe(true);
});

it('every project is run by exactly one suite, and every suite by a script of npm', () => {
  const run = Object.values<Suite>(SUITES).flatMap(({ projects }) => projects);
  expect(run.toSorted()).toEqual(Object.keys(PROJECTS).sort());
  for (const [name, { command }] of Object.entries(SUITES)) {
    const script = scripts[command.replace(/^npm (run )?/, '')];
    expect(script, command).toMatch(new RegExp(` test:suite ${name}$`));
  }
});

it('CI runs every suite, whatever the others come to, and ends with the sum', () => {
  const lines = readFileSync(join(ROOT, '.ci', 'run'), 'utf8')
    .trim()
    .split('\n');
  expect(lines.filter((line) => line.startsWith('npm '))).toEqual([
    'npm run --silent check',
    'npm test --silent',
    ...ALL_SUITES.slice(2).map((name) => `npm run --silent test:${name}`),
    'npm run --silent test:sum',
  ]);
  expect(lines.at(-1)).toBe('npm run --silent test:sum');
  expect(lines.find((line) => line.startsWith('set '))).not.toMatch(/-\w*e/);
});
