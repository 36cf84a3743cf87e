// What the numbers were measured on: processor, system, versions.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { arch, cpus, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PACKAGES = ['onnxruntime-node', 'tokenizers', '@huggingface/transformers'];
const REQUIREMENTS = ['torch', 'transformers', 'sentence-transformers', 'infinity_emb', 'onnxruntime', 'fastapi'];

const readText = (path: string): string => readFileSync(new URL(path, new URL('../../', import.meta.url)), 'utf8');

const npmVersion = (name: string): string =>
  (JSON.parse(readText(`node_modules/${name}/package.json`)) as { version: string }).version;

function pipVersions(): string {
  const lines = readText('bench/peers/requirements.txt').split('\n');
  return REQUIREMENTS.flatMap((name) => lines.find((line) => line.startsWith(`${name}==`)) ?? [])
    .map((line) => line.replace('==', ' '))
    .join(', ');
}

function commit(): string {
  try {
    const head = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }).trim();
    const changed = execFileSync('git', ['status', '--porcelain', 'runtime', 'common'], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    return changed === '' ? head : `${head}, with changes`;
  } catch {
    return 'unknown';
  }
}

/** The instruction sets that decide how fast matrices are multiplied. */
function instructionSets(): string[] {
  const flags = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' ') ?? [];
  return ['avx2', 'fma', 'avx512f', 'avx512_vnni', 'avx_vnni', 'amx_tile'].filter((flag) => flags.includes(flag));
}

export const hasVnni = (): boolean => instructionSets().some((flag) => flag.endsWith('vnni'));

export function circumstances(threads: number): string[] {
  const [first] = cpus();
  return [
    `${new Date().toISOString().slice(0, 10)}, commit ${commit()}`,
    `${first?.model.trim() ?? 'unknown processor'} (${instructionSets().join(', ')}), ${threads} of ${cpus().length} cores, ` +
      `${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()} ${arch()}`,
    `Node.js ${process.versions.node}, ${PACKAGES.map((name) => `${name} ${npmVersion(name)}`).join(', ')}`,
    `Python peers: ${pipVersions()}`,
  ];
}
