// Writes the model store: blobs, then a whole snapshot by one rename, then the ref. A kill at any point leaves nothing half-visible.
import { randomUUID } from 'node:crypto';
import {
  constants,
  copyFile,
  link,
  lstat,
  mkdir,
  readdir,
  rename,
  rm,
  stat,
  statfs,
  symlink,
  writeFile,
} from 'node:fs/promises';
import path from 'node:path';
import { ModelError } from '../runtime/model/errors.ts';
import { listSnapshot } from './store.ts';
import type { StorePaths } from './store-paths.ts';

export interface StoredFile {
  readonly name: string;
  readonly size: number;
  readonly etag: string;
}

const REASON_BY_CODE = {
  ENOSPC: 'InsufficientDisk',
  EDQUOT: 'InsufficientDisk',
  EROFS: 'StoreNotWritable',
  EACCES: 'StoreNotWritable',
  EPERM: 'StoreNotWritable',
  ENOTDIR: 'StoreNotWritable',
} as const;

/** A file system's refusal as the error a person can act on; anything else unchanged. */
export const explainDisk = (error: unknown, store: string): unknown => {
  const { code, message } = error as NodeJS.ErrnoException;
  if (error instanceof ModelError || code === undefined || !(code in REASON_BY_CODE)) return error;
  const reason = REASON_BY_CODE[code as keyof typeof REASON_BY_CODE];
  const advice = reason === 'InsufficientDisk' ? 'free space there or use a larger volume' : 'make it writable';
  return new ModelError(reason, `model store ${store}: ${message}; ${advice}`, { cause: error });
};

const PARTIAL_SUFFIX = '.kubembed-part';

export const blobPath = (paths: StorePaths, etag: string): string => path.join(paths.blobs, etag);
/** Not Python's `.incomplete`: its client may be writing that one at this moment. */
export const partialPath = (paths: StorePaths, etag: string): string =>
  path.join(paths.blobs, `${etag}${PARTIAL_SUFFIX}`);

const sizeOf = async (file: string): Promise<number> => (await stat(file).catch(() => undefined))?.size ?? 0;

export const hasBlob = async (paths: StorePaths, file: StoredFile): Promise<boolean> =>
  (await stat(blobPath(paths, file.etag)).catch(() => undefined))?.size === file.size;

/** The folders of a model; also clears away what a crashed fetcher left, so call it under the lock. */
export const prepareStore = async (paths: StorePaths): Promise<void> => {
  for (const folder of [paths.blobs, paths.snapshots, paths.refs, paths.complete]) {
    await mkdir(folder, { recursive: true });
  }
  for (const name of await readdir(paths.complete)) {
    if (name.startsWith('tmp-')) await rm(path.join(paths.complete, name), { recursive: true, force: true });
  }
};

const COPY_SUFFIX = `.copy${PARTIAL_SUFFIX}`;

/**
 * Moves partial files to new inodes. A fetcher that slept while it lost the lock may wake with one open, and after our
 * rename its writes would land in a published blob.
 */
export const isolatePartials = async (paths: StorePaths): Promise<void> => {
  const names = (await readdir(paths.blobs)).filter((name) => name.endsWith(PARTIAL_SUFFIX));
  for (const name of names) {
    const file = path.join(paths.blobs, name);
    const copy = path.join(paths.blobs, name.replace(PARTIAL_SUFFIX, COPY_SUFFIX));
    try {
      if (name.endsWith(COPY_SUFFIX)) throw new Error('left by a crash');
      await copyFile(file, copy, constants.COPYFILE_FICLONE);
      await rename(copy, file);
    } catch {
      // No space for a second copy: better fetched again than shared.
      await rm(copy, { force: true });
      await rm(file, { force: true });
    }
  }
};

/** Drops what fetches of other commits left unfinished. */
export const clearPartials = async (paths: StorePaths): Promise<void> => {
  for (const name of await readdir(paths.blobs)) {
    if (name.endsWith(PARTIAL_SUFFIX)) await rm(path.join(paths.blobs, name), { force: true });
  }
};

const MARGIN_BYTES = 16 << 20;
const inMegabytes = (bytes: number): string => `${Math.ceil(bytes / 1e6)} MB`;

export interface SpaceNeed {
  readonly store: string;
  readonly modelId: string;
  readonly bytes: number;
}

/** Throws before a download that cannot fit. */
export const requireSpace = (need: SpaceNeed, freeBytes: number): void => {
  if (need.bytes === 0 || need.bytes + MARGIN_BYTES <= freeBytes) return;
  throw new ModelError(
    'InsufficientDisk',
    `${need.modelId} needs ${inMegabytes(need.bytes + MARGIN_BYTES)} more in the model store ${need.store}, which has ${inMegabytes(freeBytes)} free; free space there or use a larger volume`,
  );
};

export const freeBytes = async (folder: string): Promise<number> => {
  const info = await statfs(folder);
  return info.bavail * info.bsize;
};

/** Bytes still to be downloaded, partial files taken into account. */
export const missingBytes = async (paths: StorePaths, files: readonly StoredFile[]): Promise<number> => {
  const sizes = await Promise.all(
    files.map(async (file) => {
      if (await hasBlob(paths, file)) return 0;
      return Math.max(0, file.size - (await sizeOf(partialPath(paths, file.etag))));
    }),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
};

export const scratchFolder = async (paths: StorePaths): Promise<string> => {
  const folder = path.join(paths.complete, `tmp-${randomUUID()}`);
  await mkdir(folder, { recursive: true });
  return folder;
};

const NO_SYMLINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL']);

const linkOrCopy = async (blob: string, target: string): Promise<void> => {
  try {
    await link(blob, target);
  } catch {
    await copyFile(blob, target);
  }
};

/** ONNX Runtime finds a graph's `.onnx_data` only beside the graph's real file, so those are no symlinks. */
const mustBeReal = (name: string): boolean => name.startsWith('onnx/');

const place = async (blob: string, target: string, pointer: string): Promise<void> => {
  await mkdir(path.dirname(target), { recursive: true });
  if (pointer === '') {
    await linkOrCopy(blob, target);
    return;
  }
  try {
    await symlink(pointer, target);
  } catch (error) {
    if (!NO_SYMLINKS.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    await linkOrCopy(blob, target);
  }
};

/** Keeps what another tool already had in the snapshot. */
const carryOver = async (from: string, into: string): Promise<void> => {
  for (const name of await listSnapshot(from)) {
    const target = path.join(into, name);
    await mkdir(path.dirname(target), { recursive: true });
    // The links built so far lead nowhere until the folder is in place, hence lstat.
    if ((await lstat(target).catch(() => undefined)) === undefined) await linkOrCopy(path.join(from, name), target);
  }
};

/** Makes the snapshot visible: it is built aside and renamed into place. */
export const publishSnapshot = async (paths: StorePaths, sha: string, files: readonly StoredFile[]): Promise<void> => {
  const scratch = await scratchFolder(paths);
  const built = path.join(scratch, 'new');
  const final = path.join(paths.snapshots, sha);
  await mkdir(built);
  for (const { name, etag } of files) {
    const up = '../'.repeat(2 + name.split('/').length - 1);
    await place(blobPath(paths, etag), path.join(built, name), mustBeReal(name) ? '' : `${up}blobs/${etag}`);
  }
  if ((await stat(final).catch(() => undefined)) !== undefined) {
    // An incomplete snapshot of another tool. Between the two renames there is none, which is safe: it is fetched again.
    await carryOver(final, built);
    await rename(final, path.join(scratch, 'old'));
  }
  await rename(built, final);
  await rm(scratch, { recursive: true, force: true });
};

const writeAtomically = async (file: string, text: string): Promise<void> => {
  await mkdir(path.dirname(file), { recursive: true });
  const temporary = `${file}.${randomUUID()}`;
  await writeFile(temporary, text);
  await rename(temporary, file);
};

/** Notes that nothing of this snapshot is missing, and what proves its files. */
export const markComplete = async (paths: StorePaths, sha: string, files: readonly StoredFile[]): Promise<void> =>
  await writeAtomically(path.join(paths.complete, sha), `${JSON.stringify({ files }, undefined, 1)}\n`);

export const writeRef = async (paths: StorePaths, revision: string, sha: string): Promise<void> =>
  await writeAtomically(path.join(paths.refs, ...revision.split('/')), sha);
