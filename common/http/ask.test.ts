import { once } from 'node:events';
import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { askOnce } from './ask.ts';

let server: Server | undefined;
const serve = async (handler: RequestListener): Promise<string> => {
  server = createServer(handler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});
const bounds = { timeoutMs: 5000, maxBytes: 100 };

it('gives the answer, whatever its status', async () => {
  const url = await serve((_request, response) => response.writeHead(503).end('starting'));
  expect(await askOnce(url, bounds)).toEqual({ status: 503, text: 'starting' });
});

it.each<readonly [string, RequestListener]>([
  ['says nothing', () => undefined],
  ['stops in the middle', (_request, response) => void response.writeHead(200).write('a')],
  ['cuts the connection', (_request, response) => void response.destroy()],
  ['cuts it in the middle', (_request, response) => response.write('a', () => response.destroy())],
  ['says too much', (_request, response) => response.end('a'.repeat(101))],
])('gives nothing of one that %s', async (_case, handler) => {
  const url = await serve(handler);
  expect(await askOnce(url, { ...bounds, timeoutMs: 200 })).toBeUndefined();
});

it('gives nothing where nobody listens', async () => {
  const url = await serve(() => undefined);
  server?.close();
  expect(await askOnce(url, bounds)).toBeUndefined();
});
