import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createPool, startThreads } from './pool.ts';
import type { Pool } from './pool.ts';
import type { RunMessage, WorkerSetup } from './worker.ts';

const EXIT = 1;
const THROW = 2;
const FAIL = 3;
const SLOW = 4;
/** So many threads cannot be had. */
const DEADLY = 98;

/** Speaks what worker.ts speaks; the first token id says what to do. */
const SCRIPT = `
import { once } from 'node:events';
import { parentPort } from 'node:worker_threads';
const [{ kind, setup }] = await once(parentPort, 'message');
if (kind === 'end') process.exit();
if (setup.threads === 99) parentPort.postMessage({ kind: 'unusable', reason: 'InsufficientMemory', message: 'no' });
else parentPort.postMessage({ kind: 'ready', dimensions: 4 });
let { threads } = setup;
parentPort.on('message', ({ kind, run, setup }) => {
  if (kind === 'replace') {
    ({ threads } = setup);
    if (threads === ${DEADLY}) process.exit(7);
    return parentPort.postMessage({ kind: 'replaced' });
  }
  const [what] = run.ids;
  if (what === ${EXIT}) process.exit(7);
  if (what === ${THROW}) throw new Error('boom');
  if (what === ${FAIL}) return parentPort.postMessage({ kind: 'failed', message: 'bad shape' });
  if (what === ${SLOW}) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  const reply = { bytes: new Uint8Array([threads]), ends: new Uint32Array([1]) };
  parentPort.postMessage({ kind: 'done', reply: { ...reply, paddedTokens: 0, inferMs: 1, serializeMs: 0 } });
});
`;

const setup = (threads = 1): WorkerSetup => ({
  device: 'cpu',
  threads,
  model: { kind: 'file', path: 'unused', pooling: { modes: ['mean'], includePrompt: true } },
});

const message = (what: number): RunMessage => ({
  ids: Int32Array.of(what),
  lengths: Int32Array.of(1),
  encodings: ['float'],
  dimensions: Int32Array.of(0),
});

let folder = '';
let url: URL;
const pools: Pool[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubembed-pool-'));
  await writeFile(join(folder, 'worker.mjs'), SCRIPT);
  url = pathToFileURL(join(folder, 'worker.mjs'));
});
afterEach(() => Promise.all(pools.splice(0).map((pool) => pool.close())));
afterAll(() => rm(folder, { recursive: true, force: true }));

async function start(workers: number) {
  const crashes: { error: Error; delayMs: number }[] = [];
  let idled: () => void = () => undefined;
  const pool = await createPool(
    Array.from({ length: workers }, () => setup()),
    { url },
  );
  pool.watch({ onIdle: () => idled(), onCrash: (error, delayMs) => crashes.push({ error, delayMs }) });
  pools.push(pool);
  const nextIdle = () => new Promise<void>((resolve) => (idled = resolve));
  return { pool, crashes, nextIdle };
}

describe('pool', () => {
  it('runs one batch a worker and says how many are free', async () => {
    const { pool } = await start(2);
    expect([pool.idle(), pool.dimensions]).toEqual([2, 4]);
    const [first, second] = [pool.run(message(0), 'last'), pool.run(message(0), 'last')];
    expect(pool.idle()).toBe(0);
    await expect(pool.run(message(0), 'last')).rejects.toMatchObject({ code: 'worker_failed' });
    await Promise.all([first, second]);
    expect(pool.idle()).toBe(2);
  });

  it.each([
    ['ends', EXIT],
    ['throws', THROW],
  ])('a worker that %s fails its own batch, and is replaced', async (_, what) => {
    const { pool, crashes, nextIdle } = await start(2);
    const doomed = pool.run(message(what), 'last');
    const other = pool.run(message(0), 'last');
    await expect(doomed).rejects.toMatchObject({ code: 'worker_failed' });
    await other;
    expect(crashes).toHaveLength(1);
    while (pool.idle() < 2) await nextIdle();
    expect(pool.restarts()).toBe(1);
    await Promise.all([pool.run(message(0), 'last'), pool.run(message(0), 'last')]);
  });

  it('waits longer after each death in a row, and forgets them once a batch is done', async () => {
    const { pool, crashes, nextIdle } = await start(1);
    for (const what of [EXIT, EXIT, 0, EXIT]) {
      const run = pool.run(message(what), 'last');
      await run.catch(() => undefined);
      while (pool.idle() < 1) await nextIdle();
    }
    expect(crashes.map(({ delayMs }) => delayMs)).toEqual([100, 200, 100]);
  });

  it('a batch that cannot be run leaves its worker alive', async () => {
    const { pool, crashes } = await start(1);
    await expect(pool.run(message(FAIL), 'last')).rejects.toMatchObject({ code: 'worker_failed' });
    await pool.run(message(0), 'last');
    expect(crashes).toEqual([]);
  });

  it('lets a batch that runs end before it ends the workers', async () => {
    const { pool, crashes } = await start(2);
    const running = pool.run(message(SLOW), 'last');
    await pool.close();
    await expect(running).resolves.toMatchObject({ inferMs: 1 });
    expect(crashes).toEqual([]);
    expect(pool.idle()).toBe(0);
  });

  it('gives its first worker alone another session, when that is idle', async () => {
    const { pool } = await start(2);
    const replacing = pool.replaceSession(3);
    expect(pool.idle()).toBe(1);
    expect(await pool.replaceSession(3)).toBe('busy');
    expect(await replacing).toBe('done');
    expect(await pool.run(message(0), 'first')).toMatchObject({ bytes: new Uint8Array([3]) });
    expect(await pool.run(message(0), 'last')).toMatchObject({ bytes: new Uint8Array([1]) });
  });

  it('replaces a worker that dies of it by what it was', async () => {
    const { pool, crashes, nextIdle } = await start(1);
    expect(await pool.replaceSession(DEADLY)).toBe('died');
    while (pool.idle() < 1) await nextIdle();
    expect(crashes).toHaveLength(1);
    expect(await pool.run(message(0), 'first')).toMatchObject({ bytes: new Uint8Array([1]) });
  });

  it('refuses to start when a worker cannot, with its reason', async () => {
    await expect(createPool([setup(), setup(99)], { url })).rejects.toMatchObject({
      name: 'EngineStartError',
      reason: 'InsufficientMemory',
    });
  });
});

describe('threads started beforehand', () => {
  it('are taken first, and ended when there are too many', async () => {
    const started = startThreads(3, url);
    const pool = await createPool([setup(), setup()], { url, started });
    pools.push(pool);
    expect(pool.idle()).toBe(2);
    // Only one is left, and it ends by itself.
    await started.close();
    expect(started.take()).toBeUndefined();
    expect(await pool.run(message(0), 'last')).toMatchObject({ inferMs: 1 });
  });
});
