// The Python programs of tests/requirements.txt, in a virtual environment of their own.
import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../..');
const VENV = join(ROOT, '.venv');
const REQUIREMENTS = join(ROOT, 'tests/requirements.txt');
const INSTALLED = join(VENV, 'installed-requirements.txt');

/** Path of one of them, once installed. */
export const pythonTool = (name: string): string => join(VENV, 'bin', name);

const read = async (file: string): Promise<string> => await readFile(file, 'utf8').catch(() => '');

export async function installPythonTools(): Promise<void> {
  const wanted = await readFile(REQUIREMENTS, 'utf8');
  if ((await read(INSTALLED)) === wanted) return;
  await rm(VENV, { recursive: true, force: true });
  try {
    await run('python3', ['-m', 'venv', VENV]);
    const options = ['--quiet', '--disable-pip-version-check', '--no-deps', '--no-compile'];
    await run(join(VENV, 'bin/python'), ['-m', 'pip', 'install', ...options, '-r', REQUIREMENTS]);
  } catch (cause) {
    throw new Error(
      'The tests need python3 with venv and pip, and a package index that has what tests/requirements.txt names',
      { cause },
    );
  }
  await writeFile(INSTALLED, wanted);
}
