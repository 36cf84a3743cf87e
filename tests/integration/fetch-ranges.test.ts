// Large files from a hub-shaped server: several ranges side by side, each with its own faults; never a wrong byte, little fetched twice.
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fetchSnapshot } from '../../hub/fetch.ts';
import type { FetchEvent, FetchOptions } from '../../hub/fetch.ts';
import { openSnapshot } from '../../hub/store.ts';
import { leastModel, startHubServer } from '../helpers/hub-server.ts';
import type { HubServer } from '../helpers/hub-server.ts';

const MODEL = 'acme/large-embedder';
const MIB = 1 << 20;
const WEIGHTS = randomBytes(40 * MIB + 12_345);
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const BLOB = sha256(WEIGHTS);
/** Of 8 MiB each but the last. */
const RANGES = 6;

let hub: HubServer;
let store: string;
let events: FetchEvent[];

const TIMEOUTS = { connectMs: 1000, headersMs: 2000, stallMs: 1000, maxBackoffMs: 20, attempts: 5 };

const options = (more: Partial<FetchOptions> = {}): FetchOptions => ({
  modelId: MODEL,
  store,
  endpoint: hub.endpoint,
  timeouts: TIMEOUTS,
  ...more,
});

const fetched = async (more: Partial<FetchOptions> = {}): Promise<string> => {
  const files = await fetchSnapshot(options({ onEvent: (event) => events.push(event), ...more }));
  return sha256(await readFile(files.weights.get('model.safetensors') ?? ''));
};

const blobs = (): string => path.join(store, `models--${MODEL.replace('/', '--')}`, 'blobs');
const asked = () => hub.requests.filter(({ path: where }) => where.includes(BLOB)).map(({ range }) => range ?? 'all');

beforeEach(async () => {
  hub = await startHubServer();
  hub.commit(MODEL, leastModel(WEIGHTS));
  store = await mkdtemp(path.join(tmpdir(), 'kubembed-store-'));
  events = [];
});
afterEach(async () => {
  await hub.close();
  await rm(store, { recursive: true, force: true });
});

test('each byte is asked for once', async () => {
  hub.faults = [{ match: BLOB, bytesPerSecond: 16 * MIB }];
  expect(await fetched()).toBe(BLOB);
  const starts = asked().map((range) => Number(/\d+/.exec(range)?.[0]));
  expect(starts.toSorted((a, b) => a - b)).toEqual(Array.from({ length: RANGES }, (_, at) => at * 8 * MIB));
  const progress = events.filter((event) => event.kind === 'progress');
  expect(progress.at(-1)?.bytes).toBe(progress.at(-1)?.total);
  expect((await readdir(blobs())).some((name) => name.endsWith('-part'))).toBe(false);
});

test.each([
  ['cut connections', [{ match: BLOB, cutAfterBytes: 3 * MIB, times: 5 }]],
  ['a connection that gives nothing', [{ match: BLOB, stallAfterBytes: 100_000, times: 1 }]],
  ['a connection that gives a byte now and then', [{ match: BLOB, bytesPerSecond: 20, pieceBytes: 1, times: 1 }]],
  ['a wrong byte in one range', [{ match: BLOB, flip: true, times: 1 }]],
  ['a range that is too long', [{ match: BLOB, extraBytes: 1000, times: 1 }]],
  ['a range that is too short', [{ match: BLOB, extraBytes: -1000, times: 1 }]],
  ['a CDN that is too busy now and then', [{ match: BLOB, status: 503, times: 3 }]],
  ['a server that sends whole files only', [{ match: BLOB, ignoreRange: true }]],
  [
    'a server that sends whole files only, and cuts them',
    [
      { match: BLOB, ignoreRange: true, cutAfterBytes: 20 * MIB, times: 7 },
      { match: BLOB, ignoreRange: true },
    ],
  ],
] as const)('outlives %s', async (_case, faults) => {
  hub.faults = faults.map((fault) => ({ ...fault }));
  expect(await fetched()).toBe(BLOB);
  expect(events.some(({ kind }) => kind === 'retry')).toBe(true);
});

test('while one connection gives nothing, the others go on', async () => {
  hub.faults = [{ match: BLOB, stallAfterBytes: 0, times: 1 }];
  let last: FetchEvent | undefined;
  const stalled = new AbortController();
  const onEvent = (event: FetchEvent): void => {
    if (event.kind !== 'progress') return;
    last = event;
    if (event.fileBytes === WEIGHTS.length - 8 * MIB) stalled.abort();
  };
  const fetching = fetchSnapshot(options({ onEvent, signal: stalled.signal, timeouts: { stallMs: 600_000 } }));
  await expect(fetching).rejects.toThrow('was stopped');
  expect(last).toMatchObject({ fileBytes: WEIGHTS.length - 8 * MIB });
});

test('what has come is on disk and told of while nothing more comes', async () => {
  hub.faults = [{ match: BLOB, stallAfterBytes: 100_000 }];
  const arrived = (RANGES - 1) * 100_000 + (WEIGHTS.length % (8 * MIB));
  const stop = new AbortController();
  const onEvent = (event: FetchEvent): void => {
    if (event.kind === 'progress' && event.fileBytes === arrived) stop.abort();
  };
  const fetching = fetchSnapshot(options({ onEvent, signal: stop.signal, timeouts: { stallMs: 600_000 } }));
  await expect(fetching).rejects.toThrow('was stopped');
});

test('what a connection keeps back is fetched over another one, from where it stopped', async () => {
  hub.faults = [{ match: BLOB, stallAfterBytes: 3 * MIB, times: 1 }];
  expect(await fetched({ timeouts: { ...TIMEOUTS, stallMs: 300 } })).toBe(BLOB);
  const starts = asked().map((range) => Number(/\d+/.exec(range)?.[0] ?? 0));
  const again = starts.filter((start) => start % (8 * MIB) !== 0);
  expect([starts.length, again.length]).toEqual([RANGES + 1, 1]);
  // Within what a socket held: nothing that had come is fetched again.
  expect(again[0]! % (8 * MIB)).toBe(3 * MIB);
});

test('more connections than a proxy allows are no failure while those that it allows bring bytes', async () => {
  hub.faults = [{ match: BLOB, mostAtOnce: 2, bytesPerSecond: 4 * MIB }];
  const timeouts = { ...TIMEOUTS, maxBackoffMs: 200 };
  expect(await fetched({ timeouts })).toBe(BLOB);
  // Each of those that wait is refused more often than it would be tried alone.
  expect(events.filter(({ kind }) => kind === 'retry').length).toBeGreaterThan((RANGES - 2) * timeouts.attempts);
});

test('a refusal that stays ends it, though others bring bytes for a while', async () => {
  hub.faults = [
    { match: BLOB, status: 503, times: 1 },
    { match: BLOB, times: RANGES - 1, bytesPerSecond: 8 * MIB },
    { match: BLOB, status: 503 },
  ];
  await expect(fetched()).rejects.toThrow('answered 503');
});

test('files come side by side, over as many connections as one file', async () => {
  const shards = Array.from({ length: 3 }, () => randomBytes(20 * MIB));
  const names = shards.map((_, at) => `model-0000${at + 1}-of-00003.safetensors`);
  const weight_map = Object.fromEntries(names.map((name, at) => [`tensor.${at}`, name]));
  hub.commit(MODEL, {
    ...Object.fromEntries(Object.entries(leastModel(WEIGHTS)).filter(([name]) => !name.endsWith('.safetensors'))),
    'model.safetensors.index.json': Buffer.from(JSON.stringify({ metadata: {}, weight_map })),
    ...Object.fromEntries(names.map((name, at) => [name, shards[at]!])),
  });
  // Nobody's body begins before all have been asked for that may be.
  hub.faults = [{ origin: 'cdn', stallAfterBytes: 0 }];
  const stop = new AbortController();
  const fetching = fetchSnapshot(options({ signal: stop.signal, timeouts: { stallMs: 600_000 } }));
  const bodies = () => hub.requests.filter(({ origin, method }) => origin === 'cdn' && method === 'GET');
  await expect.poll(() => bodies().length, { timeout: 10_000 }).toBe(8);
  await sleep(300);
  stop.abort();
  await expect(fetching).rejects.toThrow('was stopped');
  expect(bodies()).toHaveLength(8);
  expect(new Set(bodies().map(({ path: where }) => where)).size).toBe(3);
});

test('a wrong byte that stays is refused, and nothing of the file is kept', async () => {
  hub.faults = [{ match: BLOB, flip: true }];
  await expect(fetched()).rejects.toThrow('is not what the hub lists');
  expect((await readdir(blobs())).some((name) => name.startsWith(BLOB))).toBe(false);
  expect(await openSnapshot(store, MODEL, 'main')).toBeUndefined();
});

test('killed again and again, it fetches at most a few megabytes twice and serves nothing in between', async () => {
  // Of each connection: four rounds are far too short for all of it, whatever else the machine does.
  hub.faults = [{ match: BLOB, bytesPerSecond: MIB }];
  const script = path.join(import.meta.dirname, 'fetch-child.ts');
  for (let round = 0; round < 4; round++) {
    const child = spawn(process.execPath, [script, JSON.stringify(options())], { stdio: 'ignore' });
    const before = asked().length;
    while (asked().length === before && child.exitCode === null) await sleep(10);
    await sleep(200 + Math.random() * 300);
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    if (child.signalCode !== null && (await readdir(blobs())).every((name) => name !== BLOB)) {
      expect(await openSnapshot(store, MODEL, 'main')).toBeUndefined();
    }
  }
  hub.faults = [];
  hub.requests.length = 0;
  let first: FetchEvent | undefined;
  const onEvent = (event: FetchEvent): void => {
    if (event.kind === 'progress' && event.file === 'model.safetensors') first ??= event;
  };
  expect(await fetched({ onEvent })).toBe(BLOB);
  // What was there is not asked for again.
  const wanted = asked().reduce((sum, range) => {
    const [from = 0, to = WEIGHTS.length - 1] = [...range.matchAll(/\d+/g)].map(Number);
    return sum + to - from + 1;
  }, 0);
  expect(first).toMatchObject({ fileBytes: WEIGHTS.length - wanted });
  expect(wanted).toBeLessThan(WEIGHTS.length);
});

test('of a Xet-backed repository, whose signed addresses run out and take no token of the hub', async () => {
  await hub.close();
  hub = await startHubServer({ token: 'hf_secret', xet: { usesOfAddress: 1 } });
  hub.commit(MODEL, leastModel(WEIGHTS));
  hub.gate(MODEL);
  hub.faults = [{ origin: 'cdn', times: 2, cutAfterBytes: MIB }];
  expect(await fetched({ token: 'hf_secret' })).toBe(BLOB);
  const cdn = hub.requests.filter(({ origin }) => origin === 'cdn');
  // What was cut goes on where it was cut, with an address of its own.
  expect(cdn).toHaveLength(RANGES + 2);
  expect(cdn.every(({ authorization, method }) => authorization === undefined && method === 'GET')).toBe(true);
  expect(hub.requests.some(({ path: where }) => /xet-read-token|reconstruction/.test(where))).toBe(false);
});
