// The page about security: each line of its tables names the test that holds it, and that test exists.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');
const page = readFileSync(join(ROOT, 'docs', 'security.md'), 'utf8');
const SUITES = ['integration', 'load', 'kube', 'tools', 'e2e', 'nodes'];

const cellsOf = (row: string): string[] =>
  row
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim());

/** The rows of each table that has a column of tests: what a row is about, and that cell. */
const tables = page.split(/\n\n+/).flatMap((block) => {
  const [head = '', , ...rows] = block.split('\n').filter((line) => line.startsWith('|'));
  const column = cellsOf(head).indexOf('tested by');
  return column === -1 ? [] : [{ title: cellsOf(head)[0]!, rows: rows.map(cellsOf), column }];
});

const named = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);

/** `npm run …`, a file of the suites by its name, or a file beside what it tests by its path. */
function exists(name: string): boolean {
  if (name.startsWith('npm run ')) {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object };
    return name.slice('npm run '.length) in scripts;
  }
  const file = name.endsWith('.test.ts') ? name : `${name}.test.ts`;
  const places = file.includes('/') ? [file] : SUITES.map((suite) => join('tests', suite, file));
  return places.some((place) => existsSync(join(ROOT, place)));
}

it('has its four tables: threats, bounds of all processes, bounds of the router, tenants', () => {
  expect(tables.length).toBeGreaterThanOrEqual(4);
  expect(tables.flatMap(({ rows }) => rows).length).toBeGreaterThan(40);
});

describe.each(tables)('the table of: $title', ({ rows, column }) => {
  it.each(rows.map((row) => [row[0]!, row[column]!]))('%s', (_what, tests) => {
    // What is not defended says so, and names no test.
    if (tests === '–') return;
    expect(named(tests).length).toBeGreaterThan(0);
    for (const name of named(tests)) expect([name, exists(name)]).toEqual([name, true]);
  });
});
