// What the numbers were measured on, and what /proc says meanwhile: CPU time and memory of a process with all its descendants.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../', import.meta.url));

const read = (file: string): string => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // No such file: a process that ended between listing and reading, or no Linux.
    return '';
  }
};

export function commitOf(checkout: string): string {
  const git = (...args: string[]): string => execFileSync('git', args, { cwd: checkout, encoding: 'utf8' }).trim();
  try {
    const changed = git('status', '--porcelain', '--untracked-files=no');
    return `${git('rev-parse', '--short', 'HEAD')}${changed === '' ? '' : ', with changes'}`;
  } catch {
    return 'unknown';
  }
}

const FLAGS = ['avx2', 'fma', 'avx512f', 'avx512_vnni', 'avx_vnni', 'amx_tile'];

/** The instruction sets that decide how fast matrices are multiplied. */
function instructionSets(): string[] {
  const flags = /^flags\s*:(.*)$/m.exec(read('/proc/cpuinfo'))?.[1]?.split(' ') ?? [];
  return FLAGS.filter((flag) => flags.includes(flag));
}

export const hasVnni = (): boolean => instructionSets().some((flag) => flag.endsWith('vnni'));

/** @param sharedWith who else uses the cores, in words */
export function circumstances(sharedWith: string, ...more: readonly string[]): string[] {
  const [first] = cpus();
  return [
    [new Date().toISOString().slice(0, 10), `commit ${commitOf(ROOT)}`, `Node.js ${process.versions.node}`].join(', '),
    `${first?.model.trim() ?? 'unknown processor'} (${instructionSets().join(', ')}), ${cpus().length} cores ${sharedWith}, ` +
      `${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`,
    ...more,
  ];
}

const PACKAGES = ['onnxruntime-node', 'tokenizers'];
const REQUIREMENTS = ['torch', 'transformers', 'sentence-transformers', 'infinity_emb', 'onnxruntime', 'fastapi'];

/** Of what the runtime computes with. */
export const ownVersions = (): string[] =>
  PACKAGES.map((name) => {
    const { version } = JSON.parse(read(join(ROOT, 'node_modules', name, 'package.json'))) as { version: string };
    return `${name} ${version}`;
  });

/** Of what an interpreter has installed; undefined where it lacks one of them. */
export function pythonVersions(python: string, packages: readonly string[]): string[] | undefined {
  const script =
    'import sys, importlib.metadata as m; print(*[f"{p} {m.version(p)}" for p in sys.argv[1:]], sep="\\n")';
  const { status, stdout } = spawnSync(python, ['-c', script, ...packages], { encoding: 'utf8' });
  return status === 0 ? stdout.trim().split('\n') : undefined;
}

/** Versions of what the runtime and its peers compute with. */
export function versions(): string[] {
  const pinned = read(join(ROOT, 'bench/peers/requirements.txt')).split('\n');
  const npm = ownVersions();
  const { dependencies } = JSON.parse(read(join(ROOT, 'bench/peers/package.json'))) as {
    dependencies: Readonly<Record<string, string>>;
  };
  npm.push(...Object.entries(dependencies).map(([name, version]) => `${name} ${version}`));
  const pip = REQUIREMENTS.flatMap((name) => pinned.find((line) => line.startsWith(`${name}==`)) ?? []);
  return [npm.join(', '), `Python peers: ${pip.map((line) => line.replace('==', ' ')).join(', ')}`];
}

/** USER_HZ is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** The fields of /proc/<pid>/stat from the third on; the second may hold spaces and brackets. */
const statFields = (pid: number): string[] => {
  const text = read(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
};

function processTree(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    const parent = Number(statFields(pid)[1]);
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const tree = [root];
  for (const pid of tree) tree.push(...(children.get(pid) ?? []));
  return tree;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** User and system time of the tree, with that of children it has waited for. */
export const cpuSeconds = (root: number): number =>
  sum(
    processTree(root).map((pid) => {
      const fields = statFields(pid);
      return sum([11, 12, 13, 14].map((field) => Number(fields[field] ?? 0)));
    }),
  ) / TICKS_PER_SECOND;

/** User and system time of this process's children that have ended, with all of theirs. */
export const reapedCpuSeconds = (): number => {
  const fields = statFields(process.pid);
  return sum([13, 14].map((field) => Number(fields[field] ?? 0))) / TICKS_PER_SECOND;
};

const memoryMb = (root: number, field: 'VmRSS' | 'VmHWM'): number => {
  const line = new RegExp(`^${field}:\\s+(\\d+)`, 'm');
  return sum(processTree(root).map((pid) => Number(line.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) / 1024));
};
export const rssMb = (root: number): number => memoryMb(root, 'VmRSS');
/** The high-water marks of the tree, added up. */
export const peakRssMb = (root: number): number => memoryMb(root, 'VmHWM');

/** Seconds in which the machine's cores did anything, or were taken away by the hypervisor. */
function busySeconds(): number {
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = read('/proc/stat')
    .split('\n', 1)[0]!
    .split(/\s+/)
    .map(Number);
  return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND;
}

export interface Usage {
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Cores that neither the measured process nor the load generator kept busy. */
  readonly foreignCores: number;
  readonly clientCores: number;
}

/** Starts a window over one process tree; the returned function ends it. */
export function startMeter(root: number): () => Usage {
  const now = () => ({
    at: performance.now() / 1000,
    tree: cpuSeconds(root),
    client: process.cpuUsage(),
    busy: busySeconds(),
  });
  const before = now();
  return () => {
    const after = now();
    const seconds = after.at - before.at;
    const tree = after.tree - before.tree;
    const { user, system } = process.cpuUsage(before.client);
    const client = (user + system) / 1e6;
    return {
      seconds,
      cpuSeconds: tree,
      foreignCores: Math.max(0, after.busy - before.busy - tree - client) / seconds,
      clientCores: client / seconds,
    };
  };
}
