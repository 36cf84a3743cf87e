// API keys, limits and the response cache over real sockets.
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { SECRETS } from '../../kube/resources.ts';
import { embed, eventually, startStubCluster } from '../helpers/stub-runtime-cluster.ts';
import type { StubCluster } from '../helpers/stub-runtime-cluster.ts';
import { startStubRuntime } from '../helpers/stub-runtime.ts';
import type { StubRuntime } from '../helpers/stub-runtime.ts';

const dir = mkdtempSync(join(tmpdir(), 'kubembed-keys-'));
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const KEY = 'sk-test-planted-token';
const sha256 = (key: string): string => createHash('sha256').update(key).digest('hex');
const list = (...keys: object[]): string => JSON.stringify({ keys });
const as = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });
const ask = { model: 'org/model', input: 'hello' };

const boot = async (env: Record<string, string>): Promise<{ cluster: StubCluster; url: string; stub: StubRuntime }> => {
  const stub = await startStubRuntime();
  const cluster = await startStubCluster(env);
  closing.push(
    () => stub.kill(),
    () => cluster.close(),
  );
  await cluster.model('model', { revision: 'rev-1', spec: { servedNames: ['org/model', 'alias'] } });
  await cluster.model('other');
  await cluster.endpoints('model', [stub.port]);
  await cluster.router.synced;
  await eventually(async () =>
    (await (await fetch(`${cluster.router.internalUrl}/metrics`)).text()).includes(
      'endpoints{model="ns/model",state="usable"} 1',
    ),
  );
  return { cluster, url: cluster.router.url, stub };
};

const keyFile = (content: string): string => {
  const file = join(dir, 'keys.yaml');
  writeFileSync(file, content);
  return file;
};

/** `GET /path` → who may see it where keys are asked for, as the page about security says. */
const routesOfDocs = (): Readonly<Record<string, string>> => {
  const page = readFileSync(new URL('../../docs/security.md', import.meta.url), 'utf8');
  const rows = page.matchAll(/^\| `((?:GET|POST) \/[^`]*)` +\| (a key|anybody|nobody) +\|/gm);
  return Object.fromEntries([...rows].map(([, route = '', who = '']): [string, string] => [route, who]));
};

describe('keys', () => {
  it('are asked for, compared by hash, never echoed, and reloaded', async () => {
    const file = keyFile(list({ name: 'a', sha256: sha256(KEY) }));
    const { url } = await boot({ KUBEMBED_API_KEYS_FILE: file });
    await eventually(async () => (await embed(url, ask, as(KEY))).status === 200);
    for (const [init, message] of [
      [{}, /didn't provide an API key/],
      [as('sk-wrong-key'), /Incorrect API key/],
    ] as const) {
      const reply = await embed(url, ask, init);
      expect([reply.status, reply.body.error.code]).toEqual([401, 'invalid_api_key']);
      expect(reply.body.error.message).toMatch(message);
      expect(reply.text).not.toContain('sk-');
      expect(reply.headers.get('www-authenticate')).toBe('Bearer');
    }
    expect((await fetch(`${url}/V1/models`)).status).toBe(401);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    // A fault keeps the old keys, a good list replaces them.
    writeFileSync(file, 'keys: nonsense');
    writeFileSync(file, list({ name: 'b', sha256: sha256('sk-new') }));
    await eventually(async () => (await embed(url, ask, as('sk-new'))).status === 200);
    expect((await embed(url, ask, as(KEY))).status).toBe(401);
  });

  it('come from a Secret too, and open some models only', async () => {
    const { cluster, url } = await boot({ KUBEMBED_API_KEYS_SECRET: 'ns/keys' });
    expect((await embed(url, ask, as(KEY))).status).toBe(503);
    // It gets no requests before it can tell whose they are.
    const isReady = async (): Promise<boolean> => (await fetch(`${url}/readyz`)).ok;
    expect([await isReady(), cluster.router.ready()]).toEqual([false, false]);
    const data = (text: string) => ({ 'keys.yaml': Buffer.from(text).toString('base64') });
    const secret = (text: string) => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'keys', namespace: 'ns' },
      data: data(text),
    });
    const apply = { fieldManager: 'test', force: true };
    await cluster.client.apply(SECRETS, secret(list({ name: 'a', sha256: sha256(KEY), models: ['alias'] })), apply);
    await eventually(isReady);
    expect((await embed(url, ask, as(KEY))).status).toBe(200);
    const refused = await embed(url, { ...ask, model: 'org/other' }, as(KEY));
    const absent = await embed(url, { ...ask, model: 'org/absnt' }, as(KEY));
    expect([refused.status, refused.body.error.code]).toEqual([404, 'model_not_found']);
    expect(refused.text.replaceAll('org/other', '')).toBe(absent.text.replaceAll('org/absnt', ''));
    expect(refused.text).toContain('`alias`');
    const models = (await (await fetch(`${url}/v1/models`, as(KEY))).json()) as { data: { id: string }[] };
    expect(models.data.map(({ id }) => id)).toEqual(['org/model', 'alias']);
    expect((await fetch(`${url}/v1/models/org/other`, as(KEY))).status).toBe(404);
    // Nor another resource of the same Hugging Face id.
    await cluster.model('private', { spec: { model: 'org/model', servedNames: ['team-b'] } });
    await eventually(async () =>
      (await (await fetch(`${cluster.router.internalUrl}/metrics`)).text()).includes('ns/private'),
    );
    expect((await embed(url, { ...ask, model: 'team-b' }, as(KEY))).status).toBe(404);
    // Without the Secret nobody is let in.
    await cluster.client.delete(SECRETS, { namespace: 'ns', name: 'keys' });
    await eventually(async () => (await embed(url, ask, as(KEY))).status === 401);
  });

  it('are asked for on every route that is not said to be for anybody', async () => {
    const file = keyFile(list({ name: 'a', sha256: sha256(KEY), models: ['org/other'] }));
    const { url } = await boot({
      KUBEMBED_API_KEYS_FILE: file,
      KUBEMBED_STATUS_PAGE: 'true',
      KUBEMBED_CORS_ORIGINS: 'https://app.example.com',
    });
    await eventually(async () => (await fetch(`${url}/v1/models`, as(KEY))).status === 200);
    const table = routesOfDocs();
    expect(Object.keys(table).length).toBeGreaterThan(15);
    for (const [route, who] of Object.entries(table)) {
      const [method = '', pattern = ''] = route.split(' ');
      const path = pattern.replace('{model}', 'org/model');
      const { status } = await fetch(url + path, { method });
      expect([route, status === 401 ? 'a key' : status === 404 ? 'nobody' : 'anybody']).toEqual([route, who]);
    }
    // What a key may not see counts for nothing either.
    await embed(url, ask, as(KEY));
    const seen = (await (await fetch(`${url}/status.json`, as(KEY))).json()) as {
      models: { name: string }[];
      totals: object;
    };
    expect(seen.models.map(({ name }) => name)).toEqual(['other']);
    expect(seen.totals).toMatchObject({ requests: 0 });
    // A browser asks before it sends the key.
    const headers = { origin: 'https://app.example.com', 'access-control-request-method': 'POST' };
    const preflight = await fetch(`${url}/v1/embeddings`, { method: 'OPTIONS', headers });
    expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([204, headers.origin]);
    rmSync(file);
    await eventually(async () => (await fetch(`${url}/v1/models`, as(KEY))).status === 401);
  });

  it('hide from strangers what the metrics would tell, and let no way of writing the address past', async () => {
    const { cluster, url } = await boot({ KUBEMBED_API_KEYS_FILE: keyFile(list({ name: 'a', sha256: sha256(KEY) })) });
    expect((await fetch(`${url}/metrics`, as(KEY))).status).toBe(404);
    const page = await (await fetch(`${cluster.router.internalUrl}/metrics`)).text();
    expect(page).toContain('model="ns/model"');
    const raw = async (target: string): Promise<string> => {
      const socket = connect(Number(new URL(url).port), '127.0.0.1');
      socket.end(`GET ${target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
      return await text(socket);
    };
    for (const target of [
      '/v1/models',
      'http://x/v1/models',
      '/v1/models/',
      '/V1/Models/org/model',
      'http://x/V1/models',
    ]) {
      expect(await raw(target)).toMatch(/^HTTP\/1\.1 401 /);
    }
  });

  it('have limits per minute, told in headers', async () => {
    const limits = { requestsPerMinute: 3, tokensPerMinute: 1000 };
    const { url } = await boot({
      KUBEMBED_API_KEYS_FILE: keyFile(list({ name: 'a', sha256: sha256(KEY), ...limits })),
    });
    await eventually(async () => (await fetch(`${url}/v1/models`, as(KEY))).status === 200);
    for (const left of ['2', '1', '0']) {
      const reply = await embed(url, ask, as(KEY));
      expect(reply.status).toBe(200);
      expect(reply.headers.get('x-ratelimit-limit-requests')).toBe('3');
      expect(reply.headers.get('x-ratelimit-remaining-requests')).toBe(left);
      expect(Number(reply.headers.get('x-ratelimit-remaining-tokens'))).toBeLessThan(1000);
    }
    const refused = await embed(url, ask, as(KEY));
    expect([refused.status, refused.body.error.code]).toEqual([429, 'rate_limit_exceeded']);
    expect(refused.headers.get('x-ratelimit-reset-requests')).toMatch(/^\d+(m\d+)?s$/);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  });
});

describe('the response cache', () => {
  it('answers the same request from memory, byte for byte, and says so', async () => {
    const { url, stub } = await boot({ KUBEMBED_CACHE_MODELS: 'org/model' });
    const first = await embed(url, ask);
    const again = await embed(url, { ...ask, model: 'alias', user: 'someone' });
    expect([first.headers.get('x-kubembed-cache'), again.headers.get('x-kubembed-cache')]).toEqual(['miss', 'hit']);
    expect(again.text).toBe(first.text);
    expect(again.headers.get('x-kubembed-revision')).toBe('rev-1');
    for (const other of [
      { input: 'hello!' },
      { encoding_format: 'base64' },
      { dimensions: 4 },
      { input: ['hello', 'x'] },
    ]) {
      expect((await embed(url, { ...ask, ...other })).headers.get('x-kubembed-cache')).toBe('miss');
    }
    const bypass = await embed(url, ask, { headers: { 'cache-control': 'no-store' } });
    expect(bypass.headers.get('x-kubembed-cache')).toBeNull();
    expect(stub.seen).toHaveLength(6);
  });

  it('computes identical requests in flight once, unless the first one fails', async () => {
    const { url, stub } = await boot({ KUBEMBED_CACHE_MODELS: '*' });
    stub.latencyMs = 200;
    const replies = await Promise.all(Array.from({ length: 100 }, () => embed(url, ask)));
    expect(new Set(replies.map(({ text }) => text)).size).toBe(1);
    expect(stub.seen).toHaveLength(1);
    const leaving = new AbortController();
    const leader = embed(url, { ...ask, input: 'next' }, { signal: leaving.signal });
    await eventually(() => stub.seen.length === 2);
    const follower = embed(url, { ...ask, input: 'next' });
    leaving.abort();
    await expect(leader).rejects.toThrow();
    expect((await follower).status).toBe(200);
  });

  it('has no stale answers after the revision moves, and none without a known one', async () => {
    const { cluster, url, stub } = await boot({ KUBEMBED_CACHE_MODELS: '*' });
    await embed(url, ask);
    await cluster.model('model', { revision: 'rev-2' });
    await eventually(async () => {
      const shown = (await (await fetch(`${url}/v1/models/org/model`)).json()) as { revision: string };
      return shown.revision === 'rev-2';
    });
    // The pod still serves the old revision: what it says is not kept for the new one.
    for (const expected of ['miss', 'miss']) {
      expect((await embed(url, ask)).headers.get('x-kubembed-cache')).toBe(expected);
    }
    expect(stub.seen).toHaveLength(3);
  });
});
