// What the cgroup (version 1 or 2) lets this process have: CPUs by quota and by cpuset, bytes of memory.
import { readFileSync } from 'node:fs';

export interface CgroupLimits {
  /** CPUs' worth of time by quota, e.g. 1.5. */
  readonly cpuQuota?: number;
  /** CPUs the process may run on. */
  readonly cpusetCpus?: number;
  readonly memoryBytes?: number;
}

/** The text of a file, or undefined when there is none. */
export type ReadText = (path: string) => string | undefined;

const ROOT = '/sys/fs/cgroup';

/** Version 1 says "no limit" with a number near 2^63. */
const UNLIMITED_BYTES = 2 ** 60;

/** `200000 100000` → 2; `max 100000` → undefined. */
export function parseCpuMax(text: string): number | undefined {
  const [quota, period] = text.trim().split(/\s+/u).map(Number);
  return quota !== undefined && period !== undefined && quota > 0 && period > 0 ? quota / period : undefined;
}

/** `0-3,8` → 5. */
export function countCpus(list: string): number | undefined {
  let cpus = 0;
  for (const range of list.trim().split(',')) {
    const [first, last = first] = range.split('-').map((part) => (part === '' ? NaN : Number(part)));
    if (first === undefined || last === undefined || !(last >= first)) return undefined;
    cpus += last - first + 1;
  }
  return cpus;
}

export function parseMemoryLimit(text: string): number | undefined {
  const bytes = Number(text.trim());
  return Number.isFinite(bytes) && bytes > 0 && bytes < UNLIMITED_BYTES ? bytes : undefined;
}

/** `/proc/self/cgroup` → path by controller; the one hierarchy of version 2 has the empty name. */
export function parseMembership(text: string): ReadonlyMap<string, string> {
  const paths = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/u.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    for (const controller of controllers.split(',')) paths.set(controller, path);
  }
  return paths;
}

/** `/a/b` → `/a/b`, `/a`, ``: a limit may stand on any ancestor, and in a container only the root may be visible. */
function withAncestors(path: string): string[] {
  const folders: string[] = [];
  for (let folder = path.replace(/\/+$/u, ''); folder !== ''; folder = folder.slice(0, folder.lastIndexOf('/'))) {
    folders.push(folder);
  }
  return [...folders, ''];
}

const smallest = (values: readonly (number | undefined)[]): number | undefined => {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
};

/** The tightest value over all folders in which `name` can be read. */
const tightest = (folders: readonly string[], read: (folder: string) => number | undefined): number | undefined =>
  smallest(folders.map(read));

const parsed = <T>(text: string | undefined, parse: (text: string) => T | undefined): T | undefined =>
  text === undefined ? undefined : parse(text);

/** As CgroupLimits, with what is not limited said. */
type Reading = { readonly [Limit in keyof CgroupLimits]: CgroupLimits[Limit] | undefined };

function readVersion2(read: ReadText, path: string): Reading {
  const folders = withAncestors(path).map((folder) => ROOT + folder);
  const over = (name: string, parse: (text: string) => number | undefined) =>
    tightest(folders, (folder) => parsed(read(`${folder}/${name}`), parse));
  return {
    cpuQuota: over('cpu.max', parseCpuMax),
    cpusetCpus: over('cpuset.cpus.effective', countCpus),
    memoryBytes: over('memory.max', parseMemoryLimit),
  };
}

function readVersion1(read: ReadText, paths: ReadonlyMap<string, string>): Reading {
  const over = (controller: string, parse: (folder: string) => number | undefined) => {
    const path = paths.get(controller);
    if (path === undefined) return undefined;
    const mounts = controller === 'cpu' ? ['cpu', 'cpu,cpuacct'] : [controller];
    const folders = mounts.flatMap((mount) => withAncestors(path).map((folder) => `${ROOT}/${mount}${folder}`));
    return tightest(folders, parse);
  };
  return {
    cpuQuota: over('cpu', (folder) => {
      const quota = read(`${folder}/cpu.cfs_quota_us`);
      const period = read(`${folder}/cpu.cfs_period_us`);
      return quota === undefined || period === undefined ? undefined : parseCpuMax(`${quota.trim()} ${period}`);
    }),
    cpusetCpus: over('cpuset', (folder) => parsed(read(`${folder}/cpuset.effective_cpus`), countCpus)),
    memoryBytes: over('memory', (folder) => parsed(read(`${folder}/memory.limit_in_bytes`), parseMemoryLimit)),
  };
}

/** Limits as the files say; all undefined outside of Linux. */
export function readCgroupLimits(read: ReadText): CgroupLimits {
  const paths = parseMembership(read('/proc/self/cgroup') ?? '');
  const unified = paths.get('');
  const version1 = readVersion1(read, paths);
  const version2: Reading = unified === undefined ? {} : readVersion2(read, unified);
  // A hybrid host has some controllers in each.
  const cpuQuota = smallest([version1.cpuQuota, version2.cpuQuota]);
  const cpusetCpus = smallest([version1.cpusetCpus, version2.cpusetCpus]);
  const memoryBytes = smallest([version1.memoryBytes, version2.memoryBytes]);
  return {
    ...(cpuQuota !== undefined && { cpuQuota }),
    ...(cpusetCpus !== undefined && { cpusetCpus }),
    ...(memoryBytes !== undefined && { memoryBytes }),
  };
}

export const readTextFile: ReadText = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
};

/** Whole CPUs to compute on: a quota of 1.5 gives one, because a second thread would be throttled half of the time. */
export function usableCpus({ cpuQuota, cpusetCpus }: CgroupLimits, onlineCpus: number): number {
  const bounds = [onlineCpus, cpusetCpus, cpuQuota === undefined ? undefined : Math.floor(cpuQuota)];
  return Math.max(1, smallest(bounds) ?? 1);
}
