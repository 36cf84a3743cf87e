import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { acquireLock } from './lock.ts';
import type { LockOptions } from './lock.ts';

let folder: string;
const waits: string[] = [];

const options = (more: Partial<LockOptions> = {}): LockOptions => ({
  folder,
  self: { space: 'here', pid: 1 },
  staleMs: 30_000,
  signal: new AbortController().signal,
  now: () => performance.now(),
  isAlive: () => true,
  onWait: (holder) => waits.push(holder),
  isNeedless: async () => await Promise.resolve(false),
  ...more,
});

const record = async (fields: object): Promise<string> => {
  await mkdir(folder, { recursive: true });
  const file = path.join(folder, 'kubembed-1.lock');
  await writeFile(file, JSON.stringify({ id: 'other', space: 'there', pid: 7, released: false, ...fields }));
  return file;
};

beforeEach(async () => {
  folder = path.join(await mkdtemp(path.join(tmpdir(), 'kubembed-lock-')), 'locks');
  waits.length = 0;
});
afterEach(async () => {
  await rm(path.dirname(folder), { recursive: true, force: true });
});

test('one at a time: of ten that want it none overlap', async () => {
  let inside = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 10 }, async () => {
      const lock = await acquireLock(options({ staleMs: 300 }));
      inside += 1;
      most = Math.max(most, inside);
      await sleep(2);
      inside -= 1;
      await lock?.release();
    }),
  );
  expect(most).toBe(1);
  expect((await readdir(folder)).length).toBe(1);
});

test('a holder that died in our own process space is succeeded at once', async () => {
  await record({ space: 'here' });
  const lock = await acquireLock(options({ isAlive: () => false }));
  expect(lock).toBeDefined();
  expect(waits).toEqual([]);
  await lock?.release();
});

test('an earlier process that had our pid is dead', async () => {
  await record({ space: 'here', pid: 1 });
  const lock = await acquireLock(options());
  expect(lock).toBeDefined();
  await lock?.release();
});

test('of a holder elsewhere only the heartbeat counts, whatever its clock says', async () => {
  const file = await record({ space: 'there' });
  let looks = 0;
  // Beats three times as long as would be stale, with times of a clock that is decades off.
  const isNeedless = async (): Promise<boolean> => {
    looks += 1;
    if (looks <= 18) await utimes(file, new Date(looks * 1000), new Date(looks * 1000));
    return false;
  };
  const lock = await acquireLock(options({ staleMs: 120, isAlive: () => false, isNeedless }));
  expect(lock).toBeDefined();
  expect(looks).toBeGreaterThan(18);
  expect(await readdir(folder)).toEqual(['kubembed-2.lock']);
  await lock?.release();
});

test('who was succeeded while it slept learns of it', async () => {
  const lock = await acquireLock(options({ staleMs: 60 }));
  await writeFile(path.join(folder, 'kubembed-2.lock'), '');
  await new Promise((resolve) => lock?.lost.addEventListener('abort', resolve));
  expect(lock?.lost.aborted).toBe(true);
  await lock?.release();
});

test('waiting ends when it became needless, or by the signal', async () => {
  await record({});
  expect(await acquireLock(options({ isNeedless: async () => await Promise.resolve(true) }))).toBeUndefined();
  const stop = new AbortController();
  const pending = acquireLock(options({ signal: stop.signal }));
  stop.abort();
  await expect(pending).rejects.toThrow(/abort/i);
});

test('a half-written record counts as held', async () => {
  const file = await record({});
  await writeFile(file, '{"id":');
  let asked = 0;
  const isNeedless = async (): Promise<boolean> => await Promise.resolve((asked += 1) > 0);
  expect(await acquireLock(options({ isNeedless }))).toBeUndefined();
  expect(asked).toBe(1);
});
