import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { FinishedExchange } from './exchange.ts';
import { OF_REQUESTS } from './headers.ts';
import { recogniseHead } from './quick-head.ts';
import { startServer } from './server.ts';
import type { RunningServer } from './server.ts';

const LIMITS = { paths: new Set(['/v1/embeddings']), maxBodyBytes: 1000 };
const head = (...lines: readonly string[]): Buffer => Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
const POST = 'POST /v1/embeddings HTTP/1.1';

describe('a head', () => {
  it('is recognised with the headers that matter, in any case', () => {
    const bytes = head(POST, 'HOST: a', 'content-TYPE:application/json', 'X-Other: 1', 'Content-Length: 3');
    expect(recogniseHead(Buffer.concat([bytes, Buffer.from('abc')]), LIMITS)).toEqual({
      path: '/v1/embeddings',
      headers: { host: 'a', 'content-type': 'application/json', 'content-length': '3' },
      bodyAt: bytes.length,
      bodyBytes: 3,
    });
  });

  it('keeps every header that processes send each other', () => {
    const sent = OF_REQUESTS.map((name) => `${name}: 1`);
    const found = recogniseHead(head(POST, 'host: a', 'content-length: 0', ...sent), LIMITS);
    expect(found?.headers).toMatchObject(Object.fromEntries(OF_REQUESTS.map((name) => [name, '1'])));
  });

  it.each([
    [['GET /v1/embeddings HTTP/1.1', 'host: a', 'content-length: 1']],
    [['POST /v1/embeddings HTTP/1.0', 'host: a', 'content-length: 1']],
    [['POST /v1/embeddings?a HTTP/1.1', 'host: a', 'content-length: 1']],
    [['POST /v1/other HTTP/1.1', 'host: a', 'content-length: 1']],
    [[POST, 'content-length: 1']],
    [[POST, 'host: a']],
    [[POST, 'host: a', 'content-length: 1001']],
    [[POST, 'host: a', 'content-length: 01']],
    [[POST, 'host: a', 'content-length: +1']],
    [[POST, 'host: a', 'content-length: 1', 'Content-Length: 1']],
    [[POST, 'host: a', 'host: b', 'content-length: 1']],
    [[POST, 'host: a', 'content-length: 1', 'transfer-encoding: chunked']],
    [[POST, 'host: a', 'content-length: 1', 'Transfer-Encoding : chunked']],
    [[POST, 'host: a', 'content-length: 1', 'expect: 100-continue']],
    [[POST, 'host: a', 'content-length: 1', 'upgrade: h2c']],
    [[POST, 'host: a', 'content-length: 1', 'connection: close']],
    [[POST, 'host: a', 'content-length: 1', 'x: a\nb: c']],
    [[POST, 'host: a', 'content-length: 1', 'x: a', ' folded']],
    [[POST, 'host: a', 'content-length: 1', 'x: \u00e9']],
    [[POST, 'host: a', 'content-length: 1', `x: ${'y'.repeat(17_000)}`]],
  ])('that is not plain is left to Node: %j', (lines) => {
    expect(recogniseHead(head(...lines), LIMITS)).toBeUndefined();
  });

  it('that is recognised is one that Node reads the same', async () => {
    const seen: { headers: Record<string, unknown>; body: string }[] = [];
    const node = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')));
      request.on('end', () => {
        seen.push({ headers: request.headers, body });
        response.end();
      });
    });
    node.listen(0, '127.0.0.1');
    await once(node, 'listening');
    const { port } = node.address() as { port: number };
    const line = fc.oneof(
      fc.constantFrom('content-length: 2', 'Content-Length:2', 'connection: Keep-Alive', 'content-type: a', 'X-Y:'),
      fc
        .tuple(fc.constantFrom('Authorization', 'a', 'traceparent', 'te'), fc.string({ maxLength: 8 }))
        .map((one) => one.join(': ')),
      fc.string({ maxLength: 12 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 5 }), async (lines) => {
        const bytes = Buffer.concat([head(POST, 'host: h', 'content-length: 2', ...lines), Buffer.from('ab')]);
        const found = recogniseHead(bytes, LIMITS);
        if (found === undefined) return;
        seen.length = 0;
        const socket = connect(port, '127.0.0.1');
        socket.end(bytes);
        socket.resume();
        await once(socket, 'close');
        expect(seen).toHaveLength(1);
        expect(seen[0]!.headers).toMatchObject(found.headers);
        expect(seen[0]!.body).toBe(bytes.toString('latin1', found.bodyAt, found.bodyAt + found.bodyBytes));
      }),
      { numRuns: 300 },
    );
    node.close();
  });
});

describe('a listener with a quick lane', () => {
  let server: RunningServer;
  const finished: FinishedExchange[] = [];
  let answering: Promise<void> | 'at once' | undefined;
  let gone = 0;
  const boot = async (ms = 10_000): Promise<void> => {
    finished.length = 0;
    gone = 0;
    answering = undefined;
    server = await startServer({
      host: '127.0.0.1',
      port: 0,
      timeouts: { headersMs: ms, requestMs: ms, keepAliveMs: ms + 100 },
      handler: (request, response) => {
        request.resume().on('end', () => response.end(`node ${request.url}`));
      },
      quick: {
        ...LIMITS,
        onOpen: () => undefined,
        serve: ({ body }, reply) => {
          reply.exchange.onGone(() => (gone += 1));
          reply.setHeader('content-type', 'text/plain');
          const send = (): void => void reply.send(200, [Buffer.from('quick '), body]);
          if (answering === 'at once') send();
          else void (answering ?? Promise.resolve()).then(send);
        },
        onFinish: (one) => finished.push(one),
      },
    });
  };
  afterEach(async () => {
    await server.drain(AbortSignal.timeout(100));
  });

  const ask = (body: string): string =>
    `${POST}\r\nHost: a\r\nX-Request-Id: mine\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const GET = 'GET /other HTTP/1.1\r\nHost: a\r\n\r\n';
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
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await done.promise;
    socket.destroy();
    return text;
  };

  it('answers plain requests, in pieces and ahead of time, and gives Node the rest of a connection', async () => {
    await boot();
    const one = ask('one;');
    const text = await talk(
      [one.slice(0, -2), one.slice(-2), ask('two;') + ask('three;'), ask('four;') + GET, GET],
      (all) => /node.*node/s.test(all),
    );
    expect(text.match(/quick \w+;|node \/other/g)).toEqual([
      'quick one;',
      'quick two;',
      'quick three;',
      'quick four;',
      'node /other',
      'node /other',
    ]);
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\nx-request-id: mine\r\n/);
    expect(text).toMatch(/connection: keep-alive\r\nkeep-alive: timeout=10\r\n/);
    expect(finished.map(({ status, exchange }) => [status, exchange.id])).toEqual(Array(4).fill([200, 'mine']));
  });

  it('answers hundreds of requests that came ahead, each within the call that brought it', async () => {
    await boot();
    answering = 'at once';
    const asked = Array.from({ length: 500 }, (_, at) => `number ${at};`);
    const text = await talk([asked.map(ask).join('')], (all) => all.endsWith(asked.at(-1)!));
    expect(text.match(/number \d+;/g)).toEqual(asked);
  });

  it.each([
    ['no byte', []],
    ['half a head', [ask('one').slice(0, 40)]],
    ['half a body', [ask('one').slice(0, -1)]],
    ['half a second head', [ask('one'), ask('two').slice(0, 40)]],
    ['half a second body', [ask('one'), ask('two').slice(0, -1)]],
  ])('ends a client that sends %s and then nothing', async (_what, pieces) => {
    await boot(300);
    expect(await talk(pieces)).toMatch(/HTTP\/1\.1 408 /);
  });

  it('ends an idle connection without a word', async () => {
    await boot(300);
    expect(await talk([ask('one')])).toMatch(/^HTTP\/1\.1 200 OK(?!.*HTTP)/s);
  });

  it('tells of a client that leaves', async () => {
    await boot();
    answering = new Promise(() => undefined);
    const socket = connect(server.port, '127.0.0.1');
    socket.write(ask('one'));
    await expect.poll(() => server.inFlight()).toBe(1);
    socket.destroy();
    await expect.poll(() => finished.map(({ status }) => status)).toEqual([499]);
    expect([gone, server.inFlight()]).toEqual([1, 0]);
  });

  it('finishes what runs when drained, and says that it closes', async () => {
    await boot();
    const { promise, resolve } = Promise.withResolvers<undefined>();
    answering = promise;
    const text = talk([ask('one')]);
    await expect.poll(() => server.inFlight()).toBe(1);
    const drained = server.drain(AbortSignal.timeout(5000));
    resolve(undefined);
    expect(await text).toMatch(/connection: close\r\n\r\nquick one$/);
    expect(await drained).toBe(0);
  });
});
