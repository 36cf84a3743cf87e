// What a process finds around it: CPUs and memory that it may use, its user's home, its package's version, the files of its threads.
import { readFileSync } from 'node:fs';
import { availableParallelism, homedir, totalmem } from 'node:os';
import type { Environment } from './env.ts';

/** The text of a file, or undefined when there is none. */
export type ReadText = (path: string) => string | undefined;

const readTextFile: ReadText = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
};

/**
 * Whole CPUs to compute on: a quota of 1.5 gives one, because a second thread would be throttled half of the time. Node
 * reads affinity and version 2's quota by itself, but not the quota where the group's own folder is not mounted, nor version 1's.
 */
export function usableCpus(read: ReadText = readTextFile, parallelism: number = availableParallelism()): number {
  return Math.max(1, Math.floor(Math.min(parallelism, ...quotas(read))));
}

/** Bytes; what the machine has when nothing limits it. */
export const usableMemory = (): number => Math.min(process.constrainedMemory() || Infinity, totalmem());

/** For a user whom the system does not know and nobody gave a home it is `/`, as container runtimes have it: there Node's own function throws. */
export function homeFolder({ HOME: given }: Environment, ask: () => string = homedir): string {
  if (given) return given;
  try {
    return ask();
  } catch {
    return '/';
  }
}

const ROOT = '/sys/fs/cgroup';

/** CPUs' worth of time, of the group and of each of its ancestors that can be read. */
function quotas(read: ReadText): number[] {
  const groups = (read('/proc/self/cgroup') ?? '').split('\n').flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/u.exec(line) ?? [];
    return controllers === undefined || path === undefined ? [] : [{ controllers: controllers.split(','), path }];
  });
  return groups
    .flatMap(({ controllers, path }) => {
      if (controllers.includes('cpu')) {
        return ['cpu', 'cpu,cpuacct'].flatMap((mount) =>
          withAncestors(path).map((folder) => version1(read, mount + folder)),
        );
      }
      return controllers[0] === '' ? withAncestors(path).map((folder) => version2(read, folder)) : [];
    })
    .filter((quota) => quota !== undefined);
}

/** `/a/b` → `/a/b`, `/a`, ``: a limit may stand on any ancestor, and in a container only the root may be visible. */
function withAncestors(path: string): string[] {
  const folders: string[] = [];
  for (let folder = path.replace(/\/+$/u, ''); folder !== ''; folder = folder.slice(0, folder.lastIndexOf('/'))) {
    folders.push(folder);
  }
  return [...folders, ''];
}

const version1 = (read: ReadText, folder: string): number | undefined =>
  ratio(read(`${ROOT}/${folder}/cpu.cfs_quota_us`), read(`${ROOT}/${folder}/cpu.cfs_period_us`));

/** `200000 100000`, or `max 100000` where there is none. */
const version2 = (read: ReadText, folder: string): number | undefined => {
  const [quota, period] = read(`${ROOT}${folder}/cpu.max`)?.trim().split(/\s+/u) ?? [];
  return ratio(quota, period);
};

/** Undefined for what is no number, and for -1, which says "no limit". */
function ratio(quota: string | undefined, period: string | undefined): number | undefined {
  const [time, of] = [Number(quota), Number(period)];
  return time > 0 && of > 0 ? time / of : undefined;
}

// ── Where things of the package are, in the source and once bundled ──

/** In a bundle, `dist/PROCESS` stands for the project's folder. */
const PLACES = ['../../package.json', '../../../../package.json'];

/** As it is installed: the npm package has its publisher's name in front. */
export function packageFacts(): { readonly name: string; readonly version: string } {
  for (const place of PLACES) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(place, import.meta.url), 'utf8')) as Record<
        string,
        unknown
      >;
      if (typeof name === 'string' && /(^|\/)kubembed$/.test(name) && typeof version === 'string')
        return { name, version };
    } catch {
      // Not there: the next place.
    }
  }
  return { name: 'kubembed', version: '0.0.0' };
}

export const packageVersion = (): string => packageFacts().version;

/**
 * Where a worker thread's file is: `.ts` when run as written, `.js` once bundled (the bundler leaves addresses as they are).
 * Give it `new URL('./x.ts', import.meta.url)`, so that the bundler and tools which follow imports find the file.
 */
export function threadUrl(source: URL, own: string = import.meta.url): URL {
  return own.endsWith('.ts') ? source : new URL(source.href.replace(/\.ts$/, '.js'));
}
