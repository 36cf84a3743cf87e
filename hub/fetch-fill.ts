// Fills the store from one source, under the lock: space, blobs side by side, then the snapshot in one step.
import { rename } from 'node:fs/promises';
import type { FetchEvent } from './fetch-types.ts';
import {
  blobPath,
  clearPartials,
  freeBytes,
  hasBlob,
  isolatePartials,
  markComplete,
  missingBytes,
  partialPath,
  prepareStore,
  publishSnapshot,
  requireSpace,
  scratchFolder,
} from './store-write.ts';
import type { StoredFile } from './store-write.ts';
import type { StorePaths } from './store-paths.ts';

export interface SourceTools {
  readonly signal: AbortSignal;
  /** Has one file in the store at once and gives its path: for what decides about the rest. */
  readonly have: (file: StoredFile) => Promise<string>;
  /** An empty folder that goes away by itself. */
  readonly scratch: () => Promise<string>;
}

export interface Source {
  readonly sha: string;
  /** Which files the snapshot shall have. */
  plan(tools: SourceTools): Promise<readonly StoredFile[]>;
  /** Leaves the whole, proven file at `partial`. */
  deliver(file: StoredFile, partial: string, watch: DeliveryWatch): Promise<void>;
}

export interface DeliveryWatch {
  readonly signal: AbortSignal;
  readonly onBytes: (bytes: number) => void;
}

export interface Filling {
  readonly modelId: string;
  readonly store: string;
  readonly paths: StorePaths;
  readonly signal: AbortSignal;
  /** See Lock. */
  readonly predecessorMayWake: boolean;
  readonly onEvent: (event: FetchEvent) => void;
}

const PARALLEL = 4;

/** Runs the tasks a few at a time; the first failure ends the others and comes out when they have ended. */
const runSome = async <T>(
  items: readonly T[],
  task: (item: T, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
) => {
  const failed = new AbortController();
  const both = AbortSignal.any([signal, failed.signal]);
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) {
      both.throwIfAborted();
      await task(item, both);
    }
  };
  const workers = Array.from({ length: PARALLEL }, async () => {
    try {
      await worker();
    } catch (error) {
      failed.abort(error);
      throw error;
    }
  });
  const outcomes = await Promise.allSettled(workers);
  signal.throwIfAborted();
  if (failed.signal.aborted) throw failed.signal.reason;
  return outcomes;
};

const deliverBlob = async (filling: Filling, source: Source, file: StoredFile, watch: DeliveryWatch): Promise<void> => {
  if (await hasBlob(filling.paths, file)) {
    watch.onBytes(file.size);
    return;
  }
  const partial = partialPath(filling.paths, file.etag);
  await source.deliver(file, partial, watch);
  await rename(partial, blobPath(filling.paths, file.etag));
};

const progressOf = (files: readonly StoredFile[], onEvent: Filling['onEvent']) => {
  const total = files.reduce((sum, file) => sum + file.size, 0);
  const done = new Map<string, number>();
  let bytes = 0;
  return (file: StoredFile) =>
    (fileBytes: number): void => {
      bytes += fileBytes - (done.get(file.name) ?? 0);
      done.set(file.name, fileBytes);
      onEvent({ kind: 'progress', file: file.name, fileBytes, fileTotal: file.size, bytes, total });
    };
};

export const fillStore = async (filling: Filling, source: Source): Promise<void> => {
  const { paths, signal } = filling;
  await prepareStore(paths);
  if (filling.predecessorMayWake) await isolatePartials(paths);
  const tools: SourceTools = {
    signal,
    scratch: async () => await scratchFolder(paths),
    have: async (file) => {
      await deliverBlob(filling, source, file, { signal, onBytes: () => undefined });
      return blobPath(paths, file.etag);
    },
  };
  const files = await source.plan(tools);
  const bytes = await missingBytes(paths, files);
  requireSpace({ store: filling.store, modelId: filling.modelId, bytes }, await freeBytes(paths.blobs));
  const reportFor = progressOf(files, filling.onEvent);
  // Two names may share one content, and a blob must have one writer.
  const unique = [...new Map(files.map((file) => [file.etag, file])).values()];
  await runSome(
    unique,
    async (file, both) => await deliverBlob(filling, source, file, { signal: both, onBytes: reportFor(file) }),
    signal,
  );
  await publishSnapshot(paths, source.sha, files);
  await markComplete(paths, source.sha, files);
  await prepareStore(paths);
  await clearPartials(paths);
};
