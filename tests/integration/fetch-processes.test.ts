// Fetchers that are killed, stopped or run side by side: never a wrong byte served, never a byte fetched twice without need.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Stats } from 'node:fs';
import { mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fetchSnapshot } from '../../hub/fetch.ts';
import type { FetchOptions } from '../../hub/fetch.ts';
import { openSnapshot } from '../../hub/store.ts';
import { leastModel, startHubServer } from '../helpers/hub-server.ts';
import type { HubServer } from '../helpers/hub-server.ts';

const MODEL = 'acme/tiny-embedder';
const WEIGHTS = randomBytes(8_000_000);
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const BLOB = sha256(WEIGHTS);

let hub: HubServer;
let store: string;
const children = new Set<ChildProcess>();

interface Fetcher {
  readonly child: ChildProcess;
  /** Resolves with the first line of that kind, or undefined when the process ends without. */
  readonly line: (kind: string) => Promise<string | undefined>;
  readonly exited: Promise<unknown>;
}

const options = (more: Partial<FetchOptions> = {}): FetchOptions => ({
  modelId: MODEL,
  store,
  endpoint: hub.endpoint,
  ...more,
});

const startFetcher = (more: Partial<FetchOptions> = {}): Fetcher => {
  const script = path.join(import.meta.dirname, 'fetch-child.ts');
  const child = spawn(process.execPath, [script, JSON.stringify(options(more))], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  children.add(child);
  const lines: string[] = [];
  const reader = createInterface({ input: child.stdout });
  let closed = false;
  reader.on('line', (text) => lines.push(text));
  reader.on('close', () => (closed = true));
  const find = (kind: string) => lines.find((text) => text.includes(`"kind":"${kind}"`));
  return {
    child,
    exited: once(child, 'exit'),
    line: async (kind) => {
      while (find(kind) === undefined && !closed) await Promise.race([once(reader, 'line'), once(reader, 'close')]);
      return find(kind);
    },
  };
};

const servedNow = async (): Promise<string | undefined> => {
  const files = await openSnapshot(store, MODEL, 'main');
  if (files === undefined) return undefined;
  expect((await readdir(files.snapshotDir)).sort()).toEqual([
    'config.json',
    'model.safetensors',
    'modules.json',
    'tokenizer.json',
  ]);
  return sha256(await readFile(files.weights.get('model.safetensors') ?? ''));
};

const blobRequests = () => hub.requests.filter((seen) => seen.path.includes(BLOB));

const blobs = (): string => path.join(store, `models--${MODEL.replace('/', '--')}`, 'blobs');

/** Waits until the partial file has that many bytes. */
const partialOf = async (bytes: number): Promise<Stats> => {
  for (;;) {
    const info = await stat(path.join(blobs(), `${BLOB}.kubembed-part`)).catch(() => undefined);
    if (info !== undefined && info.size >= bytes) return info;
    await sleep(20);
  }
};

beforeEach(async () => {
  hub = await startHubServer();
  hub.commit(MODEL, leastModel(WEIGHTS));
  store = await mkdtemp(path.join(tmpdir(), 'kubembed-store-'));
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
  await hub.close();
  await rm(store, { recursive: true, force: true });
});

test('killed at random points twenty times: nothing partial is ever served, and the bytes got are kept', async () => {
  hub.faults = [{ match: BLOB, bytesPerSecond: 16_000_000 }];
  let resumed = 0;
  for (let round = 0; round < 20; round++) {
    const before = blobRequests().length;
    const fetcher = startFetcher();
    const begun = await fetcher.line(round % 2 === 0 ? 'source' : 'progress');
    await sleep(Math.random() * 250);
    fetcher.child.kill('SIGKILL');
    await fetcher.exited;
    const served = await servedNow();
    // The one before may have been killed between the last byte and the snapshot: then there is nothing to fetch, and it ends by itself.
    expect(begun === undefined ? [BLOB] : [undefined, BLOB], `round ${round}`).toContain(served);
    resumed += blobRequests()
      .slice(before)
      .filter((seen) => seen.range !== undefined).length;
    // Begin anew, so that all stages get their share of kills.
    if (served !== undefined) await rm(store, { recursive: true, force: true });
  }
  expect(resumed).toBeGreaterThan(0);
  hub.faults = [];
  await fetchSnapshot(options());
  expect(await servedNow()).toBe(BLOB);
});

test('the bytes of a killed fetch are not fetched again', async () => {
  hub.faults = [{ match: BLOB, stallAfterBytes: 5_000_000, times: 1 }];
  const fetcher = startFetcher({ timeouts: { stallMs: 60_000 } });
  await partialOf(5_000_000);
  fetcher.child.kill('SIGKILL');
  await fetcher.exited;
  await fetchSnapshot(options());
  expect(await servedNow()).toBe(BLOB);
  expect(blobRequests().map((seen) => seen.range)).toEqual([undefined, 'bytes=5000000-']);
});

test('four fetchers at once download once', async () => {
  // Slow enough that all of them are there before the first has anything.
  hub.faults = [{ match: BLOB, slowStartMs: 5_000 }];
  const fetchers = [startFetcher(), startFetcher(), startFetcher(), startFetcher()];
  const ends = await Promise.all(fetchers.map(async (fetcher) => await fetcher.line('done')));
  expect(ends.filter((end) => end !== undefined).length).toBe(4);
  expect(await servedNow()).toBe(BLOB);
  expect(blobRequests().length).toBe(1);
  const waited = await Promise.all(fetchers.map(async (fetcher) => await fetcher.line('waiting')));
  expect(waited.filter((line) => line !== undefined).length).toBe(3);
});

test('two fetches in one process download once', async () => {
  const [one, two] = await Promise.all([fetchSnapshot(options()), fetchSnapshot(options())]);
  expect(one).toEqual(two);
  expect(blobRequests().length).toBe(1);
});

test('a holder that stands still is succeeded, and does no harm when it wakes', async () => {
  hub.faults = [{ match: BLOB, stallAfterBytes: 5_000_000, times: 1 }];
  const sleeper = startFetcher({ lockStaleMs: 900, timeouts: { stallMs: 60_000 } });
  const heldOpen = await partialOf(5_000_000);
  sleeper.child.kill('SIGSTOP');
  await fetchSnapshot(options({ lockStaleMs: 900 }));
  expect(await servedNow()).toBe(BLOB);
  expect(blobRequests().at(-1)?.range).toBe('bytes=5000000-');
  // What the sleeper still has open is not the file that is now served.
  expect((await stat(path.join(blobs(), BLOB))).ino).not.toBe(heldOpen.ino);
  sleeper.child.kill('SIGCONT');
  await sleeper.exited;
  expect(await servedNow()).toBe(BLOB);
});
