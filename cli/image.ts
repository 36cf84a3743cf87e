// A model of the store as an OCI image in a tar file: what lies below the root of the image is a store with that one model.
// The same weights give the same bytes, hence the same digest. No weight is held in memory.
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pack } from 'tar-stream';
import type { Pack } from 'tar-stream';
import { storePaths } from '../hub/paths.ts';
import { listSnapshot } from '../hub/store.ts';

const LAYER = 'application/vnd.oci.image.layer.v1.tar';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

/** A file of this size or more has a layer of its own: a registry has it once, whatever else changes. */
const OWN_LAYER_BYTES = 16 * 1024 * 1024;

/** A file in a tar: from memory, or from the disk. */
interface TarFile {
  readonly name: string;
  readonly size: number;
  readonly open: () => Readable;
}

const ofBytes = (name: string, bytes: Buffer): TarFile => ({
  name,
  size: bytes.length,
  open: () => Readable.from([bytes]),
});
const ofDisk = async (name: string, file: string): Promise<TarFile> => ({
  name,
  size: (await stat(file)).size,
  open: () => createReadStream(file),
});

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

interface Blob {
  readonly descriptor: Descriptor;
  readonly open: () => Readable;
}

const FILE = { mode: 0o644, uid: 0, gid: 0, mtime: new Date(0) };
const FOLDER = { ...FILE, mode: 0o755, type: 'directory' } as const;

/** Every folder above these files, each before what is in it. */
const foldersOf = (files: readonly TarFile[]): readonly string[] => {
  const all = files.flatMap(({ name }) => {
    const parts = name.split('/').slice(0, -1);
    return parts.map((_, index) => `${parts.slice(0, index + 1).join('/')}/`);
  });
  return [...new Set(all)].toSorted();
};

async function fill(tar: Pack, files: readonly TarFile[]): Promise<void> {
  for (const name of foldersOf(files)) tar.entry({ ...FOLDER, name });
  for (const { name, size, open } of files) await pipeline(open(), tar.entry({ ...FILE, name, size }));
  tar.finalize();
}

/** Errors reach who reads. */
function tarOf(files: readonly TarFile[]): Readable {
  const tar = pack();
  fill(tar, files).catch((error: unknown) => tar.destroy(error as Error));
  return Readable.from(tar);
}

const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** Read twice: a digest stands before what it is of. */
async function layerOf(files: readonly TarFile[], signal: AbortSignal): Promise<Blob> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of tarOf(files) as AsyncIterable<Buffer>) {
    signal.throwIfAborted();
    hash.update(chunk);
    size += chunk.length;
  }
  return {
    descriptor: { mediaType: LAYER, digest: `sha256:${hash.digest('hex')}`, size },
    open: () => tarOf(files),
  };
}

function jsonBlob(mediaType: string, value: object): Blob {
  const bytes = Buffer.from(JSON.stringify(value));
  return {
    descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length },
    open: () => Readable.from([bytes]),
  };
}

/** The files of a store that has this snapshot alone, whole and without links. */
async function storeFiles(store: string, asked: PackedModel): Promise<readonly TarFile[]> {
  const { commit } = asked;
  const { folder, snapshots, complete } = storePaths(store, asked.modelId);
  const root = path.basename(folder);
  const names = await listSnapshot(path.join(snapshots, commit));
  const files = names
    .toSorted()
    .map(async (name) => await ofDisk(`${root}/snapshots/${commit}/${name}`, path.join(snapshots, commit, name)));
  const record = await readFile(path.join(complete, commit)).catch(() => undefined);
  return [
    ...(await Promise.all(files)),
    ofBytes(`${root}/refs/${asked.revision}`, Buffer.from(commit)),
    ...(record === undefined ? [] : [ofBytes(`${root}/.kubembed/${commit}`, record)]),
  ];
}

/** Those that registries keep once, and all others in one. */
const inLayers = (files: readonly TarFile[]): readonly (readonly TarFile[])[] => {
  const small = files.filter(({ size }) => size < OWN_LAYER_BYTES);
  return [small, ...files.filter(({ size }) => size >= OWN_LAYER_BYTES).map((file) => [file])];
};

export interface PackedModel {
  readonly modelId: string;
  /** Branch, tag or commit, as an EmbeddingModel will ask for it. */
  readonly revision: string;
  /** What that is in the store, all of which was found there: the branch may have moved on since. */
  readonly commit: string;
}

export interface PackedImage {
  /** Of the manifest: what a reference ends with, `@sha256:…`. */
  readonly digest: string;
  readonly bytes: number;
}

/** Writes the image layout that `skopeo`, `crane`, `ctr` and `podman` read. */
export async function packImage(
  store: string,
  asked: PackedModel,
  output: string,
  signal: AbortSignal,
): Promise<PackedImage> {
  const files = await storeFiles(store, asked);
  const layers: Blob[] = [];
  for (const layer of inLayers(files)) layers.push(await layerOf(layer, signal));
  const config = jsonBlob(CONFIG, {
    // Nothing in it runs: one image is that of every platform.
    architecture: 'amd64',
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: layers.map(({ descriptor }) => descriptor.digest) },
  });
  const manifest = jsonBlob(MANIFEST, {
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: config.descriptor,
    layers: layers.map(({ descriptor }) => descriptor),
    annotations: { 'org.opencontainers.image.title': asked.modelId, 'org.opencontainers.image.revision': asked.commit },
  });
  const tag = { 'org.opencontainers.image.ref.name': 'latest' };
  const blobs = [...layers, config, manifest].map(({ descriptor: { digest, size }, open }): TarFile => ({
    name: `blobs/${digest.replace(':', '/')}`,
    size,
    open,
  }));
  const index = { schemaVersion: 2, mediaType: INDEX, manifests: [{ ...manifest.descriptor, annotations: tag }] };
  const layout = [
    ofBytes('oci-layout', Buffer.from(JSON.stringify({ imageLayoutVersion: '1.0.0' }))),
    ofBytes('index.json', Buffer.from(JSON.stringify(index))),
    // Two layers may be one.
    ...new Map(blobs.map((blob) => [blob.name, blob])).values(),
  ];
  const partial = `${output}.part`;
  try {
    await pipeline(tarOf(layout), createWriteStream(partial), { signal });
    await rename(partial, output);
  } finally {
    await rm(partial, { force: true });
  }
  const bytes = blobs.reduce((sum, { size }) => sum + size, 0);
  return { digest: manifest.descriptor.digest, bytes };
}
