import { once } from 'node:events';
import { createServer } from 'node:http';
import type { RequestListener, ServerResponse } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createMemoryBudget } from '../../common/http/memory.ts';
import { createEndpointClient } from './client.ts';
import type { AttemptRequest, EndpointClient, Outcome } from './client.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

const listen = async (server: Server): Promise<string> => {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket.on('error', () => undefined));
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

const clientOf = (origin: string): EndpointClient => {
  const client = createEndpointClient(origin, { connectMs: 500 });
  closing.push(client.destroy);
  return client;
};

const POST: AttemptRequest = {
  method: 'POST',
  path: '/v1/embeddings',
  headers: ['content-type', 'application/json'],
  body: Buffer.from('{"input":"x"}'),
  gatherBytes: 4 * 1024 * 1024,
  signal: undefined,
};

describe('the bytes of an answer', () => {
  it('are held from the first one on, and end the attempt where there is no room for them', async () => {
    const server = createServer((_request, response) => response.end(Buffer.alloc(200_000)));
    const client = clientOf(await listen(server));
    const budget = createMemoryBudget(400_000);
    const first = budget.reserve();
    expect(await client.send({ ...POST, held: first }).outcome).toMatchObject({ kind: 'answer', status: 200 });
    expect(budget.heldBytes()).toBe(200_000);
    const second = await client.send({ ...POST, held: budget.reserve() }).outcome;
    expect(second).toMatchObject({ kind: 'failed', failure: 'aborted', cause: { kind: 'rate_limit_exceeded' } });
    expect(budget.heldBytes()).toBe(200_000);
    first.release();
    expect(budget.heldBytes()).toBe(0);
  });
});

/** What a person would say of an outcome. */
const told = (outcome: Outcome): unknown =>
  outcome.kind === 'failed'
    ? outcome.failure
    : outcome.kind === 'stream'
      ? 'stream'
      : [outcome.status, Buffer.concat(outcome.chunks).toString('latin1')];

const lines = (...all: readonly string[]): Buffer => Buffer.from(all.join('\r\n'), 'latin1');

/** An endpoint that answers with these bytes as they are, written in pieces that end at these places. */
const answering = async (bytes: Buffer, cuts: readonly number[] = [], ends = false): Promise<string> => {
  const server = createTcpServer({ noDelay: true }, (socket) => {
    socket.on('data', () => {
      void (async () => {
        let from = 0;
        for (const to of [...cuts, bytes.length]) {
          socket.write(bytes.subarray(from, to));
          from = to;
          if (cuts.length > 0) await sleep(1);
        }
        if (ends) socket.end();
      })();
    });
  });
  return await listen(server);
};

const chunked = (parts: readonly string[]): string =>
  `${parts.map((part) => `${part.length.toString(16)};x=y\r\n${part}\r\n`).join('')}0\r\nTrailer: 1\r\n\r\n`;

const part = fc.string({
  unit: fc.integer({ min: 0, max: 255 }).map((byte) => String.fromCharCode(byte)),
  minLength: 1,
  maxLength: 200,
});

describe('a response', () => {
  it('is the same however its bytes are cut and its body is framed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(part, { maxLength: 4 }),
        fc.array(fc.nat(), { maxLength: 4 }),
        fc.constantFrom('length', 'chunks', 'close'),
        async (parts, cuts, framing) => {
          const whole = parts.join('');
          const head = ['HTTP/1.1 200 OK', 'Retry-After: 1', 'X-Other:  2'];
          const bytes = {
            length: () => lines(...head, `Content-Length: ${whole.length}`, '', whole),
            chunks: () => lines(...head, 'Transfer-Encoding: Chunked', '', chunked(parts)),
            close: () => lines(...head, '', whole),
          }[framing]();
          const places = [...new Set(cuts.map((cut) => cut % bytes.length))].toSorted((a, b) => a - b);
          const client = clientOf(await answering(bytes, places, framing === 'close'));
          const outcome = await client.send(POST).outcome;
          expect(told(outcome)).toEqual([200, whole]);
          expect(outcome).toMatchObject({ headers: { 'retry-after': '1', 'x-other': '2' } });
        },
      ),
      { numRuns: 40 },
    );
  });

  it.each([
    ['HTTP/1.1 200 OK', 'content-length: 5', '', '1234'],
    ['HTTP/1.1 200 OK', 'transfer-encoding: chunked', '', '4', '1234', ''],
    ['HTTP/1.1 200 OK', 'content-length: 5'],
    [''],
  ])('whose end is missing is lost: %j', async (...all) => {
    const client = clientOf(await answering(lines(...all), [], true));
    expect(told(await client.send(POST).outcome)).toBe('reset');
  });

  it.each([
    ['HTTP/2 200 OK', '', ''],
    ['HTTP/1.1 20 OK', '', ''],
    ['HTTP/1.1 200 OK', 'content-length: 5', 'content-length: 6', '', ''],
    ['HTTP/1.1 200 OK', 'content-length: -1', '', ''],
    ['HTTP/1.1 200 OK', 'content-length: 1', 'transfer-encoding: chunked', '', ''],
    ['HTTP/1.1 200 OK', 'a: b', ' folded: c', '', ''],
    ['HTTP/1.1 200 OK', 'a : b', '', ''],
    ['HTTP/1.1 200 OK', 'no colon', '', ''],
    ['HTTP/1.1 200 OK', 'transfer-encoding: chunked', '', 'zz', ''],
    ['HTTP/1.1 200 OK', 'transfer-encoding: chunked', '', '1', 'xy', ''],
    ['HTTP/1.1 200 OK', 'transfer-encoding: chunked', '', '1'.repeat(2000)],
    [`HTTP/1.1 200 OK`, `a: ${'x'.repeat(70_000)}`, '', ''],
    ['HTTP/1.1 100 Continue', '', ''],
    ['HTTP/1.1 101 Switching Protocols', 'upgrade: x', 'connection: upgrade', '', ''],
    ['\0\0\0\0\0\0\0\0\0', ''],
    ['<html>', ''],
  ])('that is malformed is no answer, and its connection is not used again: %j', async (...all) => {
    const bad = lines(...all);
    let connections = 0;
    const server = createTcpServer((socket) => {
      connections += 1;
      const answer = connections === 1 ? bad : lines('HTTP/1.1 200 OK', 'content-length: 2', '', 'ok');
      socket.on('data', () => socket.write(answer));
    });
    const client = clientOf(await listen(server));
    expect(told(await client.send(POST).outcome)).toBe('reset');
    expect(told(await client.send(POST).outcome)).toEqual([200, 'ok']);
    expect(connections).toBe(2);
  });

  it('that follows interim ones is the one that counts', async () => {
    const bytes = lines('HTTP/1.1 103 Early Hints', 'link: </x>', '', 'HTTP/1.1 201 x', 'content-length: 1', '', 'y');
    const client = clientOf(await answering(bytes));
    expect(told(await client.send(POST).outcome)).toEqual([201, 'y']);
  });

  it.each([
    ['HTTP/1.1 204 No Content', [], true],
    ['HTTP/1.1 200 OK', ['content-length: 0'], true],
    ['HTTP/1.1 200 OK', ['content-length: 0', 'connection: close'], false],
    ['HTTP/1.0 200 OK', ['content-length: 0'], false],
  ])('%s with %j leaves the connection usable: %s', async (line, headers, reusable) => {
    let connections = 0;
    const server = createTcpServer((socket) => {
      connections += 1;
      socket.on('data', () => socket.write(lines(line, ...headers, '', '')));
    });
    const client = clientOf(await listen(server));
    for (let step = 0; step < 3; step += 1) {
      expect((await client.send(POST).outcome).kind).toBe('answer');
      await sleep(5);
    }
    expect(connections).toBe(reusable ? 1 : 3);
  });

  it('with bytes after it is good, and they are nobody else’s answer', async () => {
    const first = lines(
      'HTTP/1.1 200 OK',
      'content-length: 1',
      '',
      'xHTTP/1.1 200 OK',
      'content-length: 4',
      '',
      'evil',
    );
    let connections = 0;
    const server = createTcpServer((socket) => {
      connections += 1;
      const answer = connections === 1 ? first : lines('HTTP/1.1 200 OK', 'content-length: 4', '', 'good');
      socket.on('data', () => socket.write(answer));
    });
    const client = clientOf(await listen(server));
    expect(told(await client.send(POST).outcome)).toEqual([200, 'x']);
    await sleep(5);
    expect(told(await client.send(POST).outcome)).toEqual([200, 'good']);
  });

  it('that comes before the request is out is good', async () => {
    const server = createTcpServer((socket) => {
      socket.once('data', () => socket.write(lines('HTTP/1.1 413 Too Large', 'content-length: 2', '', 'no')));
      socket.pause();
      setTimeout(() => socket.resume(), 50);
    });
    const client = clientOf(await listen(server));
    const large = { ...POST, body: Buffer.alloc(8 * 1024 * 1024) };
    expect(told(await client.send(large).outcome)).toEqual([413, 'no']);
  });
});

const serve = async (handler: RequestListener): Promise<EndpointClient> =>
  clientOf(await listen(createServer({ keepAliveTimeout: 60_000 }, handler)));

describe('an attempt', () => {
  it('sends what it was given, with its length, over one connection after another', async () => {
    const seen: unknown[] = [];
    const ports = new Set<number | undefined>();
    const client = await serve((request, response) => {
      ports.add(request.socket.remotePort);
      const { 'content-length': length, 'x-a': a, host } = request.headers;
      seen.push([request.method, request.url, length, a, host === `127.0.0.1:${request.socket.localPort}`]);
      request.resume().on('end', () => response.end('ok'));
    });
    for (let step = 0; step < 3; step += 1) {
      const headers = [...POST.headers, 'x-a', 'b'];
      expect(told(await client.send({ ...POST, headers }).outcome)).toEqual([200, 'ok']);
      await sleep(5);
    }
    expect(seen).toEqual(Array(3).fill(['POST', '/v1/embeddings', '13', 'b', true]));
    expect(ports.size).toBe(1);
  });

  it('is alone on its connection', async () => {
    let most = 0;
    const open = new Map<number | undefined, number>();
    const client = await serve((request, response) => {
      const { remotePort } = request.socket;
      const running = (open.get(remotePort) ?? 0) + 1;
      open.set(remotePort, running);
      most = Math.max(most, running);
      request.resume();
      setTimeout(() => {
        open.set(remotePort, (open.get(remotePort) ?? 0) - 1);
        response.end('ok');
      }, 20);
    });
    const outcomes = await Promise.all(Array.from({ length: 50 }, () => client.send(POST).outcome));
    expect(outcomes.every(({ kind }) => kind === 'answer')).toBe(true);
    expect([most, open.size]).toEqual([1, 50]);
  });

  it('that finds nobody, or finds a closed door, was never sent', async () => {
    const server = createTcpServer();
    const origin = await listen(server);
    server.close();
    expect(told(await clientOf(origin).send(POST).outcome)).toBe('connect');
    // TEST-NET: nothing answers there, or the network says so at once.
    const startedMs = performance.now();
    expect(told(await clientOf('http://192.0.2.1:80').send(POST).outcome)).toBe('connect');
    expect(performance.now() - startedMs).toBeLessThan(3000);
  });

  it('whose connection breaks is lost', async () => {
    for (const head of ['', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc']) {
      const server = createTcpServer((socket) => {
        socket.once('data', () => {
          socket.write(head);
          setTimeout(() => socket.resetAndDestroy(), 5);
        });
      });
      expect(told(await clientOf(await listen(server)).send(POST).outcome)).toBe('reset');
    }
  });

  it('survives a keep-alive connection that its peer closes at the same moment', async () => {
    const server = createServer({ keepAliveTimeout: 1 }, (request, response) => {
      request.resume().on('end', () => response.end('ok'));
    });
    const client = clientOf(await listen(server));
    const outcomes: Outcome[] = [];
    for (let step = 0; step < 100; step += 1) {
      outcomes.push(await client.send(POST).outcome);
      await sleep(step % 5);
    }
    // What was not sent is sent on another connection; a request that crossed the closing one is lost, and not the endpoint.
    expect(outcomes.filter((outcome) => outcome.kind === 'failed' && outcome.failure !== 'reset')).toEqual([]);
    expect(outcomes.filter(({ kind }) => kind === 'answer').length).toBeGreaterThan(90);
  });

  it('takes a broken idle connection for no sign that nobody listens', async () => {
    const sockets: Socket[] = [];
    const server = createTcpServer((socket) => {
      sockets.push(socket);
      socket.on('data', () => socket.write(lines('HTTP/1.1 200 OK', 'content-length: 2', '', 'ok')));
    });
    const client = clientOf(await listen(server));
    expect(told(await client.send(POST).outcome)).toEqual([200, 'ok']);
    sockets[0]?.resetAndDestroy();
    expect(told(await client.send(POST).outcome)).not.toBe('connect');
  });

  it('ends upstream when its signal or the health checker ends it, wherever it is', async () => {
    let closed = 0;
    let arrived = 0;
    const client = await serve((request, response) => {
      arrived += 1;
      response.once('close', () => (closed += 1));
      request.resume();
      if (arrived === 2) response.write('the beginning');
    });
    for (const expected of [1, 2]) {
      const leaving = new AbortController();
      const { outcome } = client.send({ ...POST, signal: leaving.signal });
      await expect.poll(() => arrived).toBe(expected);
      await sleep(5);
      leaving.abort();
      expect(told(await outcome)).toBe('aborted');
      await expect.poll(() => closed).toBe(expected);
    }
    const attempt = client.send(POST);
    await expect.poll(() => arrived).toBe(3);
    attempt.abort('stalled');
    attempt.abort('reset');
    expect(told(await attempt.outcome)).toBe('stalled');
    await expect.poll(() => closed).toBe(3);
    expect(told(await client.send({ ...POST, signal: AbortSignal.abort() }).outcome)).toBe('aborted');
    // Before there is a connection.
    const early = new AbortController();
    const unsent = client.send({ ...POST, signal: early.signal });
    early.abort();
    expect(told(await unsent.outcome)).toBe('aborted');
    await sleep(20);
    expect(arrived).toBe(3);
  });

  it('with a header that cannot be sent is a fault of ours, and none of the endpoint', async () => {
    const client = await serve((_request, response) => response.end());
    const headers = ['x-a', 'b\r\nx-evil: c'];
    await expect(client.send({ ...POST, headers }).outcome).rejects.toThrow(/x-a/);
  });

  it('that runs is finished when the client closes', async () => {
    const client = await serve((request, response) => {
      request.resume();
      setTimeout(() => response.end('ok'), 50);
    });
    const { outcome } = client.send(POST);
    await sleep(10);
    client.close();
    expect(told(await outcome)).toEqual([200, 'ok']);
  });
});

/** What a response writes to, with a reader that is told when to read. */
class Sink extends Duplex {
  readonly got: Buffer[] = [];
  #next: (() => void) | undefined;
  isReading = true;

  constructor() {
    super({ writableHighWaterMark: 16_384 });
  }

  override _read(): void {
    // Nothing to be read.
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.got.push(chunk);
    if (this.isReading) setImmediate(done);
    else this.#next = done;
  }

  read_(): void {
    this.isReading = true;
    this.#next?.();
  }
}

const asResponse = (sink: Sink): ServerResponse => sink as unknown as ServerResponse;

describe('a large answer', () => {
  const MB = 1024 * 1024;
  const body = Buffer.alloc(24 * MB, 'abcdefghij');
  const streaming = async (handler: RequestListener) => {
    const client = await serve(handler);
    const outcome = await client.send({ ...POST, gatherBytes: 4 * MB }).outcome;
    if (outcome.kind !== 'stream') return expect.fail(`no stream but ${JSON.stringify(told(outcome))}`);
    return outcome;
  };

  it('is streamed at the pace of its reader, and ends when it has ended', async () => {
    let left = false;
    const outcome = await streaming((request, response) => {
      request.resume();
      response.setHeader('content-length', body.length);
      response.end(body, () => (left = true));
    });
    let ended = false;
    void outcome.ended.then(() => (ended = true));
    const sink = new Sink();
    sink.isReading = false;
    const piped = outcome.pipe(asResponse(sink));
    await sleep(200);
    // The sockets' buffers hold a part, this process little more than was gathered.
    expect([ended, left]).toEqual([false, false]);
    expect(sink.writableLength).toBeLessThan(6 * MB);
    sink.read_();
    const last = await piped;
    await once(sink, 'finish');
    expect(Buffer.concat(sink.got).equals(body)).toBe(true);
    expect(last !== undefined && body.subarray(-last.length).equals(last)).toBe(true);
    expect(await outcome.ended).toBeUndefined();
  });

  it('that is cut cuts its reader’s connection, and says how it ended', async () => {
    let cut = (): void => undefined;
    const outcome = await streaming((request, response) => {
      request.resume();
      response.setHeader('content-length', body.length);
      response.write(body.subarray(0, 8 * MB));
      cut = () => response.destroy();
    });
    // Only once it streams: what is cut before that is no stream.
    cut();
    const sink = new Sink();
    expect(await outcome.pipe(asResponse(sink))).toBeUndefined();
    expect([await outcome.ended, sink.destroyed, sink.writableFinished]).toEqual(['reset', true, false]);
  });

  it('ends with its request’s signal, read or not', async () => {
    let closed = 0;
    const client = await serve((request, response) => {
      request.resume();
      response.once('close', () => (closed += 1));
      response.end(body);
    });
    for (const isRead of [true, false]) {
      const leaving = new AbortController();
      const outcome = await client.send({ ...POST, gatherBytes: MB, signal: leaving.signal }).outcome;
      if (outcome.kind !== 'stream') return expect.fail();
      const sink = new Sink();
      sink.isReading = false;
      const piped = isRead ? outcome.pipe(asResponse(sink)) : undefined;
      leaving.abort();
      expect(await outcome.ended).toBe('aborted');
      expect(await piped).toBeUndefined();
      await expect.poll(() => closed).toBe(isRead ? 1 : 2);
    }
    return undefined;
  });
});

describe('a probe', () => {
  /** A server in a thread of its own: it answers while this one is held up. */
  const SERVER = `
    const { createServer } = require('node:http');
    const { parentPort } = require('node:worker_threads');
    createServer((_, response) => response.end('ok')).listen(0, '127.0.0.1', function () { parentPort.postMessage(this.address().port); });
  `;
  let worker: Worker;
  let client: EndpointClient;

  beforeAll(async () => {
    worker = new Worker(SERVER, { eval: true });
    const [port] = (await once(worker, 'message')) as [number];
    client = createEndpointClient(`http://127.0.0.1:${port}`, { connectMs: 50 });
  });
  afterAll(async () => {
    client.destroy();
    await worker.terminate();
  });

  const holdUp = (ms: number): void => {
    for (const end = performance.now() + ms; performance.now() < end;);
  };

  it('does not take its own delay for that of an endpoint', async () => {
    const connecting = client.probe('/healthz', 5000);
    holdUp(300);
    expect(await connecting).toBe(true);
    await sleep(5);
    const answered = client.probe('/healthz', 50);
    // Sent before the hold-up, answered during it.
    await new Promise((resolve) => setImmediate(resolve));
    holdUp(300);
    expect(await answered).toBe(true);
  });

  it('gives up on one that does not answer', async () => {
    const silent = await serve(() => undefined);
    expect(await silent.probe('/healthz', 50)).toBe(false);
  });

  it('wants a 200, and no novel', async () => {
    const sick = await serve((request, response) => {
      response.statusCode = request.url === '/readyz' ? 503 : 200;
      response.end(Buffer.alloc(request.url === '/long' ? 1024 * 1024 : 2));
    });
    expect([await sick.probe('/readyz', 1000), await sick.probe('/long', 1000)]).toEqual([false, false]);
    expect(await sick.probe('/healthz', 1000)).toBe(true);
  });
});
