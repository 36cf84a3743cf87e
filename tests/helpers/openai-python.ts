// A Python with the official client: a virtual environment in `.venv`, made once, of pinned packages.
import { createHash } from 'node:crypto';
import { execFile } from 'node:child_process';
import { access, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = new URL('../..', import.meta.url).pathname;
const PACKAGES = ['openai==3.54.0', 'numpy==2.4.6'];

/** The interpreter's path. */
export async function ensurePython(): Promise<string> {
  const folder = join(ROOT, '.venv');
  const python = join(folder, 'bin', 'python');
  const marker = join(folder, `openai-${createHash('sha256').update(PACKAGES.join()).digest('hex').slice(0, 12)}`);
  if (await exists(marker)) return python;
  try {
    if (!(await exists(python))) await run('python3', ['-m', 'venv', folder]);
    await run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...PACKAGES]);
  } catch (cause) {
    await rm(folder, { recursive: true, force: true });
    throw new Error(
      `The Python client cannot be tested: python3 with venv and pip, and a package index with ${PACKAGES.join(' and ')}, are needed.`,
      { cause },
    );
  }
  await writeFile(marker, '');
  return python;
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

/** Runs a script that prints one JSON value. */
export async function runPython(script: string, ...args: readonly string[]): Promise<unknown> {
  const python = await ensurePython();
  const { stdout } = await run(python, [script, ...args], { maxBuffer: 64 * 1024 * 1024 });
  return JSON.parse(stdout) as unknown;
}
