// Fetching from a hub-shaped server: every refusal has its reason, every fault is outlived or refused, nothing wrong is ever visible.
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isModelError } from '../../hub/files.ts';
import type { ModelError } from '../../hub/files.ts';
import { fetchSnapshot } from '../../hub/fetch.ts';
import type { FetchOptions, FetchEvent } from '../../hub/fetch.ts';
import { openSnapshot } from '../../hub/store.ts';
import { startHubServer } from '../helpers/hub-server.ts';
import type { Content, HubServer } from '../helpers/hub-server.ts';

const MODEL = 'acme/tiny-embedder';
const WEIGHTS = randomBytes(600_000);
// Faults at the CDN aim at the big file, not at whichever comes first.
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const BLOB = sha256(WEIGHTS);
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

const repository = (weights: Buffer = WEIGHTS): Record<string, Content> => ({
  'README.md': Buffer.from('# a model'),
  'config.json': json({ architectures: ['BertModel'], hidden_size: 8 }),
  'tokenizer.json': json({ model: { type: 'WordPiece' } }),
  'tokenizer_config.json': json({}),
  'modules.json': json([{ path: '' }, { path: '1_Pooling' }, { path: '2_Dense' }]),
  'sentence_bert_config.json': json({ max_seq_length: 256 }),
  '1_Pooling/config.json': json({ pooling_mode_mean_tokens: true }),
  '2_Dense/config.json': json({ in_features: 8 }),
  '2_Dense/model.safetensors': Buffer.from('dense'),
  'model.safetensors': weights,
  'pytorch_model.bin': Buffer.from('another copy'),
  'tf_model.h5': Buffer.from('another copy'),
  'onnx/model.onnx': Buffer.from('another copy'),
  'onnx/model_O4.onnx': Buffer.from('another copy'),
  'openvino/openvino_model.bin': Buffer.from('another copy'),
});

const without = (...names: readonly string[]): Record<string, Content> =>
  Object.fromEntries(Object.entries(repository()).filter(([name]) => !names.includes(name)));

let hub: HubServer;
let store: string;
let events: FetchEvent[];

const options = (more: Partial<FetchOptions> = {}): FetchOptions => ({
  modelId: MODEL,
  store,
  endpoint: hub.endpoint,
  timeouts: { connectMs: 1000, headersMs: 600, stallMs: 600, maxBackoffMs: 20, attempts: 3 },
  onEvent: (event) => events.push(event),
  ...more,
});

const failure = async (more: Partial<FetchOptions> = {}): Promise<ModelError> => {
  const error: unknown = await fetchSnapshot(options(more)).then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  if (!isModelError(error)) throw error;
  return error;
};

/** SHA-256 of what a runtime would load. */
const weightsServed = async (more: Partial<FetchOptions> = {}): Promise<string> => {
  const files = await fetchSnapshot(options(more));
  return sha256(await readFile(files.weights.get('model.safetensors') ?? ''));
};

const fetchesOf = (name: string) => hub.requests.filter((seen) => seen.method === 'GET' && seen.path.includes(name));

beforeEach(async () => {
  hub = await startHubServer({ token: 'hf_right' });
  store = await mkdtemp(path.join(tmpdir(), 'kubembed-store-'));
  events = [];
});
afterEach(async () => {
  await hub.close();
  await rm(store, { recursive: true, force: true });
});

describe('a good fetch', () => {
  test('fetches the files needed and no other copy of the weights', async () => {
    const sha = hub.commit(MODEL, repository());
    const files = await fetchSnapshot(options());
    expect(files.revision).toBe(sha);
    const names = await readdir(files.snapshotDir, { recursive: true });
    expect(names.filter((name) => name.includes('.')).sort()).toEqual([
      '1_Pooling/config.json',
      '2_Dense/config.json',
      '2_Dense/model.safetensors',
      'config.json',
      'model.safetensors',
      'modules.json',
      'sentence_bert_config.json',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    expect(sha256(await readFile(files.weights.get('model.safetensors') ?? ''))).toBe(BLOB);
    expect(files.onnxModel).toBeUndefined();
  });

  test('the second time asks the hub nothing', async () => {
    hub.commit(MODEL, repository());
    const first = await fetchSnapshot(options());
    hub.requests.length = 0;
    expect(await fetchSnapshot(options())).toEqual(first);
    expect(hub.requests).toEqual([]);
  });

  test('reports progress up to the last byte', async () => {
    hub.commit(MODEL, repository());
    await fetchSnapshot(options());
    const last = events.findLast((event) => event.kind === 'progress');
    expect(last?.bytes).toBe(last?.total);
    expect(last?.total).toBeGreaterThan(WEIGHTS.length);
  });

  test('a moved main is not followed once it was resolved; a pinned commit wins over both', async () => {
    const old = hub.commit(MODEL, repository());
    await fetchSnapshot(options());
    const moved = hub.commit(MODEL, repository(randomBytes(1000)));
    expect((await fetchSnapshot(options())).revision).toBe(old);
    expect((await fetchSnapshot(options({ resolvedRevision: moved }))).revision).toBe(moved);
    expect((await openSnapshot(store, MODEL, 'main'))?.revision).toBe(old);
  });

  test('main may move during the fetch: every file is of the commit resolved first', async () => {
    const old = hub.commit(MODEL, repository());
    const onEvent = (event: FetchEvent): void => {
      if (event.kind === 'source') hub.commit(MODEL, repository(randomBytes(1000)));
    };
    expect(await weightsServed({ onEvent })).toBe(BLOB);
    expect((await openSnapshot(store, MODEL, 'main'))?.revision).toBe(old);
  });

  test('a listing without sizes and hashes is completed by HEAD requests', async () => {
    await hub.close();
    hub = await startHubServer({ bareListing: true });
    hub.commit(MODEL, repository());
    expect(await weightsServed()).toBe(BLOB);
    expect(hub.requests.some((seen) => seen.method === 'HEAD')).toBe(true);
  });

  test('sharded weights', async () => {
    const rest = without('model.safetensors');
    const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
    hub.commit(MODEL, {
      ...rest,
      'model.safetensors.index.json': json({ weight_map: { a: shards[0], b: shards[1] } }),
      [shards[0]!]: randomBytes(2000),
      [shards[1]!]: randomBytes(3000),
    });
    expect([...(await fetchSnapshot(options())).weights.keys()]).toEqual([...shards, '2_Dense/model.safetensors']);
  });

  test("the repository's own graph only where it is chosen, with its data beside it", async () => {
    const graph = await readFile(
      path.join(import.meta.dirname, '../fixtures/twins/onnx-external-data/onnx/model.onnx'),
    );
    const onnx = { 'onnx/model.onnx': graph, 'onnx/model.onnx_data': Buffer.from('data') };
    hub.commit(MODEL, { ...repository(), ...onnx, 'onnx/model_int8.onnx_data': Buffer.from('other data') });
    const files = await fetchSnapshot(options({ chooseWeights: () => 'onnx' }));
    expect([...files.weights.keys()]).toEqual(['2_Dense/model.safetensors']);
    expect(await readFile(files.onnxModel ?? '')).toEqual(graph);
    expect(await readdir(path.join(files.snapshotDir, 'onnx'))).toEqual(['model.onnx', 'model.onnx_data']);
    expect([...(files.onnxData?.keys() ?? [])]).toEqual(['model.onnx_data']);
    expect(fetchesOf('/model.safetensors').filter((seen) => !seen.path.includes('Dense'))).toEqual([]);
  });

  test('what chooseWeights refuses is refused before any weight is fetched', async () => {
    hub.commit(MODEL, repository());
    const refused = fetchSnapshot(
      options({
        chooseWeights: () => {
          throw new Error('no builder for it');
        },
      }),
    );
    await expect(refused).rejects.toThrow('no builder for it');
    expect(hub.requests.filter((seen) => seen.origin === 'cdn')).toEqual([]);
  });

  test('the token goes to the hub and never to the CDN', async () => {
    hub.commit(MODEL, repository());
    hub.gate(MODEL);
    expect(await weightsServed({ token: 'hf_right' })).toBe(BLOB);
    const seen = (origin: string) =>
      new Set(hub.requests.filter((r) => r.origin === origin).map((r) => r.authorization));
    expect(seen('hub')).toEqual(new Set(['Bearer hf_right']));
    expect(seen('cdn')).toEqual(new Set([undefined]));
  });
});

describe('refusals', () => {
  test('an unknown repository', async () => {
    const error = await failure();
    expect(error.reason).toBe('RepositoryNotFound');
    expect(error.message).toContain(MODEL);
  });

  test.each([
    ['without a token', undefined, '401'],
    ['with a token that has no access', 'hf_wrong', '403'],
  ])('a gated repository %s', async (_case, token, status) => {
    hub.commit(MODEL, repository());
    hub.gate(MODEL);
    const error = await failure(token === undefined ? {} : { token });
    expect(error.reason).toBe('GatedRepository');
    expect(error.message).toContain(status);
    expect(error.message).toContain(`accept the licence at ${hub.endpoint}/${MODEL}`);
    expect(error.message).not.toContain('hf_wrong');
  });

  test('an unknown revision', async () => {
    hub.commit(MODEL, repository());
    expect((await failure({ revision: 'v9' })).reason).toBe('RevisionNotFound');
  });

  test('a bare 404 for the revision of a repository that exists', async () => {
    hub.commit(MODEL, repository());
    hub.faults = [{ match: '/revision/', status: 404 }];
    expect((await failure()).reason).toBe('RevisionNotFound');
  });

  test('weights of no usable format', async () => {
    hub.commit(MODEL, without('model.safetensors', 'onnx/model.onnx', 'pytorch_model.bin'));
    expect((await failure()).reason).toBe('UnsupportedFiles');
  });

  test('no hub at all', async () => {
    const error = await failure({ endpoint: 'http://127.0.0.1:9' });
    expect(error.reason).toBe('HubUnreachable');
    expect(error.message).toContain('127.0.0.1:9');
  });

  test('offline, the hub is not asked', async () => {
    hub.commit(MODEL, repository());
    expect((await failure({ offline: true })).reason).toBe('HubUnreachable');
    expect(hub.requests).toEqual([]);
  });

  test('a store that cannot be written', async () => {
    hub.commit(MODEL, repository());
    const file = path.join(store, 'file');
    await writeFile(file, '');
    expect((await failure({ store: path.join(file, 'store') })).reason).toBe('StoreNotWritable');
  });

  test('stopped by its signal', async () => {
    hub.commit(MODEL, repository());
    hub.faults = [{ origin: 'cdn', stallAfterBytes: 100_000 }];
    const stop = new AbortController();
    const onEvent = (event: FetchEvent): void => {
      if (event.kind === 'progress' && event.fileBytes >= 100_000) stop.abort();
    };
    const error = await failure({ signal: stop.signal, onEvent, timeouts: { stallMs: 60_000 } });
    expect(error.reason).toBe('Aborted');
  });
});

describe('faults that pass', () => {
  test.each([
    ['cut connections', [{ match: BLOB, cutAfterBytes: 150_000, times: 3 }]],
    ['a stall', [{ match: BLOB, stallAfterBytes: 200_000, times: 1 }]],
    ['a slow start', [{ match: BLOB, slowStartMs: 5_000, times: 1 }]],
    ['a slow listing', [{ match: '/api/models/', slowStartMs: 5_000, times: 1 }]],
    ['503 with Retry-After', [{ status: 503, headers: { 'retry-after': '0' }, times: 2 }]],
    ['429', [{ match: '/resolve/', status: 429, times: 2 }]],
    ['an expired address at the CDN', [{ match: BLOB, status: 403, times: 1 }]],
    ['one answer with a wrong byte', [{ match: BLOB, flip: true, times: 1 }]],
    ['one answer that is too short', [{ match: BLOB, extraBytes: -1000, times: 1 }]],
    ['one answer that is too long', [{ match: BLOB, extraBytes: 1000, times: 1 }]],
  ] as const)('%s', async (_case, faults) => {
    hub.commit(MODEL, repository());
    hub.faults = faults.map((fault) => ({ ...fault }));
    expect(await weightsServed()).toBe(BLOB);
    expect(events.some((event) => event.kind === 'retry')).toBe(true);
  });

  test('a cut download goes on where it stopped', async () => {
    hub.commit(MODEL, repository());
    hub.faults = [{ match: BLOB, cutAfterBytes: 300_000, times: 1 }];
    expect(await weightsServed()).toBe(BLOB);
    const ranges = fetchesOf(BLOB).map((seen) => seen.range);
    const offset = Number(/\d+/.exec(ranges.find((range) => range !== undefined) ?? '')?.[0]);
    expect(offset).toBeGreaterThan(0);
    expect(offset).toBeLessThanOrEqual(300_000);
  });

  test('a server that ignores ranges gives the file from its start', async () => {
    hub.commit(MODEL, repository());
    hub.faults = [
      { match: BLOB, cutAfterBytes: 300_000, times: 1 },
      { match: BLOB, ignoreRange: true },
    ];
    expect(await weightsServed()).toBe(BLOB);
  });
});

describe('faults that stay are refused, and nothing of them can be served', () => {
  test.each([
    ['a wrong hash', { match: BLOB, flip: true }, 'CorruptWeights'],
    ['too long', { match: BLOB, extraBytes: 1000 }, 'CorruptWeights'],
    ['too short', { match: BLOB, extraBytes: -1000 }, 'CorruptWeights'],
    ['503', { match: BLOB, status: 503 }, 'HubUnreachable'],
    ['a stall at the same byte', { match: BLOB, stallAfterBytes: 0 }, 'HubUnreachable'],
    ['something else than a hub', { match: '/api/', status: 200 }, 'HubUnreachable'],
  ] as const)('%s', async (_case, fault, reason) => {
    hub.commit(MODEL, repository());
    hub.faults = [{ ...fault }];
    const error = await failure();
    expect(error.reason).toBe(reason);
    expect(error.message).toContain(MODEL);
    expect(await openSnapshot(store, MODEL, 'main')).toBeUndefined();
    hub.faults = [];
    expect(await weightsServed()).toBe(BLOB);
  });
});
