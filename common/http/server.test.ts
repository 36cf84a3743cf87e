import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../obs/log.ts';
import { createApp } from './app.ts';
import { createBodyReader } from './body.ts';
import { decodeJson } from './embeddings-parser.ts';
import { exchangeOf } from './exchange.ts';
import type { FinishedExchange } from './exchange.ts';
import { sendBytes } from './exchange.ts';
import { createMemoryBudget } from './memory.ts';
import type { MemoryBudget } from './memory.ts';
import { sourceOf, startServer } from './server.ts';
import type { ConnectionLimits, RunningServer, ServerTimeouts } from './server.ts';

let server: RunningServer;
let finished: FinishedExchange[];
let left: number;
let release: () => void;
let memory: MemoryBudget;
const LARGE = Buffer.alloc(8_000_000, 'x');

const boot = async (timeouts: Partial<ServerTimeouts> = {}, limits: ConnectionLimits = {}): Promise<void> => {
  finished = [];
  memory = createMemoryBudget(40_000_000);
  left = 0;
  const held = new Promise<void>((resolve) => (release = resolve));
  const { log } = createLog({ name: 'test', level: 'error', readable: false, destination: { write: () => undefined } });
  const bodies = createBodyReader({ maxBytes: 100_000 });
  const handler = createApp({
    log,
    memory,
    onFinish: (outcome) => finished.push(outcome),
    routes: {
      '/echo': {
        post: async (request, response) => {
          const value = decodeJson(await bodies.read(request, exchangeOf(response).held));
          await sendBytes(response, 200, [Buffer.from(JSON.stringify(value))]);
        },
      },
      '/quiet': { get: (_request, response) => void response.end('ok') },
      '/held': {
        get: async (_request, response) => {
          exchangeOf(response).signal.addEventListener('abort', () => (left += 1));
          await held;
          response.end('done');
        },
      },
      '/large': { get: async (_request, response) => await sendBytes(response, 200, [LARGE]) },
      '/whole': { get: (_request, response) => void response.end(LARGE) },
      '/endless': { get: (_request, response) => void response.write('so far') },
    },
  });
  server = await startServer({ host: '127.0.0.1', port: 0, handler, timeouts, limits });
};

afterEach(async () => {
  release();
  await server.drain(AbortSignal.timeout(100));
});

const call = (path: string): Promise<Response> => fetch(`${server.url}${path}`);

const POST = 'POST /echo HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n';
const ask = (value: unknown): string => {
  const body = JSON.stringify(value);
  return `${POST}x-request-id: mine\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
};
const GET = 'GET /quiet HTTP/1.1\r\nhost: a\r\n\r\n';

/** Sends these pieces one after the other; resolves to all that came when the other side closes, or when `until` says so. */
const talk = async (pieces: readonly string[], until: (text: string) => boolean = () => false): Promise<string> => {
  const socket = connect(server.port, '127.0.0.1').setNoDelay(true);
  let text = '';
  const done = Promise.withResolvers<undefined>();
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
    if (until(text)) done.resolve(undefined);
  });
  socket.on('error', () => undefined);
  socket.on('close', () => done.resolve(undefined));
  for (const piece of pieces) {
    socket.write(piece);
    await sleep(20);
  }
  await done.promise;
  socket.destroy();
  return text;
};

describe('a connection', () => {
  it('brings requests in pieces and ahead of time, each answered in its turn', async () => {
    await boot({ keepAliveMs: 10_000 });
    const one = ask('one;');
    const text = await talk(
      [one.slice(0, -2), one.slice(-2), ask('two;') + ask('three;'), ask('four;') + GET, GET],
      (all) => /ok.*ok/s.test(all),
    );
    expect(text.match(/"\w+;"|ok(?=HTTP|$)/g)).toEqual(['"one;"', '"two;"', '"three;"', '"four;"', 'ok', 'ok']);
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\nx-request-id: mine\r\n/);
    expect(text).toMatch(/Connection: keep-alive\r\nKeep-Alive: timeout=10\r\n/);
    expect(finished.slice(0, 4).map(({ status, exchange }) => [status, exchange.id])).toEqual(
      Array(4).fill([200, 'mine']),
    );
  });

  it('may bring hundreds of requests at once', async () => {
    await boot();
    const asked = Array.from({ length: 500 }, (_, at) => `number ${at};`);
    const text = await talk([asked.map(ask).join('')], (all) => all.endsWith(`"${asked.at(-1)}"`));
    expect(text.match(/number \d+;/g)).toEqual(asked);
  });

  it.each([
    ['no byte', []],
    ['half a head', ['GET / HT']],
    ['half a POST', [ask('one').slice(0, 40)]],
    ['half a body', [ask('one').slice(0, -1)]],
    ['half a chunk', [`${POST}transfer-encoding: chunked\r\n\r\n5\r\n{`]],
    ['half a second head', [ask('one'), ask('two').slice(0, 40)]],
    ['half a second body', [ask('one'), ask('two').slice(0, -1)]],
  ])('that brings %s and then nothing ends with a 408', async (_what, pieces) => {
    await boot({ headersMs: 300, requestMs: 300 });
    expect(await talk(pieces)).toMatch(/HTTP\/1\.1 408 [^]*"code":"request_timeout"\}\}$/);
    await expect.poll(() => server.inFlight()).toBe(0);
  });

  it('is freed after that, also of a client that never closes', async () => {
    await boot({ headersMs: 100, requestMs: 100, graceMs: 100 });
    const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
    const before = sockets();
    const clients = ['', 'GET / HT', ask('one').slice(0, -1), 'nonsense\r\n\r\n'].map((bytes) => {
      // A client that hears of the end and keeps its own side open.
      const client = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
      client.on('error', () => undefined).resume();
      client.write(bytes);
      return client;
    });
    await expect.poll(sockets).toBeGreaterThanOrEqual(before + 2 * clients.length);
    await expect.poll(sockets, { timeout: 5000 }).toBe(before + clients.length);
    await expect.poll(() => server.inFlight()).toBe(0);
    for (const client of clients) client.destroy();
  });

  it('that brings no more of a body ends with a 408 long before the time for a whole request', async () => {
    await boot({ stallMs: 200 });
    expect(await talk([ask('one').slice(0, -1)])).toMatch(/HTTP\/1\.1 408 [^]*"code":"request_timeout"\}\}$/);
  });

  it('may bring a body slowly', async () => {
    await boot({ stallMs: 300 });
    const text = ask('0123456789;');
    const pieces = Array.from({ length: 30 }, (_, at) => text.slice(at * 5, at === 29 ? undefined : at * 5 + 5));
    expect(await talk(pieces, (all) => all.includes('9;'))).toMatch(/^HTTP\/1\.1 200 /);
  });

  it.each([
    ['that says nothing', '', true],
    ['that brings half a head', 'GET / HT', true],
    ['that brings half a body', ask('one').slice(0, -1), true],
    ['that brings half a chunk', `${POST}transfer-encoding: chunked\r\n\r\n5\r\n{`, true],
    ['that is idle after a request', GET, true],
    ['that is idle after a refusal', 'GET /none HTTP/1.1\r\nhost: a\r\n\r\n', true],
    ['that was refused and goes on', `${POST}content-length: 10000000\r\n\r\n{`, true],
    ['that asks for a tunnel', 'CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n', true],
    ['that speaks no HTTP', 'nonsense\r\n\r\n', true],
    ['that reads nothing of an answer', 'GET /large HTTP/1.1\r\nhost: a\r\n\r\n', false],
    ['that reads nothing of one written at once', 'GET /whole HTTP/1.1\r\nhost: a\r\n\r\n', false],
    ['that reads nothing of many', 'GET /large HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(50), false],
  ])('of a client %s and never closes is freed', async (_what, bytes, reads) => {
    await boot({
      headersMs: 200,
      requestMs: 200,
      keepAliveMs: 200,
      stallMs: 200,
      minBytesPerSecond: 50_000_000,
      graceMs: 100,
    });
    const clients = Array.from({ length: 5 }, () => {
      const client = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
      client.on('error', () => undefined);
      if (reads) client.resume();
      else client.pause();
      client.write(bytes);
      return client;
    });
    await expect.poll(() => server.connections()).toBe(5);
    await expect.poll(() => server.connections(), { timeout: 8000 }).toBe(0);
    expect([server.inFlight(), memory.heldBytes()]).toEqual([0, 0]);
    for (const client of clients) client.destroy();
  });

  it('of a client that reads a few bytes now and then is freed', async () => {
    await boot({ stallMs: 300, minBytesPerSecond: 4_000_000 });
    const client = connect({ port: server.port, host: '127.0.0.1' }).on('error', () => undefined);
    client.write('GET /large HTTP/1.1\r\nhost: a\r\n\r\n');
    let got = 0;
    client.on('readable', () => undefined);
    const timer = setInterval(() => (got += client.read(1) === null ? 0 : 1), 50);
    await expect.poll(() => server.connections()).toBe(1);
    await expect.poll(() => server.connections(), { timeout: 8000 }).toBe(0);
    clearInterval(timer);
    client.destroy();
    expect(got).toBeGreaterThan(0);
    expect(finished.map(({ status }) => status)).toEqual([499]);
  });

  it('of a client that reads slowly is kept until it has all', async () => {
    await boot({ stallMs: 300, minBytesPerSecond: 1_000_000 });
    const client = connect({ port: server.port, host: '127.0.0.1' });
    client.write('GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
    let got = 0;
    for await (const chunk of client) {
      got += (chunk as Buffer).byteLength;
      await sleep(10);
    }
    expect(got).toBeGreaterThan(LARGE.byteLength);
  });

  it('that is idle ends without a word', async () => {
    await boot({ keepAliveMs: 300 });
    expect(await talk([ask('one')])).toMatch(/^HTTP\/1\.1 200 OK(?!.*HTTP)/s);
  });

  it.each([
    ['that asked to close it', ask('one').replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n'), 'x', '200'],
    [
      'that asked to close it, a whole one',
      ask('one').replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n'),
      GET,
      '200',
    ],
    ['that did not', ask('one'), 'nonsense\r\n\r\n', '200'],
    ['that were two', ask('one') + ask('two'), 'nonsense\r\n\r\n', '200,200'],
    ['in the middle of whose body it is', `${POST}transfer-encoding: chunked\r\n\r\n2\r\n""`, 'zz\r\n', '400'],
  ])(
    'that brings a fault after a request %s has what was whole answered, and ends',
    async (_what, bytes, fault, all) => {
      await boot();
      const text = await talk([bytes + fault]);
      expect([...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status).join()).toBe(all);
    },
  );

  it('is cut where a fault follows an answer that is under way: words would pass for its body', async () => {
    await boot();
    const text = await talk(['GET /endless HTTP/1.1\r\nhost: a\r\n\r\n', 'nonsense\r\n\r\n']);
    expect(text).toMatch(/so far\r\n$/);
  });

  it('tells of a client that leaves', async () => {
    await boot();
    const socket = connect(server.port, '127.0.0.1');
    socket.write('GET /held HTTP/1.1\r\nhost: a\r\n\r\n');
    await expect.poll(() => server.inFlight()).toBe(1);
    socket.destroy();
    await expect.poll(() => finished.map(({ status }) => status)).toEqual([499]);
    expect([left, server.inFlight()]).toEqual([1, 0]);
  });
});

describe('bounds', () => {
  const opened: Socket[] = [];
  afterEach(() => {
    for (const socket of opened.splice(0)) socket.destroy();
  });
  const open = (
    localAddress: string,
    bytes = '',
  ): { readonly text: () => string; readonly isClosed: () => boolean } => {
    const socket = connect({ port: server.port, host: '127.0.0.1', localAddress });
    opened.push(socket);
    let text = '';
    let closed = false;
    socket.on('data', (chunk) => (text += chunk.toString()));
    socket.on('error', () => undefined);
    socket.on('close', () => (closed = true));
    if (bytes !== '') socket.write(bytes);
    return { text: () => text, isClosed: () => closed };
  };

  it('on connections close what is beyond them, and are free again when one ends', async () => {
    await boot({}, { maxConnections: 3 });
    for (let count = 0; count < 3; count++) open('127.0.0.1');
    await expect.poll(() => server.connections()).toBe(3);
    const fourth = open('127.0.0.1', GET);
    await expect.poll(fourth.isClosed).toBe(true);
    expect([fourth.text(), server.connections()]).toEqual(['', 3]);
    opened[0]?.destroy();
    await expect.poll(() => server.connections()).toBe(2);
    const fifth = open('127.0.0.1', GET);
    await expect.poll(fifth.text).toMatch(/^HTTP\/1.1 200 /);
  });

  it('on connections count those of other listeners that share the bound', async () => {
    let elsewhere = 2;
    let own = 0;
    const count = { total: () => elsewhere + own, add: (change: number) => void (own += change) };
    await boot({}, { maxConnections: 3, count });
    open('127.0.0.1');
    await expect.poll(() => own).toBe(1);
    const second = open('127.0.0.1', GET);
    await expect.poll(second.isClosed).toBe(true);
    expect([second.text(), own]).toEqual(['', 1]);
    elsewhere = 1;
    const third = open('127.0.0.1', GET);
    await expect.poll(third.text).toMatch(/^HTTP\/1.1 200 /);
    for (const socket of opened) socket.destroy();
    await expect.poll(() => own).toBe(0);
  });

  it('on connections of one address leave others their own', async () => {
    await boot({}, { maxConnectionsPerSource: 2 });
    for (let count = 0; count < 2; count++) open('127.0.0.1');
    await expect.poll(() => server.connections()).toBe(2);
    const third = open('127.0.0.1');
    await expect.poll(third.isClosed).toBe(true);
    expect(third.text()).toMatch(/^HTTP\/1.1 429 [^]*retry-after: 1\r\n[^]*"code":"rate_limit_exceeded"/);
    const other = open('127.0.0.2', GET);
    await expect.poll(other.text).toMatch(/^HTTP\/1.1 200 /);
    opened[0]?.destroy();
    await expect.poll(() => server.connections()).toBe(2);
    const again = open('127.0.0.1', GET);
    await expect.poll(again.text).toMatch(/^HTTP\/1.1 200 /);
  });

  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['::1', '0:0:0:0'],
    ['2001:db8:1:2::', '2001:db8:1:2'],
  ])('take %s as from %s', (address, source) => {
    expect(sourceOf(address)).toBe(source);
  });

  it('on memory hold of clients that never read, and leave room for others', async () => {
    await boot();
    const readers = Array.from({ length: 30 }, () => {
      const socket = connect({ port: server.port, host: '127.0.0.1' }).pause();
      socket.on('error', () => undefined);
      socket.write('GET /large HTTP/1.1\r\nhost: a\r\n\r\n');
      opened.push(socket);
      return socket;
    });
    await expect.poll(() => finished.length).toBe(readers.length - 3);
    expect(new Set(finished.map(({ status }) => status))).toEqual(new Set([429]));
    expect(memory.heldBytes()).toBeLessThanOrEqual(40_000_000);
    expect((await call('/quiet')).status).toBe(200);
    const body = { method: 'POST', body: '"small"', headers: { 'content-type': 'application/json' } };
    expect((await fetch(`${server.url}/echo`, body)).status).toBe(200);
    for (const socket of readers) socket.destroy();
    await expect.poll(() => memory.heldBytes()).toBe(0);
  });
});

describe('the listener', () => {
  it('on all addresses takes IPv4, and IPv6 where the machine has it', async () => {
    const handler = createApp({
      log: createLog({ name: 'test', level: 'error', readable: false }).log,
      memory,
      routes: {},
    });
    const open = await startServer({ host: '::', port: 0, handler, limits: {} });
    const hasIPv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'));
    for (const host of ['127.0.0.1', ...(hasIPv6 ? ['[::1]'] : [])])
      expect((await fetch(`http://${host}:${open.port}/none`)).status).toBe(404);
    await open.drain(AbortSignal.timeout(1000));
  });

  beforeEach(() => boot());

  it('answers what is not HTTP with the error object', async () => {
    expect(await talk(['nonsense\r\n\r\n'])).toMatch(/^HTTP\/1.1 400 [^]*"type":"invalid_request_error"/);
  });

  it('answers too many headers with 431', async () => {
    expect(await talk([`GET / HTTP/1.1\r\nhost: x\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`])).toMatch(
      /^HTTP\/1.1 431 [^]*headers_too_large/,
    );
  });

  it('drains: finishes what runs, refuses to keep connections, then closes', async () => {
    const answer = call('/held');
    await expect.poll(() => server.inFlight()).toBe(1);
    const drained = server.drain(AbortSignal.timeout(5000));
    const late = await call('/quiet');
    expect([late.status, late.headers.get('connection')]).toEqual([200, 'close']);
    release();
    const finishedAnswer = await answer;
    expect(finishedAnswer.headers.get('connection')).toBe('close');
    expect(await finishedAnswer.text()).toBe('done');
    expect(await drained).toBe(0);
    await expect(call('/quiet')).rejects.toThrow();
  });

  it('cuts what hangs when the deadline comes', async () => {
    const answer = call('/held').catch(() => 'cut');
    await expect.poll(() => server.inFlight()).toBe(1);
    expect(await server.drain(AbortSignal.timeout(50))).toBe(1);
    expect(await answer).toBe('cut');
  });
});
