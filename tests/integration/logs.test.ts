// What the processes log: one line a request with its ids, sizes and times, nothing of the input; a level that a signal changes.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createLog } from '../../common/obs/log.ts';
import { createTinyStore, startRuntime, TINY_MODEL, TINY_REVISION } from '../helpers/runtime-process.ts';
import type { RuntimeProcess, TinyStore } from '../helpers/runtime-process.ts';
import { embed, eventually, startStubCluster } from '../helpers/stub-runtime-cluster.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const TRACE = 'd'.repeat(32);
const SECRET = 'abacabadabacaba';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

type Line = Readonly<Record<string, unknown>>;
const requestLines = (output: string): Line[] =>
  output
    .split('\n')
    .filter((line) => line.includes('"message":"Request answered"') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Line);

/** The router's log, and what it has written. */
function routerLog() {
  let output = '';
  const destination = { write: (line: string): void => void (output += line) };
  const { log } = createLog({ name: 'router', level: 'info', readable: false, destination });
  return { log, output: () => output };
}

describe('a request', () => {
  let store: TinyStore;
  let runtime: RuntimeProcess;
  beforeAll(async () => {
    store = await createTinyStore();
    runtime = startRuntime(store.store);
  });
  afterAll(async () => {
    await runtime[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
  });

  it('is one line in the router and one in the runtime, which name it alike', async () => {
    const { log, output } = routerLog();
    const cluster = await startStubCluster({}, { log });
    closing.push(() => cluster.close());
    await cluster.model('tiny', {
      spec: { model: TINY_MODEL, servedNames: [TINY_MODEL, 'alias'] },
      revision: TINY_REVISION,
    });
    await cluster.endpoints('tiny', [Number(new URL(await runtime.ready()).port)]);

    const headers = { 'x-request-id': 'one-line', traceparent: `00-${TRACE}-${'e'.repeat(16)}-01` };
    const reply = await embed(cluster.router.url, { model: 'alias', input: [SECRET, 'b'] }, { headers });
    expect(reply.status).toBe(200);
    await eventually(() => requestLines(runtime.output()).length > 0 && requestLines(output()).length > 0);

    const time = expect.any(Number) as number;
    const both = {
      level: 'info',
      time: expect.stringMatching(/^\d{4}-.*Z$/) as string,
      message: 'Request answered',
      requestId: 'one-line',
      traceId: TRACE,
      method: 'POST',
      path: '/v1/embeddings',
      status: 200,
      durationMs: time,
      inputs: 2,
      encoding: 'float',
      tokens: reply.body.usage.prompt_tokens as number,
    };
    const stages = { queueMs: time, tokenizeMs: time, inferMs: time, serializeMs: time };
    expect(requestLines(runtime.output())).toEqual([{ ...both, name: 'runtime', model: TINY_MODEL, ...stages }]);
    expect(requestLines(output())).toEqual([
      expect.objectContaining({ ...both, name: 'router', model: 'ns/tiny', attempts: 1, upstreamMs: time }),
    ]);
    expect(runtime.output() + output()).not.toContain(SECRET);
  });

  it('with a key tells what that is called, and nothing of it', async () => {
    const { log, output } = routerLog();
    const folder = await mkdtemp(join(tmpdir(), 'kubembed-logs-'));
    closing.push(() => rm(folder, { recursive: true, force: true }));
    const file = join(folder, 'keys.yaml');
    const sha256 = createHash('sha256').update(SECRET).digest('hex');
    await writeFile(file, JSON.stringify({ keys: [{ name: 'search-team', sha256 }] }));
    const cluster = await startStubCluster({ KUBEMBED_API_KEYS_FILE: file }, { log });
    closing.push(() => cluster.close());
    await cluster.router.synced;

    const asked = async (path: string): Promise<number> =>
      (await fetch(cluster.router.url + path, { headers: { authorization: `Bearer ${SECRET}` } })).status;
    await eventually(async () => (await asked('/v1/models')) === 200);
    expect(await asked('/healthz')).toBe(200);
    await eventually(() => requestLines(output()).some(({ keyName }) => keyName === 'search-team'));
    expect(output()).not.toContain(SECRET);
    expect(output()).not.toContain(sha256);
  });

  it('that is refused says why, in one word', async () => {
    const url = await runtime.ready();
    const before = requestLines(runtime.output()).length;
    const refused = await embed(url, { model: SECRET, input: SECRET });
    expect(refused.status).toBe(404);
    await fetch(`${url}/v1/embeddings?api-key=${SECRET}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `{"input": ${SECRET}`,
    });
    await eventually(() => requestLines(runtime.output()).length === before + 2);
    const refusals = requestLines(runtime.output()).slice(before);
    expect(refusals.map(({ status, reason }) => [status, reason])).toEqual([
      [404, 'model_not_found'],
      [400, 'invalid_request'],
    ]);
    expect(runtime.output()).not.toContain(SECRET);
  });
});

/** A control plane's process without its API server, which it goes on looking for. */
async function startAlone(main: string): Promise<{ readonly child: ChildProcess; readonly output: () => string }> {
  const home = await mkdtemp(join(tmpdir(), 'kubembed-logs-'));
  closing.push(() => rm(home, { recursive: true, force: true }));
  const kubeconfig = join(home, 'config');
  await writeFile(
    kubeconfig,
    JSON.stringify({
      clusters: [{ name: 'none', cluster: { server: 'https://127.0.0.1:9' } }],
      contexts: [{ name: 'none', context: { cluster: 'none', user: 'none' } }],
      users: [{ name: 'none', user: {} }],
      'current-context': 'none',
    }),
  );
  const env = {
    KUBECONFIG: kubeconfig,
    KUBEMBED_HOST: '127.0.0.1',
    KUBEMBED_PORT: '0',
    ...(main === 'router' && { KUBEMBED_INTERNAL_PORT: '0' }),
  };
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', `${main}/main.ts`], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'] ?? '', HOME: home, ...env },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exited = new Promise((resolve) => child.once('close', resolve));
  closing.push(() => [child.kill('SIGKILL'), exited][1]);
  return { child, output: () => output };
}

it.each([
  ['router', '"message":"Router listens"'],
  ['operator', '"level":'],
])('the %s changes its log level at SIGUSR2, without a restart', async (main, started) => {
  const { child, output } = await startAlone(main);
  await eventually(() => output().includes(started), 60_000);
  for (const level of ['debug', 'info']) {
    child.kill('SIGUSR2');
    await eventually(() => output().includes(`"logLevel":"${level}","message":"Log level changed"`));
  }
  expect(child.exitCode).toBeNull();
});
