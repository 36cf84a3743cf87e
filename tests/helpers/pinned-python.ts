// Environments of Python, each with the pinned packages of one list and nothing else, and the scripts that run in them.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
export const SCRIPTS = join(import.meta.dirname, 'integrations');
/** Where they are made. */
export const PINNED = join(import.meta.dirname, '../../.kubembed/integrations');

/** The Python of an environment that holds what the list names and nothing else; made once. */
export async function pythonWith(name: string): Promise<string> {
  const requirements = join(SCRIPTS, `${name}.txt`);
  const digest = createHash('sha256').update(readFileSync(requirements)).digest('hex').slice(0, 12);
  const folder = join(PINNED, `${name}-${digest}`);
  const python = join(folder, 'bin', 'python');
  const stamp = join(folder, 'installed');
  if (existsSync(stamp)) return python;
  await rm(folder, { recursive: true, force: true });
  await run('python3', ['-m', 'venv', folder]);
  // Every package is pinned in the list: pip has nothing to work out.
  const options = ['--quiet', '--disable-pip-version-check', '--no-deps', '--no-compile'];
  await run(python, ['-m', 'pip', 'install', ...options, '-r', requirements]);
  await writeFile(stamp, '');
  return python;
}
