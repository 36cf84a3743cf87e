// The recipes of CONTRIBUTING.md and docs/models.md followed to the letter, each page in a clone of its own: files are written, changes
// applied, commands typed. TWINS_PYTHON names a Python that has PyTorch: then its scripts run, and must make what is committed.
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { blocksOf } from '../helpers/docs-blocks.ts';
import type { Block } from '../helpers/docs-blocks.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '..', '..');
const STAND_IN = join(ROOT, 'tests', 'helpers', 'recipe-python.mjs');
/** What the scripts of Python make for the recipe of docs/models.md. */
const MADE = join(ROOT, 'tests', 'fixtures', 'recipe');
const PYTHON = process.env['TWINS_PYTHON'];

let folder: string;
let clone: string;
let env: Readonly<Record<string, string | undefined>>;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubembed-recipes-'));
  clone = join(folder, 'clone');
  const programs = join(folder, 'bin');
  await mkdir(programs);
  const python = PYTHON ?? `${process.execPath} ${STAND_IN}`;
  await writeFile(join(programs, 'python'), `#!/bin/sh\nexec ${python} "$@"\n`);
  await chmod(join(programs, 'python'), 0o755);
  const PATH = [programs, dirname(process.execPath), process.env['PATH']].join(delimiter);
  // What runs this test sets variables of its own.
  const inherited = Object.entries(process.env).filter(([name]) => !/^(NODE_ENV|VITEST)/.test(name));
  env = { ...Object.fromEntries(inherited), PATH };
  await run('git', ['clone', '--quiet', '--no-hardlinks', ROOT, clone]);
  // And what is not committed yet.
  const { stdout: changes } = await run('git', ['diff', '--binary', 'HEAD'], { cwd: ROOT, maxBuffer: 2 ** 28 });
  if (changes !== '') await apply(changes);
  await symlink(join(ROOT, 'node_modules'), join(clone, 'node_modules'));
});
afterEach(async () => await rm(folder, { recursive: true }));

async function apply(changes: string): Promise<void> {
  const file = join(clone, '.git', 'changes');
  await writeFile(file, changes);
  await run('git', ['apply', file], { cwd: clone });
}

async function take({ at, language, recipe, code }: Block): Promise<void> {
  if (language === 'diff') await apply(`${code}\n`);
  else if (language === 'sh')
    await run('bash', ['-euc', code], { cwd: clone, env, maxBuffer: 2 ** 28 }).catch((error: unknown) => {
      const { stdout, stderr } = error as { stdout: string; stderr: string };
      throw new Error(`${at}:\n${code}\n${stdout}\n${stderr}`);
    });
  else await writeFile(join(clone, recipe!), `${code}\n`);
}

async function follow(page: string): Promise<string> {
  const steps = blocksOf(await readFile(join(ROOT, page), 'utf8'), page).filter(({ recipe }) => recipe !== undefined);
  expect(steps.length).toBeGreaterThan(6);
  for (const step of steps) await take(step);
  return (await run('git', ['status', '--porcelain'], { cwd: clone })).stdout;
}

describe('the recipes can be followed as they stand there', { timeout: 600_000 }, () => {
  it('a command, a metric, a reason, a value', async () => {
    const changed = await follow('CONTRIBUTING.md');
    for (const made of [
      'docs/reference/cli.md',
      'docs/metrics.md',
      'charts/kubembed/dashboards',
      'docs/reference/values.md',
    ])
      expect(changed).toContain(made);
    expect(await readFile(join(clone, 'docs/reference/cli.md'), 'utf8')).toContain('## ping');
  });

  it('an architecture', async () => {
    const changed = await follow('docs/models.md');
    expect(changed).toContain('tests/fixtures/twins/README.md');
    const [twin, ...others] = await readdir(join(MADE, 'twins'));
    expect(others).toEqual([]);
    const names = await readdir(join(MADE, 'twins', twin!), { recursive: true, withFileTypes: true });
    for (const { name, parentPath } of names.filter((one) => one.isFile())) {
      const committed = join(parentPath, name);
      const made = join(clone, 'tests/fixtures', committed.slice(MADE.length));
      expect(await readFile(made, 'utf8'), name).toBe(await readFile(committed, 'utf8'));
    }
  });
});
