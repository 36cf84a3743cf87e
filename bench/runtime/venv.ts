// The Python peers' own environment: an ignored folder, made on request from pinned requirements.
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const VENV = join(ROOT, '.venv-bench');
const PEERS = join(ROOT, 'bench', 'peers');

export const venvPython = join(VENV, 'bin', 'python');
/** The plain ONNX export, for the peers that run ONNX files. */
export const onnxFolder = join(VENV, 'models', 'minilm');
export const peerScript = (name: string): string => join(PEERS, name);

/** Written last, so that an interrupted setup does not look like a finished one. */
const ONNX_FILE = join(onnxFolder, 'model.onnx');

const HINT = 'npm run bench -- setup';
export const missingVenv = (): string | undefined =>
  existsSync(venvPython) ? undefined : `no Python environment (${HINT})`;
export const missingOnnx = (): string | undefined =>
  missingVenv() ?? (existsSync(ONNX_FILE) ? undefined : `no ONNX export (${HINT})`);

function run(file: string, args: readonly string[]): void {
  const { status, error } = spawnSync(file, args, { stdio: 'inherit', cwd: ROOT });
  if (error !== undefined || status !== 0) {
    throw new Error(`${file} ${args.join(' ')}: ${error?.message ?? `exit code ${status}`}`);
  }
}

/** A few gigabytes: PyPI's PyTorch for Linux brings the CUDA libraries along. */
export function setUpVenv(snapshotDir: string): void {
  if (!existsSync(venvPython)) run('python3', ['-m', 'venv', VENV]);
  run(venvPython, ['-m', 'pip', 'install', '--requirement', join(PEERS, 'requirements.txt')]);
  rmSync(onnxFolder, { recursive: true, force: true });
  run(venvPython, [join(PEERS, 'export_onnx.py'), snapshotDir, onnxFolder]);
}
