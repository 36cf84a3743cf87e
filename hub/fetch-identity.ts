// Who this process is to other fetchers on the same volume.
import { readFile, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import type { ProcessIdentity } from './fetch-lock.ts';

const orElse = async (value: Promise<string>, fallback: string): Promise<string> => {
  try {
    return (await value).trim();
  } catch {
    return fallback;
  }
};

export const readIdentity = async (): Promise<ProcessIdentity> => {
  const boot = await orElse(readFile('/proc/sys/kernel/random/boot_id', 'utf8'), hostname());
  const namespace = await orElse(readlink('/proc/self/ns/pid'), '');
  return { space: `${boot} ${namespace}`, pid: process.pid };
};

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
};
