// Hostile bytes on the wire, to the router and to the runtime alike: what each takes for a request, and what that does to the next one.
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startServer } from '../../common/http/server.ts';
import { createTinyStore, startRuntime, TINY_MODEL } from '../helpers/runtime-process.ts';
import { embed, eventually, startStubCluster } from '../helpers/stub-runtime-cluster.ts';
import { startStubRuntime } from '../helpers/stub-runtime.ts';

const closing: (() => PromiseLike<unknown>)[] = [];
afterAll(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

const urls: Record<string, string> = {};
beforeAll(async () => {
  const store = await createTinyStore();
  closing.push(() => store[Symbol.asyncDispose]());
  const runtimes = { runtime: {}, 'runtime with two front threads': { KUBEMBED_FRONT_THREADS: '2' } };
  for (const [name, env] of Object.entries(runtimes)) {
    const runtime = startRuntime(store.store, { env });
    closing.push(() => runtime[Symbol.asyncDispose]());
    urls[name] = await runtime.ready();
  }
  const stub = await startStubRuntime({ model: TINY_MODEL });
  closing.push(() => stub.kill());
  const cluster = await startStubCluster();
  closing.push(() => cluster.close());
  await cluster.model('tiny', { spec: { model: TINY_MODEL } });
  await cluster.endpoints('tiny', [stub.port]);
  urls['router'] = cluster.router.url;
  const ask = () => embed(cluster.router.url, { model: TINY_MODEL, input: 'a' });
  await eventually(async () => (await ask()).status === 200);
});

const BODY = JSON.stringify({ model: TINY_MODEL, input: 'a' });
const HEAD = 'POST /v1/embeddings HTTP/1.1\r\nhost: x\r\n';
const JSON_TYPE = 'content-type: application/json\r\n';
const length = (body: string): string => `content-length: ${Buffer.byteLength(body)}\r\n`;
const request = (headers: string, body = BODY): string => `${HEAD}${JSON_TYPE}${headers}${length(body)}\r\n${body}`;

/** Everything that comes back until the server hangs up, or until there are so many answers. */
function send(url: string, bytes: string, answers = 1): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(bytes, 'latin1'));
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (statuses(text).length >= answers && text.trimEnd().endsWith('}')) socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(text));
  });
}
const statuses = (text: string): number[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));

describe.each(['router', 'runtime', 'runtime with two front threads'])('the %s', (name) => {
  const url = (): string => urls[name]!;

  it.each<[string, string, number]>([
    [
      'two ways to say the length',
      `${HEAD}${JSON_TYPE}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
    ],
    ['a length twice', `${HEAD}${JSON_TYPE}content-length: 2\r\nContent-Length: 2\r\n\r\n{}`, 400],
    ['two lengths', `${HEAD}${JSON_TYPE}content-length: 2\r\ncontent-length: 40\r\n\r\n{}`, 400],
    ['a length with a sign', `${HEAD}${JSON_TYPE}content-length: +2\r\n\r\n{}`, 400],
    ['a length in hexadecimal', `${HEAD}${JSON_TYPE}content-length: 0x2\r\n\r\n{}`, 400],
    [
      'a space before the colon of the encoding',
      `${HEAD}${JSON_TYPE}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`,
      400,
    ],
    ['lines without a carriage return', `${HEAD}${JSON_TYPE}x: a\nb: c\r\n${length(BODY)}\r\n${BODY}`, 400],
    ['a space before the colon', `${HEAD}${JSON_TYPE}content-length : 2\r\n\r\n{}`, 400],
    ['a header on two lines', `${HEAD}${JSON_TYPE}x-a: 1\r\n\tb\r\n x\r\ncontent-length: x\r\n\r\n{}`, 400],
    ['a chunk of unreadable size', `${HEAD}${JSON_TYPE}transfer-encoding: chunked\r\n\r\nzz\r\n`, 400],
    ['an unknown transfer encoding', `${HEAD}${JSON_TYPE}transfer-encoding: gzip, chunked, x\r\n\r\n`, 400],
    ['a NUL in a header', `${HEAD}${JSON_TYPE}x-request-id: a\0b\r\n${length(BODY)}\r\n${BODY}`, 400],
    ['headers of 20 KB', `${HEAD}${JSON_TYPE}x-a: ${'a'.repeat(20_000)}\r\n${length(BODY)}\r\n${BODY}`, 431],
    ['no host', `POST /v1/embeddings HTTP/1.1\r\n${JSON_TYPE}${length(BODY)}\r\n${BODY}`, 400],
    ['another version', `POST /v1/embeddings HTTP/9.9\r\n\r\n`, 400],
  ])('refuses %s', async (_what, bytes, status) => {
    expect(statuses(await send(url(), bytes))[0]).toBe(status);
  });

  it('answers requests sent at once one by one, and takes no body for a request', async () => {
    const hidden = request('x-request-id: hidden\r\n');
    const text = await send(
      url(),
      request('x-request-id: one\r\n') + request('x-request-id: two\r\n', hidden) + request('x-request-id: three\r\n'),
      3,
    );
    expect(statuses(text)).toEqual([200, 400, 200]);
    expect([...text.matchAll(/x-request-id: (\S+)/gi)].map(([, id]) => id)).toEqual(['one', 'two', 'three']);
  });

  it('lets nobody write headers or log lines through what it echoes', async () => {
    const bad = ['a b', '"x"', 'é', '<script>', 'a'.repeat(129)];
    for (const id of bad) {
      const text = await send(url(), request(`x-request-id: ${id}\r\n`));
      expect(statuses(text)).toEqual([200]);
      expect(text).not.toContain(`x-request-id: ${id}\r`);
    }
    const injected = 'x\r\nset-cookie: a=b\r\n\r\n{"object":"list"}';
    for (const model of [injected, `${TINY_MODEL}\r\nset-cookie: a=b`]) {
      const reply = await embed(url(), { model, input: 'a' });
      expect(reply.status).toBe(404);
      expect(reply.headers.get('set-cookie')).toBeNull();
    }
    const path = await fetch(`${url()}/v1/models/x%0d%0aset-cookie:%20a=b`);
    expect([path.status, path.headers.get('set-cookie')]).toEqual([404, null]);
  });

  it.each([
    '{"__proto__":{"model":"other","input":["x"],"polluted":1},',
    '{"constructor":{"prototype":{"polluted":1}},',
    '{"encoding_format":"float","__proto__":null,"hasOwnProperty":1,"toString":1,',
  ])('takes no prototype from a body: %s', async (start) => {
    const reply = await embed(url(), `${start}"model":"${TINY_MODEL}","input":"a"}`);
    expect([200, 400]).toContain(reply.status);
    const next = await embed(url(), { model: TINY_MODEL, input: 'a' });
    expect(next.status).toBe(200);
    expect(next.text).not.toContain('polluted');
    // An inherited field is no field.
    expect((await embed(url(), '{"__proto__":{"model":"x","input":"a"}}')).status).toBe(400);
    // The router runs in this process.
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it.each([`[${'['.repeat(100_000)}`, `{"model":"${TINY_MODEL}","input":${'['.repeat(50_000)}${']'.repeat(50_000)}}`])(
    'refuses nesting without end',
    async (body) => {
      expect((await embed(url(), body)).status).toBe(400);
      expect((await embed(url(), { model: TINY_MODEL, input: 'a' })).status).toBe(200);
    },
  );
});

it('slow clients are not waited for, and the answered are', async () => {
  const server = await startServer({
    host: '127.0.0.1',
    port: 0,
    handler: (incoming, response) => {
      incoming.resume();
      incoming.on('end', () => response.end('{}'));
    },
    timeouts: { headersMs: 300, requestMs: 600, keepAliveMs: 2000 },
  });
  closing.push(() => server.drain(AbortSignal.timeout(0)));
  const slow = [
    '',
    'POST /v1/emb',
    `${HEAD}${JSON_TYPE}x-a: b`,
    `${HEAD}${JSON_TYPE}content-length: 9\r\n\r\n{`,
    `${HEAD}${JSON_TYPE}content-length: 9000\r\n\r\n{`,
    `${HEAD}${JSON_TYPE}transfer-encoding: chunked\r\n\r\n5\r\n{`,
  ];
  for (const text of await Promise.all(slow.map((bytes) => send(server.url, bytes)))) {
    expect(['', '408'], text).toContain(statuses(text).join());
  }
  expect(statuses(await send(server.url, request('')))).toEqual([200]);
  expect(server.inFlight()).toBe(0);
});
