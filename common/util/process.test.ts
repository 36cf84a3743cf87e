import { totalmem } from 'node:os';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { homeFolder, packageVersion, threadUrl, usableCpus, usableMemory } from './process.ts';

const files = (tree: Readonly<Record<string, string>>) => (path: string) => tree[path];

describe('usableCpus', () => {
  it.each([
    ['200000 100000', 16, 2],
    ['150000 100000', 16, 1],
    ['25000 100000', 16, 1],
    ['800000 100000', 3, 3],
    ['max 100000', 4, 4],
    ['max', 4, 4],
    ['100 0', 4, 4],
    ['', 4, 4],
  ])('with %j of version 2 on %d CPUs is %d', (max, online, usable) => {
    const read = files({ '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': `${max}\n` });
    expect(usableCpus(read, online)).toBe(usable);
  });

  it('is what the tightest ancestor gives, of those that can be seen', () => {
    const read = files({
      '/proc/self/cgroup': '0::/a/b\n',
      '/sys/fs/cgroup/a/b/cpu.max': '800000 100000\n',
      '/sys/fs/cgroup/a/cpu.max': '300000 100000\n',
    });
    expect(usableCpus(read, 16)).toBe(3);
    const hidden = files({ '/proc/self/cgroup': '0::/kubepods/pod1\n', '/sys/fs/cgroup/cpu.max': '200000 100000\n' });
    expect(usableCpus(hidden, 16)).toBe(2);
  });

  it('knows version 1, whose container path is not mounted in the container', () => {
    const read = files({
      '/proc/self/cgroup': '4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n1:name=systemd:/\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '250000\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
    });
    expect(usableCpus(read, 16)).toBe(2);
  });

  it('knows the ways to say "no limit"', () => {
    const read = files({
      '/proc/self/cgroup': '4:cpu:/\n0::/\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
      '/sys/fs/cgroup/cpu.max': 'max 100000\n',
    });
    expect(usableCpus(read, 5)).toBe(5);
    expect(usableCpus(() => undefined, 5)).toBe(5);
  });

  it('is a whole number from one to what is online, whatever the files hold', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (membership, content) => {
        const cpus = usableCpus((path) => (path === '/proc/self/cgroup' ? `0::/\n${membership}` : content), 8);
        expect(Number.isInteger(cpus) && cpus >= 1 && cpus <= 8).toBe(true);
      }),
    );
  });
});

it('usableMemory is at most what the machine has', () => {
  expect(usableMemory()).toBeGreaterThan(0);
  expect(usableMemory()).toBeLessThanOrEqual(totalmem());
});

it('finds a thread beside code that runs as written, and beside compiled code', () => {
  const source = new URL('file:///app/dist/common/http/x.ts');
  expect(threadUrl(source, 'file:///app/common/util/process.ts').href).toBe('file:///app/dist/common/http/x.ts');
  expect(threadUrl(source, 'file:///app/dist/common/util/process.js').href).toBe('file:///app/dist/common/http/x.js');
});

it('knows the version of the package', () => {
  expect(packageVersion()).toMatch(/^\d+\.\d+\.\d+/);
});

it.each([
  [{ HOME: '/home/me' }, '/home/me'],
  [{ HOME: '' }, '/home/known'],
  [{}, '/home/known'],
])('the home of %j is %s', (env, home) => {
  expect(homeFolder(env, () => '/home/known')).toBe(home);
});

it('a user whom the system does not know is at home in the root folder', () => {
  const unknown = (): string => {
    throw new Error('uv_os_homedir returned ENOENT');
  };
  expect(homeFolder({}, unknown)).toBe('/');
});
