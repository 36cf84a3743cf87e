// What /proc says: CPU time and memory of a process with all its descendants, and how busy the machine is.
import { readFileSync, readdirSync } from 'node:fs';

/** USER_HZ is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

const read = (file: string): string => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // The process ended between listing and reading.
    return '';
  }
};

/** The fields of /proc/<pid>/stat from the third on; the second may hold spaces and brackets. */
const statFields = (pid: number): string[] => {
  const text = read(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
};

export function processTree(root: number): number[] {
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

/** User and system time of the tree, with that of children it has waited for. */
export function cpuSeconds(root: number): number {
  let ticks = 0;
  for (const pid of processTree(root)) {
    const fields = statFields(pid);
    for (const field of [11, 12, 13, 14]) ticks += Number(fields[field] ?? 0);
  }
  return ticks / TICKS_PER_SECOND;
}

/** The high-water marks of the tree, added up. */
export const peakRssMb = (root: number): number =>
  processTree(root)
    .map((pid) => Number(/VmHWM:\s+(\d+)/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) / 1024)
    .reduce((sum, megabytes) => sum + megabytes, 0);

/** Seconds in which the machine's cores did anything, or were taken away by the hypervisor. */
export function busySeconds(): number {
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
