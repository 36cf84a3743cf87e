// Local mode as a process, and who may come in: names, keys, origins and limits as in the cluster; and a list that is read while it is written.
import { createHash } from 'node:crypto';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, startLocalProcess } from '../helpers/local-process.ts';
import type { LocalProcess } from '../helpers/local-process.ts';

const MODELS = ['tiny/one', 'tiny/two', 'tiny/three'];
const LIST = `${MODELS.join('\n')}\n`;

const ask = (url: string, path: string, headers: Record<string, string> = {}): Promise<readonly [number, string]> =>
  new Promise((resolve, reject) => {
    const sent = request(url + path, { headers }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => resolve([response.statusCode ?? 0, text]));
    });
    sent.on('error', reject).end();
  });

describe('with keys, origins and limits', () => {
  let local: LocalProcess;
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kubembed-door-'));
    const file = join(dir, 'keys.yaml');
    const sha256 = createHash('sha256').update('sk-mine').digest('hex');
    await writeFile(
      file,
      JSON.stringify({ keys: [{ name: 'me', sha256, models: ['tiny/one'], requestsPerMinute: 1 }] }),
    );
    local = await startLocalProcess({
      supportedModels: LIST,
      env: {
        KUBEMBED_API_KEYS_FILE: file,
        KUBEMBED_CORS_ORIGINS: 'https://app.example.com',
        KUBEMBED_ALLOWED_HOSTS: 'box.lan',
        KUBEMBED_MAX_BODY_BYTES: '1000',
        HF_HUB_OFFLINE: '1',
      },
    });
  });
  afterAll(async () => {
    await local.stop();
    await rm(dir, { recursive: true });
  });
  const key = { authorization: 'Bearer sk-mine' };

  it('asks for the key, and shows what it opens', async () => {
    for (const path of ['/v1/models', '/models', '/status.json']) expect((await ask(local.url, path))[0]).toBe(401);
    expect((await ask(local.url, '/metrics'))[0]).toBe(404);
    expect((await ask(local.url, '/healthz'))[0]).toBe(200);
    await eventually(
      async () => JSON.parse((await ask(local.url, '/v1/models', key))[1]) as { data: { id: string }[] },
      ({ data }) => data.length === 1 && data[0]!.id === 'tiny/one',
    );
  });

  it.each([
    ['localhost', 200],
    ['127.0.0.1:80', 200],
    ['[::1]:11445', 200],
    ['box.lan', 200],
    ['evil.example', 403],
    ['127.0.0.1.evil.example', 403],
    ['localhost.evil.example', 403],
    ['evil.example:11445', 403],
  ])('called %j it answers %d, whatever is asked for', async (host, status) => {
    for (const path of ['/status.json', '/v1/models', '/', '/docs', '/healthz']) {
      const [got, text] = await ask(local.url, path, { ...key, host });
      expect([path, got]).toEqual([path, status]);
      if (status === 403) expect(JSON.parse(text)).toHaveProperty('error.message');
    }
  });

  it('gives leave to pages of the origin that was named, before the key is asked for', async () => {
    const preflight = async (origin: string) =>
      await fetch(`${local.url}/v1/embeddings`, {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
      });
    const allowed = await preflight('https://app.example.com');
    expect([allowed.status, allowed.headers.get('access-control-allow-origin')]).toEqual([
      204,
      'https://app.example.com',
    ]);
    expect((await preflight('https://evil.example')).headers.get('access-control-allow-origin')).toBeNull();
  });

  it('has limits', async () => {
    const post = async (input: string): Promise<number> => {
      const body = JSON.stringify({ model: 'tiny/one', input });
      const headers = { 'content-type': 'application/json', ...key };
      return (await fetch(`${local.url}/v1/embeddings`, { method: 'POST', headers, body })).status;
    };
    expect(await post('x'.repeat(2000))).toBe(413);
    // No weights can be had: the first is refused for that, and counts.
    const first = await post('a');
    expect([404, 503]).toContain(first);
    expect(await post('a')).toBe(429);
  });
});

describe('without keys', () => {
  let local: LocalProcess;
  beforeAll(async () => {
    local = await startLocalProcess({ supportedModels: LIST, env: { KUBEMBED_HOST: '0.0.0.0', HF_HUB_OFFLINE: '1' } });
  });
  afterAll(async () => {
    await local.stop();
  });

  it('says at its start, in one line, that others may come in', () => {
    const lines = local
      .output()
      .split('\n')
      .filter((line) => line.includes('no API keys are asked for'));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('0.0.0.0');
  });

  it('keeps its models while their list is being written', async () => {
    await eventually(local.listModels, (models) => models.length === MODELS.length);
    const over = new AbortController();
    const seen = new Set<number>();
    const looking = (async () => {
      while (!over.signal.aborted) {
        seen.add((await local.listModels()).length);
        await sleep(20);
      }
    })();
    for (let round = 0; round < 3; round++) {
      const file = await open(local.supportedModels, 'w');
      for (const model of MODELS) {
        await sleep(150);
        await file.write(`${model}\n`);
      }
      await file.close();
      await sleep(500);
    }
    over.abort();
    await looking;
    expect([...seen]).toEqual([MODELS.length]);
  });
});
