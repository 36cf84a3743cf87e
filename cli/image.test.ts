import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { extract } from 'tar-stream';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { chooseWeights } from '../runtime/model/snapshot.ts';
import { openSnapshot, resolveStoredRevision } from '../hub/store.ts';
import { storePaths } from '../hub/paths.ts';
import { cacheTwin, readTwin } from '../tests/helpers/twins.ts';
import { packImage } from './image.ts';

const ASKED = { modelId: 'twins/bert-mean', revision: 'main' };
const signal = new AbortController().signal;

let folder: string;
let store: string;
let commit: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'kubembed-image-'));
  store = path.join(folder, 'store');
  await mkdir(store);
  await cacheTwin(readTwin('bert-mean'), store);
  commit = (await resolveStoredRevision(storePaths(store, ASKED.modelId), 'main'))!;
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

async function filesIn(tar: Readable): Promise<ReadonlyMap<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const entries = extract();
  tar.pipe(entries);
  for await (const entry of entries) {
    const bytes = await buffer(entry);
    if (entry.header.type === 'file') files.set(entry.header.name, bytes);
  }
  return files;
}

const json = (bytes: Buffer | undefined): Record<string, never> => JSON.parse(String(bytes)) as Record<string, never>;

async function unpack(layer: Buffer, into: string): Promise<void> {
  for (const [name, bytes] of await filesIn(Readable.from([layer]))) {
    await mkdir(path.dirname(path.join(into, name)), { recursive: true });
    await writeFile(path.join(into, name), bytes);
  }
}

/** As the runtime finds them. */
async function weightsIn(root: string): Promise<object> {
  const files = (await openSnapshot(root, ASKED.modelId, 'main', chooseWeights))!;
  const weights = [...files.weights].map(async ([name, file]) => [name, await readFile(file)] as const);
  return { commit: files.revision, weights: await Promise.all(weights) };
}

it('is a layout in which every blob is what its name says, and whose layers are a store with the model', async () => {
  const output = path.join(folder, 'model.tar');
  const packed = await packImage(store, { ...ASKED, commit }, output, signal);
  const layout = await filesIn(createReadStream(output));
  for (const [name, bytes] of layout)
    if (name.startsWith('blobs/'))
      expect(name).toBe(`blobs/sha256/${createHash('sha256').update(bytes).digest('hex')}`);
  expect(json(layout.get('oci-layout'))).toEqual({ imageLayoutVersion: '1.0.0' });
  const [{ digest }] = json(layout.get('index.json'))['manifests'] as unknown as [{ digest: string }];
  expect(digest).toBe(packed.digest);
  const blob = (named: string): Buffer | undefined => layout.get(`blobs/${named.replace(':', '/')}`);
  const manifest = json(blob(digest)) as unknown as {
    config: { digest: string };
    layers: { digest: string; size: number }[];
  };
  const { rootfs } = json(blob(manifest.config.digest)) as unknown as { rootfs: { diff_ids: string[] } };
  expect(rootfs.diff_ids).toEqual(manifest.layers.map((layer) => layer.digest));

  const unpacked = path.join(folder, 'unpacked');
  for (const layer of manifest.layers) {
    expect(blob(layer.digest)).toHaveLength(layer.size);
    await unpack(blob(layer.digest)!, unpacked);
  }
  expect(await weightsIn(unpacked)).toEqual(await weightsIn(store));
});

it('has the same digest each time, and another one for another revision', async () => {
  const digestOf = async (revision: string): Promise<string> =>
    (await packImage(store, { ...ASKED, revision, commit }, path.join(folder, 'again.tar'), signal)).digest;
  expect(await digestOf('main')).toBe(await digestOf('main'));
  expect(await digestOf(commit)).not.toBe(await digestOf('main'));
});

it('has the commit that was looked at, though the branch has moved on since', async () => {
  const asked = { ...ASKED, commit };
  const before = await packImage(store, asked, path.join(folder, 'before.tar'), signal);
  const ref = path.join(storePaths(store, ASKED.modelId).folder, 'refs', 'main');
  await writeFile(ref, '0'.repeat(40));
  expect(await packImage(store, asked, path.join(folder, 'after.tar'), signal)).toEqual(before);
  await writeFile(ref, commit);
});

it('leaves nothing behind where it is stopped', async () => {
  const output = path.join(folder, 'none', 'model.tar');
  await mkdir(path.dirname(output));
  await expect(packImage(store, { ...ASKED, commit }, output, AbortSignal.abort())).rejects.toThrow();
  expect(await readdir(path.dirname(output))).toEqual([]);
});
