// Makes a model's snapshot complete in the store: from the store itself, else from the hub, else from another source at hand.
import { performance } from 'node:perf_hooks';
import pLimit from 'p-limit';
import { isCommitSha } from '../common/util/text.ts';
import { together } from '../common/util/together.ts';
import type { HubOptions, Retry, RetryPolicy } from './client.ts';
import { ModelError, isModelError, preferSafetensors } from './files.ts';
import type { ChooseWeights, RepositoryFile } from './files.ts';
import { acquireLock, isAlive, readIdentity } from './lock.ts';
import { checkRevision, storePaths } from './paths.ts';
import type { ModelRevision, StorePaths } from './paths.ts';
import type { DownloadWatch, RemoteSnapshot, WeightSource } from './source.ts';
import {
  explainDisk,
  inspectSnapshot,
  isolatePartials,
  measureSpace,
  prepareStore,
  publishSnapshot,
  requireSpace,
  resolveStoredRevision,
  scratchFolder,
  storeBlob,
  writeRef,
} from './store.ts';
import type { ModelFiles, StoredSnapshot } from './store.ts';

export type FetchEvent =
  | { readonly kind: 'source'; readonly source: 'store' | 'hub' | 'fallback'; readonly detail: string }
  | {
      readonly kind: 'progress';
      readonly file: string;
      readonly fileBytes: number;
      readonly fileTotal: number;
      /** Over all files of this fetch; bytes that an earlier, killed fetch left behind count from the start. */
      readonly bytes: number;
      readonly total: number;
    }
  | ({ readonly kind: 'retry' } & Retry)
  | { readonly kind: 'waiting'; readonly detail: string };

export interface FetchOptions extends HubOptions {
  readonly modelId: string;
  /** Branch, tag or commit; default `main`. */
  readonly revision?: string;
  /** Commit sha recorded earlier; wins over `revision`. */
  readonly resolvedRevision?: string | undefined;
  /** Root of the store: the folder that holds `models--org--name`. */
  readonly store: string;
  /** Which weights to use; default: safetensors, else the repository's own graph. */
  readonly chooseWeights?: ChooseWeights;
  /** Asked where no hub is in reach; default none. */
  readonly fallback?: WeightSource | undefined;
  readonly onEvent?: (event: FetchEvent) => void;
  readonly signal?: AbortSignal;
  /** A lock whose heartbeat stands still for this long is taken over; default 30 s. */
  readonly lockStaleMs?: number;
}

/** One fetch: its options, defaults filled in. */
interface Fetch {
  readonly options: FetchOptions;
  readonly paths: StorePaths;
  /** At the recorded commit when there is one. */
  readonly wanted: ModelRevision;
  readonly chooseWeights: ChooseWeights;
  readonly signal: AbortSignal;
  readonly onEvent: (event: FetchEvent) => void;
}

// Filling the store from a remote snapshot, under the lock.

const LOCK_STALE_MS = 30_000;
const PARALLEL_FILES = 4;

const progressOf = (files: readonly RepositoryFile[], onEvent: Fetch['onEvent']) => {
  const total = files.reduce((sum, file) => sum + file.size, 0);
  const done = new Map<string, number>();
  let bytes = 0;
  return (file: RepositoryFile) =>
    (fileBytes: number): void => {
      if (fileBytes === done.get(file.name)) return;
      bytes += fileBytes - (done.get(file.name) ?? 0);
      done.set(file.name, fileBytes);
      onEvent({ kind: 'progress', file: file.name, fileBytes, fileTotal: file.size, bytes, total });
    };
};

/** Space, blobs side by side, then the snapshot in one step. */
const fillStore = async ({ options, paths, onEvent }: Fetch, remote: RemoteSnapshot, signal: AbortSignal) => {
  const { store, modelId } = options;
  const fetchBlob = async (file: RepositoryFile, watch: DownloadWatch): Promise<string> => {
    const blob = await storeBlob(paths, file, async (partial) => await remote.download(file, partial, watch));
    watch.onBytes(file.size);
    return blob;
  };
  const files = await remote.listFiles({
    signal,
    scratch: async () => await scratchFolder(paths),
    have: async (file) => await fetchBlob(file, { signal, onBytes: () => undefined }),
  });
  const { missing, free } = await measureSpace(paths, files);
  requireSpace({ store, modelId, bytes: missing }, free);
  const reportFor = progressOf(files, onEvent);
  // Two names may share one content, and a blob must have one writer.
  const unique = [...new Map(files.map((file) => [file.etag, file])).values()];
  const limit = pLimit(PARALLEL_FILES);
  const fetchOne = async (file: RepositoryFile, both: AbortSignal): Promise<void> => {
    both.throwIfAborted();
    await fetchBlob(file, { signal: both, onBytes: reportFor(file) });
  };
  await together(signal, (both) => unique.map((file) => limit(() => fetchOne(file, both))));
  await publishSnapshot(paths, remote.sha, files);
};

const inspect = async (fetch: Fetch, revision: string): Promise<StoredSnapshot | undefined> =>
  await inspectSnapshot(fetch.paths, { modelId: fetch.wanted.modelId, revision }, fetch.chooseWeights);

/** Fills the store unless another process did so meanwhile. */
const fillOnce = async (fetch: Fetch, remote: RemoteSnapshot): Promise<ModelFiles> => {
  const { options, paths, wanted, onEvent } = fetch;
  const isNeedless = async (): Promise<boolean> =>
    (await inspect(fetch, remote.sha).catch(() => undefined))?.known === true;
  const lock = await acquireLock({
    folder: paths.locks,
    self: await readIdentity(),
    staleMs: options.lockStaleMs ?? LOCK_STALE_MS,
    signal: fetch.signal,
    now: () => performance.now(),
    isAlive,
    isNeedless,
    onWait: (holder) => onEvent({ kind: 'waiting', detail: `${holder} is fetching ${wanted.modelId}` }),
  });
  try {
    if (lock !== undefined && !(await isNeedless())) {
      await prepareStore(paths);
      if (lock.predecessorMayWake) await isolatePartials(paths);
      await fillStore(fetch, remote, AbortSignal.any([fetch.signal, lock.lost]));
    }
    if (!isCommitSha(wanted.revision)) await writeRef(paths, wanted.revision, remote.sha);
  } finally {
    await lock?.release();
  }
  const stored = await inspect(fetch, remote.sha);
  if (stored !== undefined) return stored.files;
  throw new ModelError('UnsupportedFiles', `${wanted.modelId}@${remote.sha}: its files do not make a whole model`);
};

// Which source.

const fetchFromHub = async (fetch: Fetch, revision: string, hasAlternative: boolean): Promise<ModelFiles> => {
  const { options, signal, onEvent, wanted } = fetch;
  // Only now: where all is in the store, the HTTP client would be most of what is loaded.
  const [{ DEFAULT_TIMEOUTS, createHubClient }, { hubSource }] = await Promise.all([
    import('./client.ts'),
    import('./source.ts'),
  ]);
  const hub = createHubClient(options);
  try {
    const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
    const patient: RetryPolicy = {
      timeouts,
      unreachableAttempts: timeouts.attempts,
      signal,
      random: Math.random,
      onRetry: (retry) => onEvent({ kind: 'retry', ...retry }),
    };
    const { attempts, maxBackoffMs } = timeouts;
    const impatient: RetryPolicy = {
      ...patient,
      timeouts: { ...timeouts, attempts: Math.min(2, attempts), maxBackoffMs: Math.min(2_000, maxBackoffMs) },
      unreachableAttempts: 1,
    };
    const source = hubSource(
      hub,
      { listing: hasAlternative ? impatient : patient, files: patient },
      fetch.chooseWeights,
    );
    const remote = await source.open({ modelId: wanted.modelId, revision });
    onEvent({ kind: 'source', source: 'hub', detail: remote.origin });
    return await fillOnce(fetch, remote);
  } finally {
    await hub.close();
  }
};

const fetchFromFallback = async (fetch: Fetch, remote: RemoteSnapshot, hubError: ModelError): Promise<ModelFiles> => {
  fetch.onEvent({ kind: 'source', source: 'fallback', detail: remote.origin });
  try {
    return await fillOnce(fetch, remote);
  } catch (error) {
    if (!isModelError(error, 'HubUnreachable')) throw error;
    throw new ModelError('HubUnreachable', `${hubError.message}; and ${error.message}`, { cause: error });
  }
};

const fromStore = (fetch: Fetch, stored: StoredSnapshot): ModelFiles => {
  fetch.onEvent({ kind: 'source', source: 'store', detail: stored.files.snapshotDir });
  return stored.files;
};

const fetchAnew = async (fetch: Fetch, stored: StoredSnapshot | undefined): Promise<ModelFiles> => {
  const fallback = await fetch.options.fallback?.open(fetch.wanted);
  const hasAlternative = stored !== undefined || fallback !== undefined;
  try {
    // A snapshot that only lacks certainty is completed at its own commit, also when the branch has moved on.
    return await fetchFromHub(fetch, stored?.files.revision ?? fetch.wanted.revision, hasAlternative);
  } catch (error) {
    if (!isModelError(error) || fetch.signal.aborted) throw error;
    if (stored !== undefined) return fromStore(fetch, stored);
    if (fallback === undefined || error.reason !== 'HubUnreachable') throw error;
    return await fetchFromFallback(fetch, fallback, error);
  }
};

const lookInStore = async (fetch: Fetch): Promise<StoredSnapshot | undefined> => {
  const sha = await resolveStoredRevision(fetch.paths, fetch.wanted.revision);
  if (sha === undefined) return undefined;
  try {
    return await inspect(fetch, sha);
  } catch (error) {
    // What the store holds of the model does not do; the hub may have more, as a graph of the repository's own.
    if (fetch.options.offline === true) throw error;
    return undefined;
  }
};

const fetchWanted = async (fetch: Fetch): Promise<ModelFiles> => {
  const { options, wanted } = fetch;
  const stored = await lookInStore(fetch);
  if (stored !== undefined && (stored.known || options.offline === true)) return fromStore(fetch, stored);
  if (options.offline !== true) return await fetchAnew(fetch, stored);
  throw new ModelError(
    'HubUnreachable',
    `${wanted.modelId}@${wanted.revision} is not in the model store ${options.store}, or not all of it, and HF_HUB_OFFLINE forbids to fetch it`,
  );
};

/**
 * The complete snapshot, fetched if need be. Rejects with a ModelError, or with what `chooseWeights` throws.
 * A revision that the store can resolve is not asked for again: vectors change only when someone wants them to.
 */
export const fetchSnapshot = async (options: FetchOptions): Promise<ModelFiles> => {
  const { modelId, store, chooseWeights = preferSafetensors, onEvent = () => undefined } = options;
  const paths = storePaths(store, modelId);
  const revision = options.resolvedRevision ?? options.revision ?? 'main';
  checkRevision(revision);
  const signal = options.signal ?? new AbortController().signal;
  try {
    return await fetchWanted({ options, paths, wanted: { modelId, revision }, chooseWeights, signal, onEvent });
  } catch (error) {
    if (signal.aborted) throw new ModelError('Aborted', `the fetch of ${modelId} was stopped`, { cause: error });
    throw explainDisk(error, store);
  }
};
