// The model store, laid out like the Hugging Face cache: which snapshots are whole, and how one is written so that a kill at any
import { randomUUID } from 'node:crypto';
import {
  constants,
  copyFile,
  link,
  lstat,
  mkdir,
  readFile,
  readdir,
  realpath,
  rename,
  rm,
  stat,
  statfs,
  symlink,
  writeFile,
} from 'node:fs/promises';
import path from 'node:path';
import { isCommitSha, printBytes } from '../common/util/text.ts';
import { ModelError, isSelfEvident, parseJson, preferSafetensors } from './files.ts';
import type { ChooseWeights, Folders, RepositoryFile } from './files.ts';
import { readOnnxFacts } from './onnx-data.ts';
import { checkRevision, storePaths } from './paths.ts';
import type { ModelRevision, StorePaths } from './paths.ts';
import type { PartialPaths } from './partial.ts';
import { planSnapshot } from './plan.ts';
import type { RepositoryView, SnapshotPlan } from './plan.ts';

// point leaves nothing half-visible: blobs, then the snapshot by one rename, then the ref.

/** A complete snapshot in the store. Every path is real (symlinks resolved where ONNX Runtime needs it). */
export interface ModelFiles {
  readonly modelId: string;
  /** Commit sha of the snapshot. */
  readonly revision: string;
  /** `…/models--org--name/snapshots/<sha>`. */
  readonly snapshotDir: string;
  /** Where in it the model's own files lie, as `0_Transformer`; default: itself. */
  readonly mainFolder?: string | undefined;
  /** Real paths of the files with tensors, those of modules included, by their name in the repository, e.g. `model.safetensors` or its shards. */
  readonly weights: ReadonlyMap<string, string>;
  /** Real path of the repository's own graph, when that is to be used. */
  readonly onnxModel?: string | undefined;
  /** Real paths of the files beside it, by the names that it gives them. */
  readonly onnxData?: ReadonlyMap<string, string> | undefined;
}

/** The folder with config.json and tokenizer.json. */
export const mainFolderOf = ({ snapshotDir, mainFolder = '' }: ModelFiles): string =>
  path.join(snapshotDir, mainFolder);

// Reading.

export interface StoredSnapshot {
  readonly files: ModelFiles;
  /** False when some describing file may be missing although everything needed to compute is there. */
  readonly known: boolean;
}

const readText = async (file: string): Promise<string | undefined> =>
  await readFile(file, 'utf8').catch(() => undefined);

const readJson = async (file: string): Promise<unknown> => parseJson((await readText(file)) ?? '');

/** Names relative to the folder of all that is no folder, wherever symlinks lead; none when there is no such folder. */
export const entriesIn = async (folder: string): Promise<string[]> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)).replaceAll(path.sep, '/'));
};

/** Names of all entries that lead to a file; a symlink whose blob is gone does not count. */
export const listSnapshot = async (folder: string): Promise<string[]> => {
  const found = (await entriesIn(folder)).map(async (name) => {
    const info = await stat(path.join(folder, name)).catch(() => undefined);
    return info?.isFile() === true && info.size > 0 ? [name] : [];
  });
  return (await Promise.all(found)).flat();
};

/** The commit that a branch, tag or commit names in this store. */
export const resolveStoredRevision = async (paths: StorePaths, revision: string): Promise<string | undefined> => {
  if (isCommitSha(revision)) return revision;
  checkRevision(revision);
  const text = (await readText(path.join(paths.refs, ...revision.split('/'))))?.trim();
  return text !== undefined && isCommitSha(text) ? text : undefined;
};

const realPaths = async (
  folder: string,
  names: Iterable<readonly [key: string, name: string]>,
): Promise<Map<string, string>> =>
  new Map(
    await Promise.all(
      Array.from(names, async ([key, name]) => [key, await realpath(path.join(folder, name))] as const),
    ),
  );

const exists = async (file: string): Promise<boolean> => (await stat(file).catch(() => undefined)) !== undefined;

const isKnown = async (paths: StorePaths, sha: string, names: readonly string[], folders: Folders): Promise<boolean> =>
  isSelfEvident(names, folders) ||
  (await exists(path.join(paths.complete, sha))) ||
  (await exists(path.join(paths.noExist, sha, 'modules.json')));

export const viewSnapshot = async (folder: string, modelId: string): Promise<RepositoryView> => ({
  modelId,
  names: await listSnapshot(folder),
  json: async (name) => await readJson(path.join(folder, name)),
  onnxData: async (name) => (await readOnnxFacts(path.join(folder, name), name)).dataFiles,
});

const filesOf = async (
  folder: string,
  { modelId, revision }: ModelRevision,
  plan: SnapshotPlan,
): Promise<ModelFiles> => {
  const { folders, weights, onnxModel, onnxData } = plan;
  return {
    modelId,
    revision,
    snapshotDir: folder,
    mainFolder: folders.main,
    weights: await realPaths(
      folder,
      weights.map((name) => [name, name]),
    ),
    onnxModel: onnxModel && (await realpath(path.join(folder, onnxModel))),
    onnxData: await realPaths(folder, onnxData),
  };
};

/**
 * The snapshot of one commit, when everything needed to compute is there. Rejects with what `choose` throws, and with a
 * ModelError where what is there shows that it makes no model.
 */
export const inspectSnapshot = async (
  paths: StorePaths,
  wanted: ModelRevision,
  choose: ChooseWeights = preferSafetensors,
): Promise<StoredSnapshot | undefined> => {
  const { modelId, revision } = wanted;
  const folder = path.join(paths.snapshots, revision);
  const view = await viewSnapshot(folder, modelId);
  const { plan } = await planSnapshot(view, choose);
  if (plan === undefined) return undefined;
  return {
    files: await filesOf(folder, wanted, plan),
    known: await isKnown(paths, revision, view.names, plan.folders),
  };
};

/** The complete snapshot that a branch, tag or commit names in the store; undefined when there is none. */
export const openSnapshot = async (
  store: string,
  modelId: string,
  revision: string,
  choose: ChooseWeights = preferSafetensors,
): Promise<ModelFiles | undefined> => {
  const paths = storePaths(store, modelId);
  const sha = await resolveStoredRevision(paths, revision);
  if (sha === undefined) return undefined;
  return (await inspectSnapshot(paths, { modelId, revision: sha }, choose))?.files;
};

// Writing.

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

/** Not Python's `.incomplete`: its client may be writing that one at this moment. */
const PARTIAL_SUFFIX = '.kubembed-part';
const COPY_SUFFIX = `.copy${PARTIAL_SUFFIX}`;

const blobPath = (paths: StorePaths, { etag }: RepositoryFile): string => path.join(paths.blobs, etag);
const partialPaths = (paths: StorePaths, file: RepositoryFile): PartialPaths => {
  const blob = blobPath(paths, file);
  return { file: `${blob}${PARTIAL_SUFFIX}`, note: `${blob}.ranges${PARTIAL_SUFFIX}` };
};

const sizeOf = async (file: string): Promise<number | undefined> => (await stat(file).catch(() => undefined))?.size;

/** What the file takes there: one that comes in ranges has holes. */
const bytesOnDisk = async (file: string): Promise<number> => {
  const info = await stat(file).catch(() => undefined);
  return info === undefined ? 0 : Math.min(info.size, info.blocks * 512);
};

const hasBlob = async (paths: StorePaths, file: RepositoryFile): Promise<boolean> =>
  (await sizeOf(blobPath(paths, file))) === file.size;

const partialsIn = async ({ blobs }: StorePaths): Promise<string[]> =>
  (await readdir(blobs)).filter((name) => name.endsWith(PARTIAL_SUFFIX)).map((name) => path.join(blobs, name));

/** The folders of a model; also clears away what a crashed fetcher left, so call it under the lock. */
export const prepareStore = async (paths: StorePaths): Promise<void> => {
  for (const folder of [paths.blobs, paths.snapshots, paths.refs, paths.complete]) {
    await mkdir(folder, { recursive: true });
  }
  for (const name of await readdir(paths.complete)) {
    if (name.startsWith('tmp-')) await rm(path.join(paths.complete, name), { recursive: true, force: true });
  }
};

/**
 * Moves partial files to new inodes. A fetcher that slept while it lost the lock may wake with one open, and after our
 * rename its writes would land in a published blob.
 */
export const isolatePartials = async (paths: StorePaths): Promise<void> => {
  for (const file of await partialsIn(paths)) {
    const copy = file.slice(0, -PARTIAL_SUFFIX.length) + COPY_SUFFIX;
    try {
      if (file.endsWith(COPY_SUFFIX)) throw new Error('left by a crash');
      await copyFile(file, copy, constants.COPYFILE_FICLONE);
      await rename(copy, file);
    } catch {
      // No space for a second copy: better fetched again than shared.
      await rm(copy, { force: true });
      await rm(file, { force: true });
    }
  }
};

const MARGIN_BYTES = 16 << 20;

/** Throws before a download that cannot fit. */
export const requireSpace = (
  need: { readonly store: string; readonly modelId: string; readonly bytes: number },
  freeBytes: number,
): void => {
  if (need.bytes === 0 || need.bytes + MARGIN_BYTES <= freeBytes) return;
  throw new ModelError(
    'InsufficientDisk',
    `${need.modelId} needs ${printBytes(need.bytes + MARGIN_BYTES)} more in the model store ${need.store}, which has ${printBytes(freeBytes)} free; free space there or use a larger volume`,
  );
};

/** Bytes still to be downloaded, partial files taken into account, and bytes free for them. */
export const measureSpace = async (
  paths: StorePaths,
  files: readonly RepositoryFile[],
): Promise<{ readonly missing: number; readonly free: number }> => {
  const sizes = files.map(async (file) => {
    if (await hasBlob(paths, file)) return 0;
    return Math.max(0, file.size - (await bytesOnDisk(partialPaths(paths, file).file)));
  });
  const { bavail, bsize } = await statfs(paths.blobs);
  return { missing: (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0), free: bavail * bsize };
};

/** The file's blob, brought by `download` into a partial file unless it is there. */
export const storeBlob = async (
  paths: StorePaths,
  file: RepositoryFile,
  download: (partial: PartialPaths) => Promise<void>,
): Promise<string> => {
  const blob = blobPath(paths, file);
  if (await hasBlob(paths, file)) return blob;
  const partial = partialPaths(paths, file);
  await download(partial);
  await rm(partial.note, { force: true });
  await rename(partial.file, blob);
  return blob;
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

const place = async (blob: string, target: string, pointer: string): Promise<void> => {
  await mkdir(path.dirname(target), { recursive: true });
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

/** Built aside and renamed into place. */
const publish = async (paths: StorePaths, sha: string, files: readonly RepositoryFile[]): Promise<void> => {
  const scratch = await scratchFolder(paths);
  const built = path.join(scratch, 'new');
  const final = path.join(paths.snapshots, sha);
  await mkdir(built);
  for (const file of files) {
    const target = path.join(built, file.name);
    const up = '../'.repeat(2 + file.name.split('/').length - 1);
    await place(blobPath(paths, file), target, `${up}blobs/${file.etag}`);
  }
  if (await exists(final)) {
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

/** Makes the snapshot visible, and notes that nothing of it is missing and what proves its files. */
export const publishSnapshot = async (
  paths: StorePaths,
  sha: string,
  files: readonly RepositoryFile[],
): Promise<void> => {
  await publish(paths, sha, files);
  await writeAtomically(path.join(paths.complete, sha), `${JSON.stringify({ files }, undefined, 1)}\n`);
  await prepareStore(paths);
  // What fetches of other commits left unfinished.
  for (const partial of await partialsIn(paths)) await rm(partial, { force: true });
};

export const writeRef = async (paths: StorePaths, revision: string, sha: string): Promise<void> =>
  await writeAtomically(path.join(paths.refs, ...revision.split('/')), sha);
