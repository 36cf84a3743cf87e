// A router whose clients and replicas do their worst, over real sockets: what one of them does must not become another's trouble.
import { createServer } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { embed, eventually, startStubCluster } from '../helpers/stub-runtime-cluster.ts';
import type { StubCluster } from '../helpers/stub-runtime-cluster.ts';
import { startStubRuntime } from '../helpers/stub-runtime.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

const ask = { model: 'org/model', input: 'hello' };

const boot = async (ports: readonly number[], env: Record<string, string> = {}): Promise<StubCluster> => {
  const cluster = await startStubCluster(env);
  closing.push(() => cluster.close());
  await cluster.model('model', { revision: 'rev-1' });
  await cluster.endpoints('model', ports);
  await cluster.router.synced;
  await eventually(async () =>
    (await (await fetch(`${cluster.router.internalUrl}/metrics`)).text()).includes(`state="usable"} ${ports.length}`),
  );
  return cluster;
};

describe('a request that ends replicas', () => {
  it('is seen by two of six, and told so', async () => {
    const stubs = await Promise.all(Array.from({ length: 6 }, () => startStubRuntime()));
    closing.push(...stubs.map((stub) => () => stub.kill()));
    const { router } = await boot(stubs.map(({ port }) => port));
    for (const stub of stubs) stub.misbehave = 'reset';
    const reply = await embed(router.url, ask);
    expect([reply.status, reply.body.error.code]).toEqual([502, 'replicas_failed']);
    expect(reply.headers.get('x-should-retry')).toBe('false');
    expect(stubs.flatMap(({ seen }) => seen)).toHaveLength(2);
    for (const stub of stubs) stub.misbehave = 'none';
    expect((await embed(router.url, ask)).status).toBe(200);
  });

  it('by stalling them is seen by two, too', async () => {
    const stubs = await Promise.all(Array.from({ length: 4 }, () => startStubRuntime()));
    closing.push(...stubs.map((stub) => () => stub.kill()));
    const { router } = await boot(stubs.map(({ port }) => port));
    for (const stub of stubs) stub.misbehave = 'silent';
    const reply = await embed(router.url, ask);
    expect([reply.status, reply.body.error.code]).toEqual([502, 'replicas_failed']);
    expect(stubs.flatMap(({ seen }) => seen)).toHaveLength(2);
  }, 30_000);
});

describe('a request whose every part ends replicas', () => {
  it.each(['reset', 'silent'] as const)('leaves one of six alone: %s', { timeout: 30_000 }, async (how) => {
    const stubs = await Promise.all(Array.from({ length: 6 }, () => startStubRuntime()));
    closing.push(...stubs.map((stub) => () => stub.kill()));
    const { router } = await boot(stubs.map(({ port }) => port));
    for (const stub of stubs) stub.misbehave = how;
    const reply = await embed(router.url, { ...ask, input: Array.from({ length: 2048 }, (_, at) => `text ${at}`) });
    expect([reply.status, reply.body.error.code]).toEqual([502, 'replicas_failed']);
    expect(stubs.filter(({ seen }) => seen.length === 0)).toHaveLength(1);
    for (const stub of stubs) stub.misbehave = 'none';
    expect((await embed(router.url, ask)).status).toBe(200);
  });
});

describe('a replica that stops in the middle of a streamed answer', () => {
  it('is noticed, and its place is free again', async () => {
    const silent = createServer((request, response) => {
      if (request.method !== 'POST') return;
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 64 * 1024 * 1024 });
      response.write(Buffer.alloc(5 * 1024 * 1024, 'x'));
    });
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    closing.push(() => {
      silent.closeAllConnections();
      silent.close();
    });
    const other = await startStubRuntime();
    closing.push(() => other.kill());
    const { port } = silent.address() as AddressInfo;
    const { router, endpoints } = await boot([port]);
    const response = await fetch(`${router.url}/v1/embeddings`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(ask),
    });
    const read = response.arrayBuffer();
    read.catch(() => undefined);
    const inFlight = async (count: number): Promise<boolean> =>
      (await (await fetch(`${router.internalUrl}/metrics`)).text()).includes(
        `kubembed_router_in_flight_requests{model="ns/model"} ${count}\n`,
      );
    await eventually(async () => await inFlight(1));
    await endpoints('model', [port, other.port]);
    await expect(read).rejects.toThrow();
    await eventually(async () => await inFlight(0));
    await eventually(async () => (await embed(router.url, ask)).status === 200);
  }, 30_000);
});

describe('connections', () => {
  it('beyond the bound are closed at once, and those that are closed are free', async () => {
    const stub = await startStubRuntime();
    closing.push(() => stub.kill());
    const limits = { KUBEMBED_MAX_CONNECTIONS: '4', KUBEMBED_MAX_CONNECTIONS_PER_SOURCE: '100' };
    const { router } = await boot([stub.port], limits);
    let closed = 0;
    const sockets = Array.from({ length: 8 }, () =>
      connect(Number(new URL(router.url).port), '127.0.0.1')
        .on('error', () => undefined)
        .on('close', () => (closed += 1))
        .resume(),
    );
    closing.push(() => sockets.forEach((socket) => socket.destroy()));
    await eventually(() => closed === 4);
    for (const socket of sockets) socket.destroy();
    await eventually(async () => (await embed(router.url, ask).catch(() => undefined))?.status === 200);
  });

  it('from one source leave others theirs, and those that are closed are free', async () => {
    const stub = await startStubRuntime();
    closing.push(() => stub.kill());
    const { router } = await boot([stub.port], { KUBEMBED_MAX_CONNECTIONS_PER_SOURCE: '4' });
    const sockets: Socket[] = [];
    closing.push(() => sockets.forEach((socket) => socket.destroy()));
    const answers: string[] = [];
    for (let at = 0; at < 8; at += 1) {
      const socket = connect(Number(new URL(router.url).port), '127.0.0.1');
      socket.on('error', () => undefined).on('data', (data) => answers.push(data.toString()));
      sockets.push(socket);
    }
    await eventually(() => answers.length === 4);
    expect(answers.every((text) => text.startsWith('HTTP/1.1 429 ') && text.includes('rate_limit_exceeded'))).toBe(
      true,
    );
    for (const socket of sockets.splice(0)) socket.destroy();
    await eventually(async () => (await embed(router.url, ask).catch(() => undefined))?.status === 200);
  });
});

describe('HTTP that people send', () => {
  it('is answered at every spelling, and every fault is the error object', async () => {
    const stub = await startStubRuntime();
    closing.push(() => stub.kill());
    const { router } = await boot([stub.port]);
    const send = (bytes: string): Promise<string> =>
      new Promise((resolve) => {
        let text = '';
        const socket = connect(Number(new URL(router.url).port), '127.0.0.1', () => socket.write(bytes));
        socket.on('data', (data) => (text += data.toString())).on('close', () => resolve(text));
      });
    const get = (target: string, more = 'host: x\r\n') =>
      send(`GET ${target} HTTP/1.1\r\n${more}connection: close\r\n\r\n`);
    for (const target of ['/models', '/v1/models', '//v1//models', 'http://x/models', '/health', '/models/org/model']) {
      expect([target, (await get(target)).slice(0, 12)]).toEqual([target, 'HTTP/1.1 200']);
    }
    const faults = await Promise.all([
      get('http://['),
      get('/models', ''),
      get('/models', 'host: x\r\nexpect: tea\r\n'),
      get('/nothing'),
      get('/models/org/modell'),
    ]);
    expect(faults.map((text) => Number(text.slice(9, 12)))).toEqual([400, 400, 417, 404, 404]);
    for (const text of faults) {
      expect(JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4))).toHaveProperty('error.message');
    }
    expect(faults.at(-1)).toContain('`org/model`');
  });
});
