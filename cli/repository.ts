// What is known of a model's repository before its weights are fetched, from the hub or from the store: files, small JSON files, tensor headers.
import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Environment } from '../common/util/env.ts';
import { createHubClient, DEFAULT_TIMEOUTS } from '../hub/client.ts';
import type { RetryPolicy } from '../hub/client.ts';
import { ModelError } from '../hub/files.ts';
import { MODULES_FILE, SENTENCE_SETTINGS, inFolder, parseJson } from '../hub/files.ts';
import type { Folders } from '../hub/files.ts';
import { describeFile, listRevision, readRemoteFile } from '../hub/listing.ts';
import type { HubRepository, Listing } from '../hub/listing.ts';
import { checkModelId, checkRevision, readModelSettings } from '../hub/paths.ts';
import type { HubSettings, ModelRevision } from '../hub/paths.ts';
import { planSnapshot } from '../hub/plan.ts';
import type { RepositoryView, SnapshotPlan } from '../hub/plan.ts';
import { openSnapshot, viewSnapshot } from '../hub/store.ts';
import type { TensorEntry, TensorIndex } from '../runtime/graph/weights.ts';
import { DESCRIBING_FILES, moduleConfigPaths } from '../runtime/model/description.ts';
import type { JsonFiles } from '../runtime/model/description.ts';
import { readTorchFile } from '../runtime/model/pytorch.ts';
import { parseHeader } from '../runtime/model/safetensors.ts';
import { chooseWeights } from '../runtime/model/snapshot.ts';
import { TOKENIZER_FILE } from '../runtime/model/static.ts';
import { namedIn, readTensorIndex } from '../runtime/model/tensors.ts';

export interface Repository {
  readonly modelId: string;
  readonly source: 'hub' | 'store';
  /** Commit sha. */
  readonly revision: string;
  /** Every file name; its size where known. */
  readonly files: ReadonlyMap<string, number | undefined>;
  readonly json: JsonFiles;
  /** Which of them would be used. */
  readonly plan: Pick<SnapshotPlan, 'format' | 'weights' | 'onnxModel' | 'onnxData'>;
  /** Out of the headers of the weight files; undefined when they could not be read. */
  readonly tensors: TensorIndex | undefined;
}

// Where they are looked for, as every Hugging Face tool reads it from the environment.

export const storeFolder = (given: string | undefined, env: Environment): string =>
  given ?? readModelSettings(env, env['HOME'] ?? homedir()).store;

export const hubOptions = (env: Environment): HubSettings => readModelSettings(env, homedir()).hub;

/** The JSON files that describe a model, those of its own folder by their names there; the last ones are named by the first. */
async function describingFiles(view: RepositoryView, { main, isStatic }: Folders): Promise<JsonFiles> {
  const read = async (name: string, file = name): Promise<(readonly [string, unknown])[]> => {
    const value = await view.json(file);
    return value === undefined ? [] : [[name, value]];
  };
  const isAtRoot = (name: string): boolean => name === MODULES_FILE || name === SENTENCE_SETTINGS;
  const names = isStatic ? [...DESCRIBING_FILES, TOKENIZER_FILE] : DESCRIBING_FILES;
  const plain = names.map(async (name) => await read(name, isAtRoot(name) ? name : inFolder(main, name)));
  const known = new Map((await Promise.all(plain)).flat());
  const modules = await Promise.all(moduleConfigPaths(known.get(MODULES_FILE)).map(async (name) => await read(name)));
  return new Map([...known, ...modules.flat()]);
}

const weightsOf = ({ weights, onnxModel, onnxData }: Repository['plan']): string[] => [
  ...(onnxModel === undefined ? [] : [onnxModel]),
  ...onnxData.values(),
  ...weights,
];

// On the hub.

const HEADER_LIMIT = 32 << 20;
const LENGTH_BYTES = 8;

interface Visit extends HubRepository {
  readonly listing: Listing;
}

const viewOf = (visit: Visit): RepositoryView => ({
  modelId: visit.modelId,
  names: visit.listing.names,
  json: async (name) =>
    visit.listing.names.includes(name)
      ? parseJson((await readRemoteFile(visit, name))?.toString('utf8') ?? '')
      : undefined,
  // Only the graph itself could tell: it is fetched with the model.
  onnxData: () => Promise.resolve([]),
});

const sizeOf = async (visit: Visit, name: string): Promise<number> =>
  (visit.listing.known.get(name) ?? (await describeFile(visit, name))).size;

/** The server sends whole files alone, which may be the weights. */
class NoRanges extends Error {}

async function fetchTorchHeader(visit: Visit, name: string): Promise<Map<string, TensorEntry>> {
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const bytes = await readRemoteFile(visit, name, `${offset}-${offset + length - 1}`);
    if (bytes?.byteLength !== length) throw new NoRanges();
    return bytes;
  };
  return await readTorchFile({ size: await sizeOf(visit, name), read }, name, false);
}

async function fetchSafetensorsHeader(visit: Visit, name: string): Promise<Map<string, TensorEntry>> {
  const size = await sizeOf(visit, name);
  const prefix = await readRemoteFile(visit, name, `0-${LENGTH_BYTES - 1}`);
  if (prefix === undefined || prefix.byteLength < LENGTH_BYTES) throw new NoRanges();
  const length = Number(prefix.readBigUInt64LE(0));
  if (length > HEADER_LIMIT) throw new NoRanges();
  const header = await readRemoteFile(visit, name, `${LENGTH_BYTES}-${LENGTH_BYTES + length - 1}`);
  if (header === undefined) throw new NoRanges();
  return parseHeader(header, name, size);
}

/** Undefined where the headers cannot be had without the weights. */
async function readTensors(visit: Visit, { weights, folders }: SnapshotPlan): Promise<TensorIndex | undefined> {
  const tensors = new Map<string, TensorEntry>();
  try {
    for (const name of weights) {
      const header = await (name.endsWith('.bin') ? fetchTorchHeader : fetchSafetensorsHeader)(visit, name);
      for (const [tensor, entry] of header) tensors.set(namedIn(name, folders.main, tensor), entry);
    }
  } catch (error) {
    if (error instanceof NoRanges) return undefined;
    throw error;
  }
  return tensors;
}

async function visitRepository(visit: Visit): Promise<Repository> {
  const { listing, modelId } = visit;
  const view = viewOf(visit);
  const { plan, missing } = await planSnapshot(view, chooseWeights);
  if (plan === undefined) {
    throw new ModelError('UnsupportedFiles', `${modelId} has no ${missing.join(' and no ')}: it is no whole model`);
  }
  const json = await describingFiles(view, plan.folders);
  const files = new Map(listing.names.map((name) => [name, listing.known.get(name)?.size]));
  for (const name of weightsOf(plan)) files.set(name, await sizeOf(visit, name));
  const tensors = await readTensors(visit, plan);
  return { modelId, source: 'hub', revision: listing.sha, files, json, plan, tensors };
}

/** @throws ModelError */
export async function repositoryOnHub(
  wanted: ModelRevision,
  settings: HubSettings,
  signal: AbortSignal,
): Promise<Repository> {
  checkModelId(wanted.modelId);
  checkRevision(wanted.revision);
  const hub = createHubClient(settings);
  const timeouts = { ...DEFAULT_TIMEOUTS, attempts: 2, maxBackoffMs: 2000 };
  const retry: RetryPolicy = {
    timeouts,
    unreachableAttempts: 1,
    signal,
    random: Math.random,
    onRetry: () => undefined,
  };
  try {
    const listing = await listRevision({ ...wanted, hub, retry });
    return await visitRepository({ ...wanted, revision: listing.sha, hub, retry, listing });
  } finally {
    await hub.close();
  }
}

// In the store.

/** Undefined when the store holds no whole snapshot of it. */
export async function repositoryInStore(store: string, wanted: ModelRevision): Promise<Repository | undefined> {
  const snapshot = await openSnapshot(store, wanted.modelId, wanted.revision, chooseWeights);
  if (snapshot === undefined) return undefined;
  const folder = snapshot.snapshotDir;
  const view = await viewSnapshot(folder, wanted.modelId);
  const { plan } = await planSnapshot(view, chooseWeights);
  if (plan === undefined) return undefined;
  const sizes = view.names.map(async (name) => [name, (await stat(join(folder, name))).size] as const);
  const tensors = await readTensorIndex(snapshot.weights, '/', snapshot.mainFolder);
  return {
    modelId: wanted.modelId,
    source: 'store',
    revision: snapshot.revision,
    files: new Map(await Promise.all(sizes)),
    json: await describingFiles(view, plan.folders),
    plan,
    tensors: tensors.size > 0 ? tensors : undefined,
  };
}

export const weightBytesOf = ({ files, plan }: Repository): number =>
  weightsOf(plan).reduce((sum, name) => sum + (files.get(name) ?? 0), 0);
