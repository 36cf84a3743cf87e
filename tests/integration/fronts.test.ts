// A runtime process with two front threads: one port, one queue, one bound on what is held, one set of metrics, and one life.
import { once } from 'node:events';
import { Agent, request as ask } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { distance } from '../helpers/references.ts';
import { scrape } from '../helpers/openai-service.ts';
import { TINY_MODEL, createTinyStore, startRuntime } from '../helpers/runtime-process.ts';
import type { RuntimeProcess, TinyStore } from '../helpers/runtime-process.ts';

const TWO = { KUBEMBED_FRONT_THREADS: '2' };
/** Has the second front thread fail or hang when the process gets a signal: nothing outside can do that to one thread. */
const FRAGILE = `data:text/javascript,${encodeURIComponent(
  `import { BroadcastChannel, isMainThread, workerData } from 'node:worker_threads';
   const told = new BroadcastChannel('test');
   told.unref();
   if (isMainThread) {
     process.on('SIGWINCH', () => told.postMessage('fail'));
     process.on('SIGURG', () => told.postMessage('hang'));
   } else if (workerData?.place === 1) {
     told.onmessage = ({ data }) => {
       while (data === 'hang');
       throw new Error('A fault of one thread');
     };
   }`,
)}`;

interface Answered {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** Over a connection of its own, so that the kernel gives it to either thread. */
function post(url: string, fields: object, headers: Record<string, string> = {}): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const request = ask(`${url}/v1/embeddings`, {
      method: 'POST',
      agent: new Agent(),
      headers: { 'content-type': 'application/json', ...headers },
    });
    request.on('error', reject);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString(),
        }),
      );
    });
    request.end(JSON.stringify({ model: TINY_MODEL, input: 'abc', ...fields }));
  });
}

const vectorsOf = ({ body }: Answered): number[][] =>
  (JSON.parse(body) as { data: { embedding: number[] }[] }).data.map(({ embedding }) => embedding);

const many = <T>(count: number, act: (at: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, at) => act(at)));
/** Runs for a while, and is no other request's. */
const work = (texts: number, seed: number): string[] =>
  Array.from({ length: texts }, (_, at) => `${'abcdefghij '.repeat(12)}${seed}x${at}`);

describe('two front threads', () => {
  let store: TinyStore;
  let runtime: RuntimeProcess;
  let url: string;
  beforeAll(async () => {
    store = await createTinyStore();
    runtime = startRuntime(store.store, { env: TWO });
    url = await runtime.ready();
  });
  afterAll(async () => {
    await runtime[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
  });

  it('give the vectors that one gives', async () => {
    await using alone = startRuntime(store.store, { env: { KUBEMBED_FRONT_THREADS: '1' } });
    const other = await alone.ready();
    const asked = { input: ['abc', 'd e f', 'abc', ''] };
    // What runs with what else is chance, and tells in the last digit.
    const expected = vectorsOf(await post(other, asked));
    for (const answer of await many(8, () => post(url, asked))) {
      const vectors = vectorsOf(answer);
      expect(vectors).toHaveLength(4);
      for (const [at, vector] of vectors.entries()) expect(distance(vector, expected[at]!)).toBeLessThan(1e-6);
    }
  });

  it('have one queue, which every answer and refusal tells of', async () => {
    const running = many(8, (at) => post(url, { input: work(64, at) }));
    await expect.poll(() => scrape(url, 'kubembed_runtime_queue_inputs'), { timeout: 20_000 }).toBeGreaterThan(100);
    const small = await many(8, () => post(url, {}));
    for (const { headers } of small) expect(Number(headers['x-kubembed-backlog-tokens'])).toBeGreaterThan(0);
    for (const { status } of await running) expect(status).toBe(200);
    expect(await scrape(url, 'kubembed_runtime_queue_tokens')).toBe(0);
  });

  it('count every request once, whichever had it and whichever is asked', async () => {
    const sample = 'kubembed_runtime_requests_total{route="/v1/embeddings",status="200"}';
    const before = (await scrape(url, sample)) ?? 0;
    await many(40, () => post(url, {}));
    for (let look = 0; look < 6; look++) expect(await scrape(url, sample)).toBe(before + 40);
    const page = await (await fetch(`${url}/metrics`)).text();
    const helped = [...page.matchAll(/^# HELP (\S+)/gm)].map(([, name]) => name);
    expect(helped).toEqual([...new Set(helped)]);
    expect(helped).toContain('process_start_time_seconds');
    expect(page).toMatch(/^kubembed_runtime_request_duration_seconds_bucket\{le="\+Inf"\} \d+$/m);
    expect(page).toMatch(/^kubembed_runtime_ready 1$/m);
  });

  it('drop what nobody waits for any more', async () => {
    const leaving = Array.from({ length: 12 }, (_, at) => {
      const body = JSON.stringify({ model: TINY_MODEL, input: work(256, at) });
      const request = ask(`${url}/v1/embeddings`, {
        method: 'POST',
        agent: new Agent(),
        headers: { 'content-type': 'application/json' },
      });
      request.on('error', () => undefined);
      request.end(body);
      return request;
    });
    await expect.poll(() => scrape(url, 'kubembed_runtime_queue_inputs'), { timeout: 20_000 }).toBeGreaterThan(1000);
    for (const request of leaving) request.destroy();
    await expect.poll(() => scrape(url, 'kubembed_runtime_queue_inputs'), { timeout: 10_000 }).toBe(0);
    expect(await scrape(url, 'kubembed_runtime_errors_total{reason="client_closed_request"}')).toBe(12);
  });

  it('heed deadlines', async () => {
    const [late] = await many(1, () => post(url, { input: work(512, 1) }, { 'x-kubembed-deadline-ms': '5' }));
    expect([late!.status, late!.body]).toEqual([504, expect.stringContaining('deadline')]);
    await expect.poll(() => scrape(url, 'kubembed_runtime_queue_inputs'), { timeout: 10_000 }).toBe(0);
  });

  it('log whole lines', async () => {
    await many(60, (at) => post(url, {}, { 'x-request-id': `line-${at}` }));
    const logged = () => runtime.output().match(/"requestId":"line-\d+"/g)?.length;
    await expect.poll(logged, { timeout: 10_000 }).toBe(60);
    const [whole = ''] = /^[^]*\n/.exec(runtime.output()) ?? [];
    for (const line of whole.trimEnd().split('\n')) expect(JSON.parse(line)).toMatchObject({ name: 'runtime' });
  });

  it('take a port that another process has for taken', async () => {
    const { port } = new URL(url);
    await using second = startRuntime(store.store, { env: { ...TWO, KUBEMBED_PORT: port } });
    expect(await second.exited).toBe(1);
    expect(await second.terminationMessage()).toMatchObject({ message: expect.stringContaining('EADDRINUSE') });
  });
});

describe('one bound', () => {
  it('holds for what both threads have in memory', async () => {
    await using store = await createTinyStore();
    const bytes = 1024 * 1024;
    await using runtime = startRuntime(store.store, { env: { ...TWO, KUBEMBED_MAX_BODY_BYTES: String(bytes) } });
    const { port } = new URL(await runtime.ready());
    // Of four such bodies five eighths may be held in large ones: two of them, by one thread or by both.
    const open = await many(10, () => begin(Number(port), bytes - 1000));
    const refused = (): number => open.filter(({ answer }) => answer().startsWith('HTTP/1.1 429')).length;
    await expect.poll(refused, { timeout: 20_000 }).toBe(8);
    await sleep(200);
    expect(refused()).toBe(8);
    for (const { socket } of open) socket.destroy();
  });

  it('holds for the connections of both', async () => {
    await using store = await createTinyStore();
    await using runtime = startRuntime(store.store, { env: { ...TWO, KUBEMBED_MAX_CONNECTIONS: '6' } });
    const { port } = new URL(await runtime.ready());
    const ended = new Set<Socket>();
    const sockets = await many(20, async () => {
      const socket = connect(Number(port), '127.0.0.1');
      socket.on('error', () => undefined);
      socket.once('close', () => ended.add(socket));
      await once(socket, 'connect');
      return socket;
    });
    await expect.poll(() => ended.size, { timeout: 10_000 }).toBe(14);
    for (const socket of sockets) socket.destroy();
    await expect
      .poll(async () => (await post(`http://127.0.0.1:${port}`, {}).catch(() => undefined))?.status)
      .toBe(200);
  });
});

/** A request whose body lacks its last byte. */
async function begin(port: number, bytes: number) {
  const socket = connect(port, '127.0.0.1');
  let answer = '';
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
  await once(socket, 'connect');
  socket.write(
    `POST /v1/embeddings HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: ${bytes}\r\n\r\n`,
  );
  socket.write(Buffer.alloc(bytes - 1, ' '));
  return { socket, answer: () => answer };
}

describe('a front thread', () => {
  const fragile = (store: string): RuntimeProcess =>
    startRuntime(store, { env: { ...TWO, KUBEMBED_DRAIN_SECONDS: '0.5', NODE_OPTIONS: `--import ${FRAGILE}` } });

  it('that dies ends the process, and says of what', async () => {
    await using store = await createTinyStore();
    await using runtime = fragile(store.store);
    const url = await runtime.ready();
    const running = many(8, (at) =>
      post(url, { input: work(512, at) }).then(
        () => 'answered',
        () => 'lost',
      ),
    );
    await expect.poll(() => scrape(url, 'kubembed_runtime_queue_inputs'), { timeout: 20_000 }).toBeGreaterThan(1000);
    runtime.child.kill('SIGWINCH');
    expect(await runtime.exited).toBe(1);
    expect(await runtime.terminationMessage()).toEqual({ reason: 'CrashLooping', message: 'A fault of one thread' });
    expect(runtime.output()).toContain('"message":"Failed"');
    expect(await running).toContain('lost');
  });

  it('that hangs is seen by the probe of any other, and does not hold back the end', async () => {
    await using store = await createTinyStore();
    await using runtime = fragile(store.store);
    const url = await runtime.ready();
    const probes = () =>
      many(8, async () => {
        const socket = connect(Number(new URL(url).port), '127.0.0.1');
        let answer = '';
        socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
        socket.on('error', () => undefined);
        socket.write('GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n');
        await Promise.race([once(socket, 'data'), sleep(1000)]);
        socket.destroy();
        return answer.slice(0, 12);
      });
    expect(await probes()).toEqual(Array(8).fill('HTTP/1.1 200'));
    runtime.child.kill('SIGURG');
    await expect.poll(probes, { timeout: 20_000 }).toEqual(Array(8).fill(''));
    runtime.child.kill('SIGTERM');
    expect(await runtime.exited).toBe(0);
  });
});
