// One fetcher at a time per model, also across machines on a shared volume, where a crashed holder is soon succeeded.
//
// Lock files are numbered; the highest number is the lock. Who would succeed a holder that released, died or stands still
// creates the next number, which only one can. Breaking a lock by deleting it would let two waiters both win.
import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, readdir, readlink, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { parseObject } from './files.ts';

/** Where a process lives: pids compare only within one kernel boot and pid namespace. */
export interface ProcessIdentity {
  readonly space: string;
  readonly pid: number;
}

export interface LockOptions {
  readonly folder: string;
  readonly self: ProcessIdentity;
  /** A heartbeat that stands still for this long, by our own clock, means a dead holder. */
  readonly staleMs: number;
  readonly signal: AbortSignal;
  readonly now: () => number;
  readonly isAlive: (pid: number) => boolean;
  /** Called once when someone else holds the lock. */
  readonly onWait: (holder: string) => void;
  /** Checked while waiting; true ends the wait without the lock. */
  readonly isNeedless: () => Promise<boolean>;
}

export interface Lock {
  /** Aborted when another took over, as after a long pause of this machine. */
  readonly lost: AbortSignal;
  /** The predecessor may not be dead but asleep: files that it had open are not to be trusted. */
  readonly predecessorMayWake: boolean;
  release(): Promise<void>;
}

/** Who this process is to other fetchers on the same volume. */
export const readIdentity = async (): Promise<ProcessIdentity> => {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(hostname);
  const namespace = await readlink('/proc/self/ns/pid').catch(() => '');
  return { space: `${boot.trim()} ${namespace}`, pid: process.pid };
};

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
};

const recordSchema = z.object({ id: z.string(), space: z.string(), pid: z.number(), released: z.boolean() });
type LockRecord = z.infer<typeof recordSchema>;

const heldHere = new Set<string>();

const fileOf = (folder: string, number: number): string => path.join(folder, `kubembed-${number}.lock`);

const numbers = async (folder: string): Promise<number[]> =>
  (await readdir(folder))
    .map((name) => /^kubembed-(\d+)\.lock$/.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b);

/** Undefined when just created and still empty, or already gone. */
const readRecord = async (file: string): Promise<LockRecord | undefined> =>
  recordSchema.safeParse(parseObject(await readFile(file, 'utf8').catch(() => ''))).data;

/** Whether the record alone shows that nobody holds the lock. */
const isFree = (record: LockRecord | undefined, options: LockOptions): boolean => {
  if (record === undefined) return false;
  if (record.released) return true;
  if (record.space !== options.self.space) return false;
  return record.pid === options.self.pid ? !heldHere.has(record.id) : !options.isAlive(record.pid);
};

type HeldLock = Omit<Lock, 'predecessorMayWake'>;

/** Keeps the heartbeat going; `lost` when a higher number has appeared. */
const hold = (number: number, record: LockRecord, { folder, staleMs }: LockOptions): HeldLock => {
  const file = fileOf(folder, number);
  const lost = new AbortController();
  const beat = async (): Promise<void> => {
    const highest = (await numbers(folder)).at(-1) ?? number;
    if (highest > number) lost.abort(new Error('another process took the lock over'));
    const now = new Date();
    await utimes(file, now, now);
  };
  const timer = setInterval(() => {
    beat().catch(() => undefined);
  }, staleMs / 6);
  timer.unref();
  return {
    lost: lost.signal,
    release: async () => {
      clearInterval(timer);
      heldHere.delete(record.id);
      await using handle = await open(file, 'r+').catch(() => undefined);
      if (handle === undefined) return;
      const text = JSON.stringify({ ...record, released: true });
      await handle.write(text, 0);
      await handle.truncate(Buffer.byteLength(text));
    },
  };
};

/** Creates the numbered file; false when another was first. */
const claim = async (number: number, record: LockRecord, { folder }: LockOptions): Promise<boolean> => {
  try {
    await writeFile(fileOf(folder, number), JSON.stringify(record), { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
  const all = await numbers(folder);
  // Our view of the folder was old when others have come and gone meanwhile.
  const won = all.at(-1) === number;
  const needless = won ? all.filter((other) => other < number) : [number];
  for (const one of needless) await rm(fileOf(folder, one), { force: true });
  return won;
};

const takeNext = async (highest: number, options: LockOptions): Promise<HeldLock | undefined> => {
  const record = { id: randomUUID(), ...options.self, released: false };
  const number = highest + 1;
  // Before the file exists: others of this process must not take our own pid for a dead predecessor's.
  heldHere.add(record.id);
  if (await claim(number, record, options)) return hold(number, record, options);
  heldHere.delete(record.id);
  return undefined;
};

interface Watch {
  heartbeat: string;
  seenAt: number;
  stillMs: number;
}

const pollMs = ({ staleMs }: LockOptions): number => Math.min(500, staleMs / 6);

/**
 * Whether the heartbeat of the current holder has stood still for too long. Clocks of other machines play no part,
 * and time in which we ourselves did not look, as when this machine was paused, does not count.
 */
const stoodStill = async (file: string, watch: Watch, options: LockOptions): Promise<boolean> => {
  const info = await stat(file).catch(() => undefined);
  const heartbeat = `${file} ${info?.mtimeMs ?? 'gone'}`;
  const now = options.now();
  const lookedForMs = Math.min(now - watch.seenAt, 2 * pollMs(options));
  watch.stillMs = heartbeat === watch.heartbeat ? watch.stillMs + lookedForMs : 0;
  watch.heartbeat = heartbeat;
  watch.seenAt = now;
  return watch.stillMs >= options.staleMs;
};

/** The lock, or undefined when waiting became needless. */
export const acquireLock = async (options: LockOptions): Promise<Lock | undefined> => {
  await mkdir(options.folder, { recursive: true });
  const watch: Watch = { heartbeat: '', seenAt: options.now(), stillMs: 0 };
  let told = false;
  for (;;) {
    options.signal.throwIfAborted();
    const highest = (await numbers(options.folder)).at(-1) ?? 0;
    const file = fileOf(options.folder, highest);
    const record = highest === 0 ? undefined : await readRecord(file);
    const free = highest === 0 || isFree(record, options);
    if (free || (await stoodStill(file, watch, options))) {
      const lock = await takeNext(highest, options);
      if (lock !== undefined) return { ...lock, predecessorMayWake: !free };
      continue;
    }
    if (await options.isNeedless()) return undefined;
    if (!told) options.onWait(record === undefined ? 'another process' : `process ${record.pid}`);
    told = true;
    await sleep(pollMs(options), undefined, { signal: options.signal });
  }
};
