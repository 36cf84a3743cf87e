// Where a snapshot can be fetched from, and the hub as such a source: files that go on where they stopped and are proven.
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { TransientError, describeFailure, discardBody, refuseTransient } from './client.ts';
import type { HubClient, HubResponse, RetryPolicy } from './client.ts';
import { ModelError, parseJson } from './files.ts';
import type { ChooseWeights, RepositoryFile } from './files.ts';
import { describeFile, filePath, listRevision, persistently, refusal } from './listing.ts';
import type { HubRepository, Listing } from './listing.ts';
import { readOnnxFacts } from './onnx-data.ts';
import type { ModelRevision } from './paths.ts';
import { planSnapshot } from './plan.ts';
import type { RepositoryView } from './plan.ts';

export interface WeightSource {
  /** The commit that the revision names there; undefined where this source does not have it. Rejects with a ModelError. */
  open(wanted: ModelRevision): Promise<RemoteSnapshot | undefined>;
}

export interface RemoteSnapshot {
  readonly sha: string;
  /** For people: where it comes from. */
  readonly origin: string;
  /** Which files the snapshot shall have. */
  listFiles(staging: Staging): Promise<readonly RepositoryFile[]>;
  /** Leaves the whole, proven file at `partial`, going on with what lies there. */
  download(file: RepositoryFile, partial: string, watch: DownloadWatch): Promise<void>;
}

/** What the store lends a source that must look before it knows its files. */
export interface Staging {
  readonly signal: AbortSignal;
  /** Has one file in the store at once and gives its path: for what decides about the rest. */
  readonly have: (file: RepositoryFile) => Promise<string>;
  /** An empty folder on the store's volume that goes away by itself. */
  readonly scratch: () => Promise<string>;
}

export interface DownloadWatch {
  readonly signal: AbortSignal;
  /** Told how many bytes of the file are on disk; may go back to 0. */
  readonly onBytes: (bytes: number) => void;
}

// Proof that bytes are the file they claim to be.

export type Proof = Pick<RepositoryFile, 'size' | 'etag'>;

/** A hash that will equal `etag` once fed the whole content. */
export const startHash = ({ size, etag }: Proof): Hash =>
  etag.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);

const feedFile = async (hash: Hash, file: string): Promise<number> => {
  let bytes = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return bytes;
};

export const isIntact = async (file: string, proof: Proof): Promise<boolean> => {
  const hash = startHash(proof);
  const bytes = await feedFile(hash, file);
  return bytes === proof.size && hash.digest('hex') === proof.etag;
};

// One file from the hub.

interface Download {
  readonly repository: HubRepository;
  readonly file: RepositoryFile;
  readonly partial: string;
  readonly onBytes: (bytes: number) => void;
}

/** The bytes on disk cannot be a part of the file, or what the server sends cannot. */
class Mismatch extends Error {}

interface PartialFile {
  readonly handle: FileHandle;
  hash: Hash;
  bytes: number;
}

const restart = async (partial: PartialFile, file: RepositoryFile): Promise<void> => {
  await partial.handle.truncate(0);
  partial.hash = startHash(file);
  partial.bytes = 0;
};

const resume = async (handle: FileHandle, { file, partial: path }: Download): Promise<PartialFile> => {
  const partial: PartialFile = { handle, hash: startHash(file), bytes: (await handle.stat()).size };
  if (partial.bytes > file.size) await restart(partial, file);
  if (partial.bytes > 0) await feedFile(partial.hash, path);
  return partial;
};

const announcedSize = ({ headers }: HubResponse, from: number): number | undefined => {
  const total = /\/(\d+)$/.exec(headers['content-range'] ?? '')?.[1];
  if (total !== undefined) return Number(total);
  const length = headers['content-length'];
  return length === undefined ? undefined : from + Number(length);
};

/** The body begins at the offset asked for, or at 0 when the server ignored the range. */
const acceptStart = async (response: HubResponse, partial: PartialFile, file: RepositoryFile): Promise<void> => {
  if (response.status === 200) {
    if (partial.bytes > 0) await restart(partial, file);
  } else if (!(response.headers['content-range'] ?? '').startsWith(`bytes ${partial.bytes}-`)) {
    discardBody(response);
    throw new Mismatch(`asked for bytes from ${partial.bytes}, was sent ${response.headers['content-range'] ?? '?'}`);
  }
  const announced = announcedSize(response, partial.bytes);
  if (announced === undefined || announced === file.size) return;
  discardBody(response);
  throw new Mismatch(`it has ${file.size} bytes by the listing, the server announces ${announced}`);
};

const writeTo = async (partial: PartialFile, response: HubResponse, { file, onBytes }: Download): Promise<void> => {
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    if (partial.bytes + chunk.length > file.size) throw new Mismatch('more bytes came than it has');
    await partial.handle.write(chunk, 0, chunk.length, partial.bytes);
    partial.hash.update(chunk);
    partial.bytes += chunk.length;
    onBytes(partial.bytes);
  }
};

const isSystemError = (error: unknown): boolean => typeof (error as { syscall?: unknown }).syscall === 'string';
const DISK_CODES = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'EFBIG', 'ESTALE']);

const receive = async (partial: PartialFile, response: HubResponse, download: Download): Promise<void> => {
  try {
    await writeTo(partial, response, download);
  } catch (error) {
    download.repository.retry.signal.throwIfAborted();
    const { code, words } = describeFailure(error);
    if (error instanceof Mismatch || (isSystemError(error) && DISK_CODES.has(code))) throw error;
    throw new TransientError(`cut after ${partial.bytes} bytes: ${words}`, { cause: error });
  }
  if (partial.bytes < download.file.size) throw new TransientError(`ended after ${partial.bytes} bytes`);
};

const requestRest = async (partial: PartialFile, download: Download): Promise<void> => {
  const { repository, file } = download;
  const response = await repository.hub.send(filePath(repository, file.name), {
    signal: repository.retry.signal,
    headers: partial.bytes > 0 ? { range: `bytes=${partial.bytes}-` } : undefined,
  });
  if (response.status === 416) {
    discardBody(response);
    throw new Mismatch(`the server has no bytes from ${partial.bytes} on`);
  }
  refuseTransient(response, Date.now());
  if (response.status !== 200 && response.status !== 206) {
    discardBody(response);
    throw refusal(response, repository);
  }
  await acceptStart(response, partial, file);
  await receive(partial, response, download);
};

const attempt = async (download: Download): Promise<void> => {
  const { file, partial: path, onBytes } = download;
  await using handle = await open(path, 'a+').then(async (created) => {
    await created.close();
    return await open(path, 'r+');
  });
  const partial = await resume(handle, download);
  onBytes(partial.bytes);
  if (partial.bytes < file.size) await requestRest(partial, download);
  // Without it a power cut after the rename could leave a whole name on a hollow file.
  await handle.sync();
  if (partial.hash.digest('hex') !== file.etag) throw new Mismatch('the hash of what came is not the one listed');
};

const downloadFile = async (download: Download): Promise<void> => {
  const { repository, file, partial } = download;
  let best = 0;
  let gained = false;
  let mismatches = 0;
  const onBytes = (bytes: number): void => {
    gained ||= bytes > best;
    best = Math.max(best, bytes);
    download.onBytes(bytes);
  };
  const once = async (): Promise<void> => {
    try {
      await attempt({ ...download, onBytes });
    } catch (error) {
      if (!(error instanceof Mismatch)) throw error;
      await rm(partial, { force: true });
      mismatches += 1;
      if (mismatches < 2) throw new TransientError(`${file.name}: ${error.message}`, { retryAfterMs: 0 });
      throw new ModelError(
        'CorruptWeights',
        `${repository.modelId}@${repository.revision}: ${file.name} is not what the hub lists: ${error.message}. Nothing of it was kept; check the mirror or proxy in between, then try again`,
      );
    }
  };
  await persistently(repository, file.name, once, () => {
    const since = gained;
    gained = false;
    return since;
  });
};

// The hub as a source.

/** The commit of a listing. Weights are chosen once its config.json is there, before anything big is fetched. */
const listedSnapshot = (repository: HubRepository, listing: Listing, chooseWeights: ChooseWeights): RemoteSnapshot => {
  const { modelId, hub, retry } = repository;
  const commit = (signal: AbortSignal): HubRepository => ({
    ...repository,
    revision: listing.sha,
    retry: { ...retry, signal },
  });
  const describe = async (name: string, signal: AbortSignal): Promise<RepositoryFile> =>
    listing.known.get(name) ?? (await describeFile(commit(signal), name));
  const view = ({ signal, have }: Staging): RepositoryView => {
    const bring = async (name: string): Promise<string> => await have(await describe(name, signal));
    return {
      modelId,
      names: listing.names,
      json: async (name) =>
        listing.names.includes(name) ? parseJson(await readFile(await bring(name), 'utf8')) : undefined,
      // A graph with tensors beside it is small itself.
      onnxData: async (name) => (await readOnnxFacts(await bring(name), name)).dataFiles,
    };
  };
  return {
    sha: listing.sha,
    origin: `${hub.endpoint}/${modelId} at ${listing.sha}`,
    listFiles: async (staging) => {
      const { plan, missing } = await planSnapshot(view(staging), chooseWeights);
      if (plan === undefined) {
        throw new ModelError('UnsupportedFiles', `${modelId} has no ${missing.join(' and no ')}: it is no whole model`);
      }
      const { describing, indexes, weights, onnxModel, onnxData } = plan;
      const graph = onnxModel === undefined ? [] : [onnxModel, ...onnxData.values()];
      const files: RepositoryFile[] = [];
      for (const name of [...describing, ...indexes, ...graph, ...weights]) {
        files.push(await describe(name, staging.signal));
      }
      return files;
    },
    download: async (file, partial, { signal, onBytes }) =>
      await downloadFile({ repository: commit(signal), file, partial, onBytes }),
  };
};

export interface HubPatience {
  /** For the listing: little where something else stands ready. */
  readonly listing: RetryPolicy;
  readonly files: RetryPolicy;
}

export const hubSource = (hub: HubClient, patience: HubPatience, chooseWeights: ChooseWeights) =>
  ({
    open: async (wanted) => {
      const listing = await listRevision({ ...wanted, hub, retry: patience.listing });
      return listedSnapshot({ ...wanted, hub, retry: patience.files }, listing, chooseWeights);
    },
  }) satisfies WeightSource;
