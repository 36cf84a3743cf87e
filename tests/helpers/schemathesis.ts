// Schemathesis, from tests/requirements.txt in `.venv`: requests made from a service's own OpenAPI document, answers held against it.
import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../..');
const VENV = join(ROOT, '.venv');
const REQUIREMENTS = join(ROOT, 'tests/requirements.txt');
const INSTALLED = join(VENV, 'installed-requirements.txt');

const read = async (file: string): Promise<string> => await readFile(file, 'utf8').catch(() => '');

export async function installSchemathesis(): Promise<void> {
  const wanted = await readFile(REQUIREMENTS, 'utf8');
  if ((await read(INSTALLED)) === wanted) return;
  await rm(VENV, { recursive: true, force: true });
  try {
    await run('python3', ['-m', 'venv', VENV]);
    const options = ['--quiet', '--disable-pip-version-check', '--no-deps', '--no-compile'];
    await run(join(VENV, 'bin/python'), ['-m', 'pip', 'install', ...options, '-r', REQUIREMENTS]);
  } catch (cause) {
    throw new Error(
      'schemathesis needs python3 with venv and pip, and a package index that has what tests/requirements.txt names',
      { cause },
    );
  }
  await writeFile(INSTALLED, wanted);
}

export interface ServedModel {
  readonly id: string;
  readonly dimensions: number;
  readonly vocabulary: number;
}

/** Its report; `findings` is 0 when every answer was what the document says. */
export async function schemathesis(url: string, model: ServedModel): Promise<{ findings: number; report: string }> {
  const bounds = ['--max-examples', '30', '--generation-deterministic', '--no-color'];
  const env = {
    ...process.env,
    PYTHONPATH: import.meta.dirname,
    PYTHONDONTWRITEBYTECODE: '1',
    SCHEMATHESIS_HOOKS: 'schemathesis_limits',
    API_MODEL: model.id,
    API_DIMENSIONS: String(model.dimensions),
    API_VOCABULARY: String(model.vocabulary),
  };
  // It keeps notes in the folder that it runs in.
  const options = { cwd: tmpdir(), env, maxBuffer: 64 * 1024 * 1024 };
  const { code, stdout } = await run(join(VENV, 'bin/schemathesis'), ['run', `${url}/openapi.json`, ...bounds], options)
    .then(({ stdout }) => ({ code: 0, stdout }))
    .catch((error: { code: number; stdout: string }) => error);
  return { findings: code, report: stdout };
}
