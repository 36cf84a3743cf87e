// Hostile and random requests: only 2xx and 4xx with the error object come back, memory stays bounded, and the next request is fine.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { RESPONSE_SCHEMAS } from '../../common/openai/document.ts';
import { MODEL } from '../helpers/openai-service.ts';

let server: ChildProcess;
let url: string;
let restMb: number;

beforeAll(async () => {
  const path = new URL('../helpers/openai-fake-server.ts', import.meta.url).pathname;
  server = spawn(process.execPath, [path], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = (await once(server.stdout!, 'data')) as [Buffer];
  url = line.toString().trim();
  await expectFine();
  restMb = await memory('VmRSS');
});
afterAll(() => server.kill());
afterEach(async () => {
  await expectFine();
});

/** Megabytes, as the kernel counts them. */
async function memory(field: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${server.pid}/status`, 'utf8');
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) / 1024;
}

const post = (body: string | Uint8Array<ArrayBuffer>, type = 'application/json') =>
  fetch(`${url}/v1/embeddings`, { method: 'POST', body, headers: { 'content-type': type } });

async function expectFine(): Promise<void> {
  const response = await post(JSON.stringify({ model: MODEL, input: 'next' }));
  expect(response.status).toBe(200);
  expect(RESPONSE_SCHEMAS.CreateEmbeddingResponse.safeParse(await response.json()).success).toBe(true);
}

/** The status of an answer whose body is what it should be. */
async function statusOf(response: Response): Promise<number> {
  const body: unknown = await response.json();
  const schema = response.status === 200 ? RESPONSE_SCHEMAS.CreateEmbeddingResponse : RESPONSE_SCHEMAS.Error;
  expect(schema.safeParse(body).error).toBeUndefined();
  expect(response.status === 200 || (response.status >= 400 && response.status < 500)).toBe(true);
  return response.status;
}

it('any bytes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
      expect(await statusOf(await post(Uint8Array.from(bytes)))).toBe(400);
    }),
    { numRuns: 300 },
  );
});

it('any JSON', async () => {
  await fc.assert(
    fc.asyncProperty(fc.json({ stringUnit: 'binary' }), async (json) => {
      await statusOf(await post(json));
    }),
    { numRuns: 300 },
  );
});

it('any value in any field', async () => {
  const value = fc.oneof(fc.jsonValue(), fc.constantFrom(MODEL, 'base64', 'float', 'a', 8, 0, -1, 1e308, '__proto__'));
  const input = fc.oneof(value, fc.array(fc.string({ unit: 'binary' })), fc.array(fc.array(fc.integer())));
  const fields = { encoding_format: value, dimensions: value, user: value, truncate: value, extra: value };
  await fc.assert(
    fc.asyncProperty(
      fc.record({ model: fc.constantFrom<unknown>(MODEL, 'x', 5), input, ...fields }, { requiredKeys: [] }),
      async (body) => {
        await statusOf(await post(JSON.stringify(body)));
      },
    ),
    { numRuns: 600 },
  );
});

it('one broken byte in a good request', async () => {
  const good = Buffer.from(
    JSON.stringify({ model: MODEL, input: ['é🙂', 'b'], encoding_format: 'base64', dimensions: 8 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.nat(good.length - 1), fc.nat(255), async (at, byte) => {
      const broken = Uint8Array.from(good);
      broken[at] = byte;
      await statusOf(await post(broken));
    }),
    { numRuns: 400 },
  );
});

it.each([
  ['NaN', `{"model":"${MODEL}","input":[NaN]}`],
  ['Infinity', `{"model":"${MODEL}","input":"a","dimensions":1e999}`],
  ['a lone surrogate', `{"model":"${MODEL}","input":"\\ud800"}`],
  ['a NUL', `{"model":"${MODEL}","input":"a\\u0000b"}`],
  ['keys twice', `{"model":"x","model":"${MODEL}","input":"a","input":"b"}`],
  ['__proto__', `{"__proto__":{"model":"x"},"constructor":{"prototype":{"input":1}},"model":"${MODEL}","input":"a"}`],
  ['a byte order mark', `\ufeff{"model":"${MODEL}","input":"a"}`],
  ['100,000 brackets', `{"model":"${MODEL}","input":${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
  ['a number of 200,000 digits', `{"model":"${MODEL}","input":[${'9'.repeat(200_000)}]}`],
  ['a model name of 200,000 letters', `{"model":"${'m'.repeat(200_000)}","input":"a"}`],
  ['2,049 texts', JSON.stringify({ model: MODEL, input: Array(2049).fill('a') })],
  ['a million texts', JSON.stringify({ model: MODEL, input: Array(1_000_000).fill('') })],
])('%s', async (_name, body) => {
  const response = await post(body);
  await statusOf(response.clone());
  expect((await response.text()).length).toBeLessThan(20_000);
});

it.each(['application/xml', 'multipart/form-data; boundary=x', 'application/json; charset=utf-16', 'text/plain', ''])(
  'type "%s"',
  async (type) => {
    expect(await statusOf(await post('{}', type))).toBe(415);
  },
);

it('a compressed body, whole and broken', async () => {
  const send = async (encoding: string, body: Uint8Array) => {
    const headers = { 'content-type': 'application/json', 'content-encoding': encoding };
    return await statusOf(await fetch(`${url}/v1/embeddings`, { method: 'POST', headers, body: new Uint8Array(body) }));
  };
  const body = Buffer.from(JSON.stringify({ model: MODEL, input: 'a' }));
  expect(await send('gzip', gzipSync(body))).toBe(200);
  expect(await send('zstd', zstdCompressSync(body))).toBe(200);
  expect(await send('gzip', body)).toBe(400);
  expect(await send('gzip', gzipSync(Buffer.alloc(100_000_000)))).toBe(413);
  expect(await send('compress', body)).toBe(415);
});

/** Bytes sent as they are; resolves to the status line, or to nothing when the server just hung up. */
function raw(parts: Iterable<string | Uint8Array>): Promise<string> {
  const { port } = new URL(url);
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(Number(port), '127.0.0.1', () => {
      for (const part of parts) socket.write(part);
      socket.end();
    });
    socket.on('data', (chunk) => (answer += chunk.toString()));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(answer.split('\r\n', 1)[0] ?? ''));
  });
}

it('headers that try to smuggle', async () => {
  const head = 'POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n';
  expect(await raw([`${head}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`])).toMatch(/ 400 /);
  expect(await raw([`${head}content-length: 2\r\ncontent-length: 3\r\n\r\n{}`])).toMatch(/ 400 /);
  expect(await raw([`${head}content-length: -5\r\n\r\n`])).toMatch(/ 400 /);
  expect(await raw([`${head}x-request-id: a\u0001b\r\ncontent-length: 2\r\n\r\n{}`])).toMatch(/ 400 /);
});

it('50 MB bodies, declared and chunked, many at once, within bounded memory', async () => {
  const size = 50 * 1024 * 1024;
  const head = 'POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n';
  const block = Buffer.alloc(1024 * 1024, 'a');
  function* declared() {
    yield `${head}content-length: ${size}\r\n\r\n`;
    for (let sent = 0; sent < size; sent += block.length) yield block;
  }
  function* chunked() {
    yield `${head}transfer-encoding: chunked\r\n\r\n`;
    for (let sent = 0; sent < size; sent += block.length) {
      yield `${block.length.toString(16)}\r\n`;
      yield block;
      yield '\r\n';
    }
    yield '0\r\n\r\n';
  }
  expect(await raw(declared())).toMatch(/ 413 /);
  expect(await raw(chunked())).toMatch(/ 413 /);
  await Promise.all(Array.from({ length: 4 }, (_, at) => raw(at % 2 === 0 ? declared() : chunked())));
  // Each may hold the limit of 32 MB while it is read, and the parser's thread a few copies of one.
  expect((await memory('VmHWM')) - restMb).toBeLessThan(450);
});
