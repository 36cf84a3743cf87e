// A Python with the clients of examples/requirements.txt, installed as the examples install it.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const EXAMPLES = join(import.meta.dirname, '../../examples');

/** Runs a script that prints one JSON value. */
export async function runPython(script: string, ...args: readonly string[]): Promise<unknown> {
  return await runPythonIn({}, script, ...args);
}

/** The same with variables of the environment set. */
export async function runPythonIn(
  env: Readonly<Record<string, string>>,
  script: string,
  ...args: readonly string[]
): Promise<unknown> {
  await run(join(EXAMPLES, 'run'), ['install', 'python']);
  const python = join(EXAMPLES, '.venv/bin/python');
  const { stdout } = await run(python, [script, ...args], {
    maxBuffer: 64 * 1024 * 1024,
    env: { ...process.env, ...env },
  });
  return JSON.parse(stdout) as unknown;
}
