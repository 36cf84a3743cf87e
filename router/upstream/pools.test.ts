import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createPools } from './pools.ts';
import type { Pools } from './pools.ts';

/** A server in a thread of its own: it answers while this one is held up. */
const SERVER = `
  const { createServer } = require('node:http');
  const { parentPort } = require('node:worker_threads');
  createServer((_, response) => response.end('ok')).listen(0, '127.0.0.1', function () { parentPort.postMessage(this.address().port); });
`;
let worker: Worker;
let origin: string;
let pools: Pools;

beforeAll(async () => {
  worker = new Worker(SERVER, { eval: true });
  const [port] = (await once(worker, 'message')) as [number];
  origin = `http://127.0.0.1:${port}`;
  pools = createPools({ connectMs: 50, now: () => performance.now() });
});
afterAll(async () => {
  pools.close();
  await worker.terminate();
});

const holdUp = (ms: number): void => {
  for (const end = performance.now() + ms; performance.now() < end;);
};

it('does not take its own delay for that of an endpoint', async () => {
  const connecting = pools.probe(origin, '/healthz', 5000);
  holdUp(300);
  expect(await connecting).toBe(true);
  const answering = pools.probe(origin, '/healthz', 50);
  // Sent before the hold-up, answered during it.
  await new Promise((resolve) => setImmediate(resolve));
  holdUp(300);
  expect(await answering).toBe(true);
});

it('gives up on one that does not answer', async () => {
  const silent = createServer(() => undefined).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  expect(await pools.probe(`http://127.0.0.1:${port}`, '/healthz', 50)).toBe(false);
  silent.closeAllConnections();
  silent.close();
});
