import { connect } from 'node:net';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../obs/log.ts';
import { openApiDocument } from '../openai/document.ts';
import { OpenAIError } from '../openai/errors.ts';
import { createApp } from './app.ts';
import { createBodyReader } from './body.ts';
import { docsRoutes } from './docs.ts';
import { decodeJson } from './embeddings-parser.ts';
import { exchangeOf } from './exchange.ts';
import type { FinishedExchange } from './exchange.ts';
import { sendBytes } from './exchange.ts';
import { createMemoryBudget } from './memory.ts';
import type { MemoryBudget } from './memory.ts';
import { startServer } from './server.ts';
import type { RunningServer } from './server.ts';

let server: RunningServer;
let lines: Record<string, unknown>[];
let finished: FinishedExchange[];
let release: () => void;
const LARGE = Buffer.alloc(3_000_000, 'x');
const MAX_BYTES = 1000;
/** For one body of the largest size. */
let memory: MemoryBudget;
const reader = createBodyReader({ maxBytes: MAX_BYTES });

beforeEach(async () => {
  lines = [];
  finished = [];
  memory = createMemoryBudget(MAX_BYTES);
  const held = new Promise<void>((resolve) => (release = resolve));
  const { log } = createLog({
    name: 'test',
    level: 'info',
    readable: false,
    destination: { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  });
  const handler = createApp({
    log,
    quiet: ['/quiet'],
    memory,
    onFinish: (outcome) => finished.push(outcome),
    routes: {
      '/echo': {
        post: async (request, response) => {
          exchangeOf(response).facts['inputs'] = 1;
          response.end(JSON.stringify(decodeJson(await reader.read(request, exchangeOf(response).held))));
        },
      },
      '/quiet': { get: (_request, response) => void response.end('ok') },
      '/broken': {
        get: () => {
          throw new Error('secret path');
        },
      },
      '/refused': {
        get: () => {
          throw new OpenAIError('rate_limit_exceeded', 'Later.', { retryAfterMs: 1500 });
        },
      },
      '/held': {
        get: async (_request, response) => {
          await held;
          response.end('done');
        },
      },
      '/teapot': { get: async (_request, response) => await sendBytes(response, 418, [LARGE, LARGE]) },
      '/items/{*id}': { get: (_request, response) => void response.end('item') },
      ...docsRoutes(openApiDocument('1.2.3')),
    },
  });
  server = await startServer({ host: '127.0.0.1', port: 0, handler });
});

afterEach(async () => {
  release();
  await server.drain(AbortSignal.timeout(1000));
});

const call = (path: string, init?: RequestInit) => fetch(`${server.url}${path}`, init);
const post = (body: string | Uint8Array<ArrayBuffer>, type = 'application/json') =>
  call('/echo', { method: 'POST', body, headers: { 'content-type': type } });

/** Bytes in, everything the server sends out. */
function raw(bytes: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(server.port, '127.0.0.1', () => socket.write(bytes));
    let answer = '';
    socket.on('data', (chunk) => (answer += chunk.toString()));
    socket.on('close', () => resolve(answer));
    socket.on('error', () => undefined);
  });
}

describe('errors', () => {
  it.each([
    ['/nowhere', 'GET', 404, 'unknown_url'],
    ['/echo', 'GET', 405, 'method_not_allowed'],
    ['/items/%ff', 'GET', 400, null],
    ['/broken', 'GET', 500, 'internal_error'],
    ['/refused', 'GET', 429, 'rate_limit_exceeded'],
  ])('%s by %s is a %d error object', async (path, method, status, code) => {
    const response = await call(path, { method });
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toContain('application/json');
    expect(response.headers.get('x-request-id')).toMatch(/^[\w-]{36}$/);
    const { error } = (await response.json()) as { error: Record<string, unknown> };
    expect(Object.keys(error)).toEqual(['message', 'type', 'param', 'code']);
    expect(error['code']).toBe(code);
    expect(JSON.stringify(error)).not.toContain('secret');
  });

  it('leads from an address that is none to those that are', async () => {
    const { error } = (await (await call('/v1/chat')).json()) as { error: { message: string } };
    expect(error.message).toBe('Unknown request URL: GET /v1/chat. GET /openapi.json lists what there is.');
  });

  it('says which methods are allowed', async () => {
    expect((await call('/echo')).headers.get('allow')).toBe('POST, OPTIONS');
    expect((await call('/quiet', { method: 'POST' })).headers.get('allow')).toBe('GET, HEAD, OPTIONS');
    expect((await call('/quiet', { method: 'OPTIONS' })).status).toBe(204);
    expect((await call('/quiet', { method: 'HEAD' })).status).toBe(200);
  });

  it('says when to try again, in both units', async () => {
    const { headers } = await call('/refused');
    expect([headers.get('retry-after'), headers.get('retry-after-ms')]).toEqual(['2', '1500']);
  });

  it('keeps the cause of a fault in the log and there alone', async () => {
    await call('/broken');
    await expect.poll(() => lines.length).toBe(1);
    expect(lines[0]).toMatchObject({
      level: 'error',
      status: 500,
      reason: 'internal_error',
      error: { message: 'secret path' },
    });
  });
});

describe('answers in pieces', () => {
  it('keep their status and come whole', async () => {
    const response = await call('/teapot');
    expect([response.status, response.headers.get('content-length')]).toEqual([418, '6000000']);
    expect((await response.bytes()).byteLength).toBe(6_000_000);
  });

  it('end with their reader', async () => {
    const leaving = new AbortController();
    await call('/teapot', { signal: leaving.signal });
    leaving.abort();
    await expect.poll(() => finished.map(({ status }) => status)).toEqual([499]);
    expect(server.inFlight()).toBe(0);
  });
});

describe('bodies', () => {
  it.each([
    ['{"a":1}', 'application/json', 200],
    ['{"a":1}', 'application/json; charset=UTF-8', 200],
    ['{"a":1}', 'application/vnd.x+json', 200],
    ['{"a":1}', 'text/plain', 415],
    ['{"a":1}', 'application/json; charset=latin1', 415],
    ['{"a":1}', 'application/x-www-form-urlencoded', 415],
    ['{"a":', 'application/json', 400],
    ['', 'application/json', 400],
    [new Uint8Array([0x22, 0xc3, 0x28, 0x22]), 'application/json', 400],
    [`"${'a'.repeat(1000)}"`, 'application/json', 413],
  ])('%s as %s gives %d', async (body, type, status) => {
    expect((await post(body, type)).status).toBe(status);
    // Nothing of it counts as held any more: all of the room is there.
    expect((await post(`"${'b'.repeat(MAX_BYTES - 2)}"`)).status).toBe(200);
  });

  it('never quotes what it could not parse', async () => {
    const answer = await (await post('{"input": hunter2}')).text();
    expect(answer).not.toContain('hunter2');
    await expect.poll(() => lines.length).toBe(1);
    expect(JSON.stringify(lines)).not.toContain('hunter2');
  });

  it('stops a chunked body at the limit', async () => {
    const part = 'a'.repeat(600);
    const chunk = `${(600).toString(16)}\r\n${part}\r\n`;
    const head =
      'POST /echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n';
    expect(await raw(`${head}${chunk}${chunk}0\r\n\r\n`)).toMatch(/^HTTP\/1.1 413 /);
  });
});

describe('compressed bodies', () => {
  const encoded = (encoding: string, body: Uint8Array) =>
    call('/echo', {
      method: 'POST',
      body: new Uint8Array(body),
      headers: { 'content-type': 'application/json', 'content-encoding': encoding },
    });
  const CODERS: Record<string, (body: Buffer) => Buffer> = {
    gzip: gzipSync,
    'x-gzip': gzipSync,
    GZIP: gzipSync,
    deflate: deflateSync,
    br: brotliCompressSync,
    zstd: zstdCompressSync,
    identity: (body) => body,
  };

  it.each(Object.entries(CODERS))('are read as what they stand for: %s', async (encoding, encode) => {
    const response = await encoded(encoding, encode(Buffer.from('{"a":1}')));
    expect([response.status, await response.text()]).toEqual([200, '{"a":1}']);
  });

  it.each(Object.entries(CODERS))(
    'are bounded by what they become, and leave nothing held: %s',
    async (encoding, encode) => {
      expect((await encoded(encoding, encode(Buffer.from(`"${' '.repeat(20_000_000)}"`)))).status).toBe(413);
      await expect.poll(() => memory.heldBytes()).toBe(0);
      expect((await post(`"${'b'.repeat(MAX_BYTES - 2)}"`)).status).toBe(200);
    },
  );

  it.each([
    ['gzip', Buffer.from('{"a":1}'), 400],
    ['gzip', gzipSync(Buffer.from('{"a":1}')).subarray(0, 15), 400],
    ['zstd', gzipSync(Buffer.from('{"a":1}')), 400],
    ['gzip', Buffer.alloc(0), 400],
    ['gzip, br', gzipSync(Buffer.from('{"a":1}')), 415],
    ['toString', Buffer.from('{"a":1}'), 415],
    ['compress', Buffer.from('{"a":1}'), 415],
  ])('that are not what they say are refused: %s', async (encoding, body, status) => {
    const response = await encoded(encoding, body);
    expect(response.status).toBe(status);
    const { error } = (await response.json()) as { error: { type: string } };
    expect(error.type).toBe('invalid_request_error');
  });
});

describe('what people really send', () => {
  it('a byte order mark before the body', async () => {
    const response = await post(new Uint8Array([0xef, 0xbb, 0xbf, ...Buffer.from('{"a":1}')]));
    expect(await response.text()).toBe('{"a":1}');
  });

  it.each([
    '/quiet/',
    '//quiet',
    '/QUIET',
    '///quiet//?a=//b',
    'http://x/quiet',
    'HTTP://x:80//quiet',
    'https://u@x/quiet?a',
  ])('another spelling of the target: %s', async (target) => {
    expect(await raw(`GET ${target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`)).toMatch(/^HTTP\/1.1 200 /);
  });

  it.each([
    ['GET http://[ HTTP/1.1\r\nhost: x', 400],
    ['GET http://x:99999/quiet HTTP/1.1\r\nhost: x', 400],
    ['GET /quiet HTTP/1.1', 400],
    ['GET /quiet HTTP/1.1\r\nhost: x\r\nexpect: 200-maybe', 417],
    ['POST /echo HTTP/1.1\r\nhost: x\r\nexpect: a, b\r\ncontent-length: 0', 417],
    ['CONNECT x:80 HTTP/1.1\r\nhost: x', 405],
    ['OPTIONS * HTTP/1.1\r\nhost: x', 404],
    ['GET /quiet?%ff#%ff HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nconnection: upgrade, close', 200],
    ['TRACE /quiet HTTP/1.1\r\nhost: x', 405],
    ['GET /\\\\evil HTTP/1.1\r\nhost: x', 404],
    ['GET /%E0%A4%A HTTP/1.1\r\nhost: x', 404],
  ])('%j is answered %d', async (head, status) => {
    const answer = await raw(`${head.includes('connection') ? head : `${head}\r\nconnection: close`}\r\n\r\n`);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(answer).toContain('x-request-id: ');
    const error = /\{"error":\{"message":"[^"]+","type":"invalid_request_error","param":null,"code":/;
    if (status >= 400) expect(answer).toMatch(error);
  });
});

describe('pages of other origins', () => {
  const preflight = (origin: string) =>
    call('/refused', {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type',
      },
    });
  const restart = async (corsOrigins: readonly string[]): Promise<void> => {
    await server.drain(AbortSignal.timeout(0));
    const { log } = createLog({
      name: 'test',
      level: 'error',
      readable: false,
      destination: { write: () => undefined },
    });
    const refuse = () => {
      throw new OpenAIError('invalid_api_key', 'No.');
    };
    const handler = createApp({ log, corsOrigins, routes: { '/refused': { post: refuse } } });
    server = await startServer({ host: '127.0.0.1', port: 0, handler });
  };

  it('have no leave unless it was given', async () => {
    const { headers } = await preflight('https://a.example');
    expect(headers.get('access-control-allow-origin')).toBeNull();
  });

  it('are answered before any key is asked for, by their origin', async () => {
    await restart(['https://a.example', 'http://localhost:3000']);
    const { status, headers } = await preflight('https://a.example');
    expect(status).toBe(204);
    expect(Object.fromEntries(headers)).toMatchObject({
      'access-control-allow-origin': 'https://a.example',
      'access-control-allow-headers': 'authorization,content-type',
      'access-control-allow-methods': 'GET, HEAD, POST',
      vary: 'Origin',
    });
    const other = await preflight('https://a.example.evil');
    expect([other.headers.get('access-control-allow-origin'), other.headers.get('vary')]).toEqual([null, 'Origin']);
    const refused = await call('/refused', { method: 'POST', headers: { origin: 'http://localhost:3000' } });
    expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([
      401,
      'http://localhost:3000',
    ]);
    expect(refused.headers.get('access-control-allow-credentials')).toBeNull();
  });

  it('may be all', async () => {
    await restart(['*']);
    expect((await preflight('null')).headers.get('access-control-allow-origin')).toBe('*');
  });
});

describe('the log', () => {
  it('has one line per request with its facts, and none for quiet routes', async () => {
    await call('/quiet');
    await call('/echo?key=hunter2', {
      method: 'POST',
      body: '"hunter2"',
      headers: { 'content-type': 'application/json', authorization: 'Bearer hunter2', 'x-request-id': 'abc' },
    });
    await expect.poll(() => lines.length).toBe(1);
    expect(lines[0]).toMatchObject({
      requestId: 'abc',
      method: 'POST',
      path: '/echo',
      status: 200,
      inputs: 1,
      level: 'info',
    });
    expect(JSON.stringify(lines)).not.toContain('hunter2');
    expect(finished.map(({ exchange, status }) => [exchange.route, status])).toEqual([
      ['/quiet', 200],
      ['/echo', 200],
    ]);
  });

  it('does not take over an id that could forge a header or a line', async () => {
    const { headers } = await call('/quiet', { headers: { 'x-request-id': 'a b"c' } });
    expect(headers.get('x-request-id')).toMatch(/^[\w-]{36}$/);
  });

  it('marks a client that left as 499', async () => {
    const leaving = new AbortController();
    const answer = call('/held', { signal: leaving.signal });
    await expect.poll(() => server.inFlight()).toBe(1);
    leaving.abort();
    await expect(answer).rejects.toThrow();
    await expect.poll(() => finished.map(({ status }) => status)).toEqual([499]);
  });
});

describe('documentation', () => {
  it.each(['/docs', '/redoc'])('%s loads nothing from elsewhere', async (path) => {
    const response = await call(path);
    const html = await response.text();
    expect(html).not.toMatch(/https?:/);
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
    const assets = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, asset]) => asset!);
    expect(assets.length).toBeGreaterThan(0);
    for (const asset of assets) {
      const file = await call(`/${asset}`);
      expect(file.status).toBe(200);
      expect((await file.text()).length).toBeGreaterThan(10);
    }
  });

  it('serves the OpenAPI document, whose references all resolve', async () => {
    const document = (await (await call('/openapi.json')).json()) as {
      components: { schemas: object };
      info: { version: string };
    };
    const names = [...JSON.stringify(document).matchAll(/#\/components\/schemas\/(\w+)/g)].map(([, name]) => name);
    expect(document.info.version).toBe('1.2.3');
    expect(Object.keys(document.components.schemas)).toEqual(expect.arrayContaining(names));
  });
});
