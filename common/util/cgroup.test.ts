import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { countCpus, parseCpuMax, parseMemoryLimit, readCgroupLimits, usableCpus } from './cgroup.ts';

const files = (tree: Readonly<Record<string, string>>) => (path: string) => tree[path];

describe('readCgroupLimits', () => {
  it('reads version 2 as a container sees it', () => {
    const read = files({
      '/proc/self/cgroup': '0::/\n',
      '/sys/fs/cgroup/cpu.max': '150000 100000\n',
      '/sys/fs/cgroup/cpuset.cpus.effective': '0-3,8\n',
      '/sys/fs/cgroup/memory.max': '536870912\n',
    });
    expect(readCgroupLimits(read)).toEqual({ cpuQuota: 1.5, cpusetCpus: 5, memoryBytes: 536870912 });
  });

  it('takes the tightest limit of any ancestor', () => {
    const read = files({
      '/proc/self/cgroup': '0::/kubepods.slice/pod.slice/container\n',
      '/sys/fs/cgroup/kubepods.slice/pod.slice/container/cpu.max': 'max 100000\n',
      '/sys/fs/cgroup/kubepods.slice/pod.slice/cpu.max': '200000 100000\n',
      '/sys/fs/cgroup/kubepods.slice/cpu.max': '800000 100000\n',
      '/sys/fs/cgroup/kubepods.slice/pod.slice/memory.max': '1000\n',
      '/sys/fs/cgroup/kubepods.slice/pod.slice/container/memory.max': 'max\n',
    });
    expect(readCgroupLimits(read)).toEqual({ cpuQuota: 2, memoryBytes: 1000 });
  });

  it('reads version 1, whose container path is not mounted in the container', () => {
    const read = files({
      '/proc/self/cgroup': '4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n2:cpuset:/docker/abc\n1:name=systemd:/\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '50000\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '2147483648\n',
      '/sys/fs/cgroup/cpuset/cpuset.effective_cpus': '1,3\n',
    });
    expect(readCgroupLimits(read)).toEqual({ cpuQuota: 0.5, cpusetCpus: 2, memoryBytes: 2147483648 });
  });

  it('knows the ways to say "no limit"', () => {
    const read = files({
      '/proc/self/cgroup': '4:cpu:/\n3:memory:/\n0::/\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
      '/sys/fs/cgroup/cpu.max': 'max 100000\n',
    });
    expect(readCgroupLimits(read)).toEqual({});
    expect(readCgroupLimits(() => undefined)).toEqual({});
  });

  it('never throws, whatever the files hold', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (membership, content) => {
        const limits = readCgroupLimits((path) => (path === '/proc/self/cgroup' ? `0::/\n${membership}` : content));
        for (const value of Object.values(limits) as number[]) expect(value).toBeGreaterThan(0);
      }),
    );
  });
});

describe('parsers', () => {
  it.each([
    ['0', 1],
    ['0-1', 2],
    ['0-3,5,7-8', 7],
    ['', undefined],
    ['3-1', undefined],
    ['a', undefined],
  ])('countCpus %j is %s', (list, cpus) => expect(countCpus(list)).toBe(cpus));

  it('parseCpuMax and parseMemoryLimit refuse what is no number', () => {
    expect(parseCpuMax('max')).toBeUndefined();
    expect(parseCpuMax('100 0')).toBeUndefined();
    expect(parseMemoryLimit('max')).toBeUndefined();
    expect(parseMemoryLimit('')).toBeUndefined();
  });
});

describe('usableCpus', () => {
  it.each([
    [{ cpuQuota: 2 }, 16, 2],
    [{ cpuQuota: 1.5 }, 16, 1],
    [{ cpuQuota: 0.25 }, 16, 1],
    [{ cpuQuota: 8, cpusetCpus: 3 }, 16, 3],
    [{}, 4, 4],
  ])('of %j on %d CPUs is %d', (limits, online, usable) => expect(usableCpus(limits, online)).toBe(usable));
});
