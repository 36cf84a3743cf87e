// Reads the model store: which snapshot a revision names, and whether it is whole. Never writes.
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import {
  ONNX_MODEL,
  REQUIRED_FILES,
  SAFETENSORS_INDEX,
  isSelfEvident,
  offeredWeights,
  preferSafetensors,
  shardsOf,
  weightFiles,
} from './files.ts';
import type { ChooseWeights, WeightFormat } from './files.ts';
import { checkRevision, isCommitSha, storePaths } from './store-paths.ts';
import type { StorePaths } from './store-paths.ts';
import type { ModelFiles } from '../runtime/model/types.ts';

export interface StoredSnapshot {
  readonly files: ModelFiles;
  /** False when some describing file may be missing although everything needed to compute is there. */
  readonly known: boolean;
}

const readText = async (file: string): Promise<string | undefined> =>
  await readFile(file, 'utf8').catch(() => undefined);

const readJson = async (file: string): Promise<Record<string, unknown> | undefined> => {
  const text = await readText(file);
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
};

/** Names relative to the snapshot of all entries that lead to a file; a symlink whose blob is gone does not count. */
export const listSnapshot = async (folder: string): Promise<string[]> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const names = entries
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)).replaceAll(path.sep, '/'));
  const found = await Promise.all(
    names.map(async (name) => {
      const info = await stat(path.join(folder, name)).catch(() => undefined);
      return info?.isFile() === true && info.size > 0 ? name : undefined;
    }),
  );
  return found.filter((name) => name !== undefined);
};

/** The commit that a branch, tag or commit names in this store. */
export const resolveStoredRevision = async (paths: StorePaths, revision: string): Promise<string | undefined> => {
  if (isCommitSha(revision)) return revision;
  checkRevision(revision);
  const text = (await readText(path.join(paths.refs, ...revision.split('/'))))?.trim();
  return text !== undefined && isCommitSha(text) ? text : undefined;
};

const realPaths = async (folder: string, names: readonly string[]): Promise<Map<string, string>> =>
  new Map(await Promise.all(names.map(async (name) => [name, await realpath(path.join(folder, name))] as const)));

const wholeWeights = async (
  folder: string,
  names: readonly string[],
  format: WeightFormat,
): Promise<Map<string, string> | undefined> => {
  const wanted = weightFiles(names, format);
  if (format === 'onnx' || !wanted.includes(SAFETENSORS_INDEX)) {
    return wanted.length > 0 ? await realPaths(folder, wanted) : undefined;
  }
  const shards = shardsOf(await readJson(path.join(folder, SAFETENSORS_INDEX)));
  const whole = shards.length > 0 && shards.every((shard) => names.includes(shard));
  return whole ? await realPaths(folder, shards) : undefined;
};

const isKnown = async (paths: StorePaths, sha: string, names: readonly string[]): Promise<boolean> => {
  if (isSelfEvident(names)) return true;
  const own = await stat(path.join(paths.complete, sha)).catch(() => undefined);
  if (own !== undefined) return true;
  const absent = await stat(path.join(paths.noExist, sha, 'modules.json')).catch(() => undefined);
  return absent !== undefined;
};

/** The snapshot of one commit, when everything needed to compute is there. What `choose` throws comes out. */
export const inspectSnapshot = async (
  paths: StorePaths,
  snapshot: { readonly modelId: string; readonly sha: string },
  choose: ChooseWeights = preferSafetensors,
): Promise<StoredSnapshot | undefined> => {
  const folder = path.join(paths.snapshots, snapshot.sha);
  const names = await listSnapshot(folder);
  if (!REQUIRED_FILES.every((name) => names.includes(name))) return undefined;
  const config = await readJson(path.join(folder, 'config.json'));
  if (config === undefined) return undefined;
  const offered = offeredWeights(names);
  const format = offered.safetensors || offered.onnx ? choose(config, offered) : undefined;
  if (format === undefined || !offered[format]) return undefined;
  const found = await wholeWeights(folder, names, format);
  if (found === undefined) return undefined;
  const onnxModel = found.get(ONNX_MODEL);
  return {
    files: {
      modelId: snapshot.modelId,
      revision: snapshot.sha,
      snapshotDir: folder,
      weights: format === 'safetensors' ? found : new Map<string, string>(),
      ...(onnxModel === undefined ? {} : { onnxModel }),
    },
    known: await isKnown(paths, snapshot.sha, names),
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
  return (await inspectSnapshot(paths, { modelId, sha }, choose))?.files;
};
