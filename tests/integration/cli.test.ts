// The `kubembed` command from the outside: against a running local mode, a hub and a store on disk.
import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli, startCli } from '../helpers/cli.ts';
import type { CliResult } from '../helpers/cli.ts';
import { startHubServer } from '../helpers/hub-server.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { eventually, startLocalProcess } from '../helpers/local-process.ts';
import type { LocalProcess } from '../helpers/local-process.ts';
import { tinyModel } from '../helpers/tiny-model.ts';

let hub: HubServer;
let store: string;
let local: LocalProcess;

beforeAll(async () => {
  hub = await startHubServer();
  const files = await tinyModel();
  const config = JSON.parse(files['config.json']!.toString()) as object;
  for (const id of ['tiny/one', 'tiny/two', 'tiny/three', 'tiny/gated']) hub.commit(id, files);
  const strange = { ...config, architectures: ['FunnelModel'], model_type: 'funnel' };
  hub.commit('tiny/strange', { ...files, 'config.json': Buffer.from(JSON.stringify(strange)) });
  hub.gate('tiny/gated');
  store = await mkdtemp(join(tmpdir(), 'kubembed-store-'));
  local = await startLocalProcess({
    supportedModels: '# mine\ntiny/one\ntiny/two\n',
    env: { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: store, KUBEMBED_LOG_LEVEL: 'warn' },
  });
});
afterAll(async () => {
  await local.stop();
  await hub.close();
  await rm(store, { recursive: true, force: true });
});

const kubembed = async (args: readonly string[], input?: string): Promise<CliResult> =>
  await runCli(args, {
    ...(input === undefined ? {} : { input }),
    env: {
      KUBEMBED_ENDPOINT: local.url,
      KUBEMBED_SUPPORTED_MODELS: local.supportedModels,
      HF_ENDPOINT: hub.endpoint,
      HF_HUB_CACHE: store,
    },
  });

interface View {
  readonly models: readonly {
    readonly model: string;
    readonly state: string;
    readonly ready: number;
    readonly conditions: readonly { readonly type: string }[];
    readonly load?: { readonly tokensPerSecond: number };
  }[];
}

async function viewOf(args: readonly string[]): Promise<View> {
  const { code, out, error } = await kubembed(args);
  expect(code, error).toBe(0);
  return JSON.parse(out) as View;
}

const vectors = (out: string): number[][] =>
  out
    .trim()
    .split('\n')
    .map((line) => line.split(' ').map(Number));

describe('kubembed embed', () => {
  it('turns arguments and lines into the vectors that the API gives', async () => {
    const response = await local.embed({ model: 'tiny/one', input: ['abc', 'de'] });
    const { data } = (await response.json()) as { data: { embedding: number[] }[] };
    const given = await kubembed(['embed', '-m', 'tiny/one', 'abc', 'de']);
    expect(given.error).toBe('');
    const [first, second] = vectors(given.out);
    for (const [at, vector] of [first!, second!].entries()) {
      expect(vector).toHaveLength(32);
      for (const [i, value] of vector.entries()) expect(value).toBeCloseTo(data[at]!.embedding[i]!, 6);
    }
    expect((await kubembed(['embed', '-m', 'tiny/one'], 'abc\nde\n')).out).toBe(given.out);
  });

  it('writes JSON lines, and shorter vectors on demand', async () => {
    const { out } = await kubembed(['embed', '-m', 'tiny/one', '--json', '--dimensions', '8', 'abc']);
    const line = JSON.parse(out) as { text: string; embedding: number[] };
    expect(line.text).toBe('abc');
    expect(line.embedding).toHaveLength(8);
    expect(Math.hypot(...line.embedding)).toBeCloseTo(1, 5);
  });

  it('says what is wrong', async () => {
    expect(await kubembed(['embed', 'abc'])).toMatchObject({
      code: 1,
      error: expect.stringMatching(/Say which model with --model.*tiny\/one, tiny\/two/) as string,
    });
    expect(await kubembed(['embed', '-m', 'tiny/one'])).toMatchObject({
      code: 1,
      error: expect.stringContaining('Nothing to embed') as string,
    });
    const gone = await kubembed(['embed', '-m', 'nope', 'abc', '--json']);
    expect(gone.code).toBe(1);
    expect((JSON.parse(gone.error) as { error: { message: string } }).error.message).toMatch(/404.*nope/);
    const silent = await kubembed(['status', '--endpoint', 'http://127.0.0.1:1']);
    expect(silent).toMatchObject({ code: 1, error: expect.stringContaining('kubembed start') as string });
  });
});

describe('kubembed status', () => {
  it('shows states, replicas and rates', async () => {
    await kubembed(['embed', '-m', 'tiny/one', 'abc']);
    const view = await viewOf(['status', '--json']);
    expect(view.models).toMatchObject([
      { model: 'tiny/one', state: 'ready', ready: 1 },
      { model: 'tiny/two', state: 'asleep', ready: 0 },
    ]);
    expect(view.models[0]!.load!.tokensPerSecond).toBeGreaterThan(0);
    const { out } = await kubembed(['status']);
    expect(out).toMatch(/^MODEL +STATE +REPLICAS +REQ\/S/);
    expect(out).toMatch(/^tiny\/one +ready +1\/1 /m);
    expect(out).not.toContain('\u001B');
    expect((await runCli(['status', '--endpoint', local.url], { env: { FORCE_COLOR: '1' } })).out).toContain(
      '\u001B[32mready',
    );
  });

  it('shows the conditions of a named model, and knows what a mistyped name meant', async () => {
    const { out } = await kubembed(['status', 'tiny/one']);
    for (const type of ['Accepted', 'Fetched', 'Available', 'Ready'])
      expect(out).toMatch(new RegExp(`^${type} +True`, 'm'));
    expect(await kubembed(['status', 'tiny/on'])).toMatchObject({
      code: 1,
      error: expect.stringContaining('Did you mean tiny/one?') as string,
    });
  });

  it('watches: a line each time, until it is interrupted', async () => {
    const watching = startCli(['status', '--watch', '--interval', '1', '--json', '--endpoint', local.url]);
    await eventually(
      () => Promise.resolve(watching.out().split('\n').length),
      (lines) => lines > 2,
    );
    watching.process.kill('SIGINT');
    const { code, out } = await watching.done;
    expect(code).toBe(0);
    for (const line of out.trim().split('\n')) expect((JSON.parse(line) as View).models).toHaveLength(2);
  });
});

describe('kubembed models', () => {
  it('edits the list, and local mode follows', async () => {
    expect((await kubembed(['models', 'add', 'tiny/three', 'alias=third', '--json'])).code).toBe(0);
    await eventually(local.listModels, (ids) => ids.includes('third'));
    expect((await kubembed(['models', 'list'])).out).toBe('tiny/one\ntiny/two\ntiny/three\n');
    expect(JSON.parse((await kubembed(['models', '--json'])).out)).toEqual(['tiny/one', 'tiny/two', 'tiny/three']);
    expect((await kubembed(['models', 'remove', 'tiny/three'])).code).toBe(0);
    await eventually(local.listModels, (ids) => !ids.includes('third'));
    expect(await readFile(local.supportedModels, 'utf8')).toBe('# mine\ntiny/one\ntiny/two\n');
    expect((await kubembed(['models', 'remove', 'tiny/thre'])).code).toBe(1);
    await appendFile(local.supportedModels, 'not a model\n');
    const wrong = await kubembed(['models', 'list']);
    expect(wrong).toMatchObject({ code: 1, error: expect.stringMatching(/:4: /) as string });
    await writeFile(local.supportedModels, '# mine\ntiny/one\ntiny/two\n');
  });

  it('checks on the hub what a model takes, without its weights', async () => {
    hub.requests.length = 0;
    const { code, out, error } = await kubembed(['models', 'check', 'tiny/two', '--cpus', '2', '--json']);
    expect(code, error).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      servable: true,
      source: 'hub',
      architecture: 'BertModel',
      dimensions: 32,
      maxTokens: 128,
      pooling: { used: 'mean', declared: 'mean' },
      weights: { format: 'safetensors', dtypes: ['F32'] },
      memory: { cpus: 2 },
      warnings: [],
      listed: true,
    });
    const whole = hub.requests.filter(
      ({ method, path, range }) => method === 'GET' && path.includes('safetensors') && range === undefined,
    );
    expect(whole).toEqual([]);
    expect((await kubembed(['models', 'check', 'tiny/two'])).out).toMatch(
      /✔ tiny\/two can be served[^]*pooling +mean \(declared: mean\)/,
    );
  });

  it.each([
    ['tiny/gated', 'GatedRepository', 'accept the licence'],
    ['tiny/strange', 'UnsupportedArchitecture', 'FunnelModel'],
    ['tiny/nowhere', 'RepositoryNotFound', 'check the spelling'],
    ['../etc', 'InvalidModelId', 'no Hugging Face model id'],
  ])('tells why %s cannot be served: %s', async (id, reason, advice) => {
    const { code, out } = await kubembed(['models', 'check', id]);
    expect(code).toBe(1);
    expect(out).toContain(`✘ ${id} cannot be served: ${reason}`);
    expect(out).toContain(advice);
    expect(JSON.parse((await kubembed(['models', 'check', id, '--json'])).out)).toMatchObject({
      servable: false,
      reason,
    });
  });

  it('checks in the store when the hub is away', async () => {
    const env = { HF_ENDPOINT: 'http://127.0.0.1:1', HF_HUB_CACHE: store };
    const { code, out, error } = await runCli(['models', 'check', 'tiny/one', '--json'], { env });
    expect(code, error).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ servable: true, source: 'store', dimensions: 32 });
    expect((await runCli(['models', 'check', 'tiny/two', '--offline'], { env })).out).toContain('HubUnreachable');
  });

  it('verifies the store, finds a flipped bit, and drops it', async () => {
    expect(await kubembed(['models', 'verify', 'tiny/one'])).toMatchObject({ code: 0 });
    const blobs = join(store, 'models--tiny--one', 'blobs');
    const [blob] = (await readdir(blobs)).filter((name) => name.length === 64);
    const bytes = await readFile(join(blobs, blob!));
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(join(blobs, blob!), bytes);
    const found = await kubembed(['models', 'verify', '--json']);
    expect(found.code).toBe(1);
    const verdicts = found.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { state: string; name: string });
    expect(verdicts.filter(({ state }) => state === 'damaged')).toMatchObject([{ name: 'model.safetensors' }]);
    expect((await kubembed(['models', 'verify', '--repair'])).error).toContain('Deleted');
    expect(await readdir(blobs)).not.toContain(blob);
    expect(await kubembed(['models', 'verify', 'tiny/nowhere'])).toMatchObject({ code: 1 });
  });
});

describe('kubembed bench', () => {
  it('loads an endpoint and reports rates and percentiles', async () => {
    const { code, out, error } = await kubembed(['bench', '-m', 'tiny/two', '--seconds', '1', '-c', '2', '--json']);
    expect(code, error).toBe(0);
    const summary = JSON.parse(out) as {
      requests: number;
      tokensPerSecond: number;
      latencyMs: { p50: number; p99: number };
    };
    expect(summary.requests).toBeGreaterThan(0);
    expect(summary.tokensPerSecond).toBeGreaterThan(0);
    expect(summary.latencyMs.p99).toBeGreaterThanOrEqual(summary.latencyMs.p50);
  });
});
