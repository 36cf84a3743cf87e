// The recipes of CONTRIBUTING.md followed to the letter in a clone: files are written, changes applied, commands typed.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { blocksOf } from '../helpers/docs-blocks.ts';
import type { Block } from '../helpers/docs-blocks.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '..', '..');
const PATH = [dirname(process.execPath), process.env['PATH']].join(delimiter);
// What runs this test sets variables of its own.
const inherited = Object.entries(process.env).filter(([name]) => !/^(NODE_ENV|VITEST)/.test(name));
const env = { ...Object.fromEntries(inherited), PATH };

let clone: string;
beforeAll(async () => {
  clone = await mkdtemp(join(tmpdir(), 'kubembed-recipes-'));
  await run('git', ['clone', '--quiet', '--no-hardlinks', ROOT, clone]);
  // And what is not committed yet.
  const { stdout: changes } = await run('git', ['diff', '--binary', 'HEAD'], { cwd: ROOT, maxBuffer: 2 ** 28 });
  if (changes !== '') await apply(changes);
  await symlink(join(ROOT, 'node_modules'), join(clone, 'node_modules'));
});
afterAll(async () => await rm(clone, { recursive: true }));

async function apply(changes: string): Promise<void> {
  const file = join(clone, '.git', 'changes');
  await writeFile(file, changes);
  await run('git', ['apply', file], { cwd: clone });
}

async function follow({ language, recipe, code }: Block): Promise<void> {
  if (language === 'diff') await apply(`${code}\n`);
  else if (language === 'sh')
    await run('bash', ['-euc', code], { cwd: clone, env }).catch((error: unknown) => {
      const { stdout, stderr } = error as { stdout: string; stderr: string };
      throw new Error(`${code}\n${stdout}\n${stderr}`);
    });
  else await writeFile(join(clone, recipe!), `${code}\n`);
}

it('they can be followed as they stand there', { timeout: 600_000 }, async () => {
  const page = await readFile(join(ROOT, 'CONTRIBUTING.md'), 'utf8');
  const steps = blocksOf(page, 'CONTRIBUTING.md').filter(({ recipe }) => recipe !== undefined);
  expect(steps.length).toBeGreaterThan(6);
  for (const step of steps) await follow(step);
  const changed = (await run('git', ['status', '--porcelain'], { cwd: clone })).stdout;
  for (const made of [
    'docs/reference/cli.md',
    'docs/metrics.md',
    'charts/kubembed/dashboards',
    'docs/reference/values.md',
  ])
    expect(changed).toContain(made);
  expect(await readFile(join(clone, 'docs/reference/cli.md'), 'utf8')).toContain('## ping');
});
