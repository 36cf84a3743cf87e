// A fetching process tells how far it is, over HTTP and for as long as it fetches; who finds everything in place does not listen.
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { freePort } from '../../bench/process.ts';
import { askOnce } from '../../common/http/ask.ts';
import { parseProgress, PROGRESS_PATH } from '../../common/http/fetch-progress.ts';
import type { FetchProgress } from '../../common/http/fetch-progress.ts';
import { commitStore, startHubServer } from '../helpers/hub-server.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { createTinyStore, startRuntime } from '../helpers/runtime-process.ts';
import type { RuntimeProcess, TinyStore } from '../helpers/runtime-process.ts';

let hub: HubServer;
let source: TinyStore;
let store: string;
let port: number;
beforeEach(async () => {
  hub = await startHubServer();
  source = await createTinyStore();
  commitStore(hub, source.store);
  store = await mkdtemp(join(tmpdir(), 'kubembed-store-'));
  port = await freePort();
});
afterEach(async () => {
  await hub.close();
  await source[Symbol.asyncDispose]();
  await rm(store, { recursive: true, force: true });
});

const startFetch = (): RuntimeProcess =>
  startRuntime(store, { command: 'fetch', env: { HF_ENDPOINT: hub.endpoint, KUBEMBED_PORT: String(port) } });

const ask = async (path: string) =>
  await askOnce(`http://127.0.0.1:${port}${path}`, { timeoutMs: 2000, maxBytes: 10_000 });

it('is told in growing numbers while it lasts', async () => {
  hub.faults = [{ match: 'safetensors', method: 'GET', slowStartMs: 2000 }];
  await using runtime = startFetch();
  const told: FetchProgress[] = [];
  let readiness: number | undefined;
  while (runtime.child.exitCode === null && runtime.child.signalCode === null) {
    const answer = await ask(PROGRESS_PATH);
    const progress = answer && parseProgress(answer.text);
    if (progress !== undefined) told.push(progress);
    if (progress !== undefined) readiness ??= (await ask('/readyz'))?.status;
    await sleep(20);
  }
  expect(await runtime.exited, runtime.output()).toBe(0);
  expect(told.length).toBeGreaterThan(3);
  expect(readiness).toBe(503);
  const bytes = told.map((progress) => progress.bytes);
  expect(bytes).toEqual(bytes.toSorted((a, b) => a - b));
  expect(bytes[0]).toBeLessThan(told[0]!.total);
  expect(new Set(told.map(({ total }) => total)).size).toBe(1);
});

it('is not told where nothing is to be fetched, and a port that is taken keeps nobody from fetching', async () => {
  const other = createServer((_request, response) => response.end('other')).listen(port, '127.0.0.1');
  try {
    await using first = startFetch();
    expect(await first.exited, first.output()).toBe(0);
    await using second = startFetch();
    expect(await second.exited).toBe(0);
    expect(second.output()).toContain('found at');
    expect((await ask('/'))?.text).toBe('other');
  } finally {
    other.close();
  }
});
