// What is known of a model's repository before its weights are fetched, from the hub or from the store: files, small JSON files, tensor headers.
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Environment } from '../common/util/env.ts';
import { homeFolder } from '../common/util/process.ts';
import { createHubClient, DEFAULT_TIMEOUTS } from '../hub/client.ts';
import type { RetryPolicy } from '../hub/client.ts';
import { ModelError } from '../hub/files.ts';
import { inFolder, parseJson } from '../hub/files.ts';
import { describeFile, listRevision, readRemoteFile } from '../hub/listing.ts';
import type { HubRepository, Listing } from '../hub/listing.ts';
import { checkModelId, checkRevision, readModelSettings } from '../hub/paths.ts';
import type { HubSettings, ModelRevision } from '../hub/paths.ts';
import { onnxFactsOf, readOnnxFacts } from '../hub/onnx-data.ts';
import type { OnnxFacts } from '../hub/onnx-data.ts';
import { planSnapshot } from '../hub/plan.ts';
import type { RepositoryView, SnapshotPlan } from '../hub/plan.ts';
import { openSnapshot, viewSnapshot } from '../hub/store.ts';
import { requireTokenizer } from '../runtime/engine/tokenizer.ts';
import type { TensorEntry, TensorIndex } from '../runtime/graph/weights.ts';
import type { JsonFiles } from '../runtime/model/description.ts';
import { readTorchFile } from '../runtime/model/pytorch.ts';
import { parseHeader } from '../runtime/model/safetensors.ts';
import { chooseWeights, describeFiles, describingFiles } from '../runtime/model/snapshot.ts';
import type { ReadText } from '../runtime/model/snapshot.ts';
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
  /** Of the repository's own graph, where that is used and can be looked at. */
  readonly onnx: OnnxFacts | undefined;
}

// Where they are looked for, as every Hugging Face tool reads it from the environment.

export const storeFolder = (given: string | undefined, env: Environment): string =>
  given ?? readModelSettings(env, homeFolder(env)).store;

export const hubOptions = (env: Environment): HubSettings => readModelSettings(env, homeFolder(env)).hub;

/** Where the repository's small files come from, by their names in it. */
interface Source {
  readonly text: ReadText;
  readonly tensors: () => Promise<TensorIndex | undefined>;
  /** Undefined where the graph is too large to be looked at. */
  readonly onnx: (name: string) => Promise<OnnxFacts | undefined>;
}

/** All that the runtime's start would read of it, in its order. Rejects with the ModelError that the start would end with. */
async function evidenceOf({ folders, onnxModel }: SnapshotPlan, source: Source) {
  const json = await describingFiles(source.text, folders.main);
  const tensors = await source.tensors();
  const { maxTokens, lowerCase } = describeFiles(json, tensors ?? new Map());
  const ownText = async (name: string): Promise<string | undefined> => await source.text(inFolder(folders.main, name));
  await requireTokenizer(ownText, { maxTokens, isBare: folders.isStatic, lowerCase });
  return { json, tensors, onnx: onnxModel === undefined ? undefined : await source.onnx(onnxModel) };
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

/** A graph that keeps its tensors beside itself is small. */
const MAX_GRAPH_BYTES = 32 << 20;

async function fetchOnnxFacts(visit: Visit, name: string): Promise<OnnxFacts | undefined> {
  if ((await sizeOf(visit, name)) > MAX_GRAPH_BYTES) return undefined;
  const bytes = await readRemoteFile(visit, name);
  return bytes && (await onnxFactsOf(bytes, name));
}

async function visitRepository(visit: Visit): Promise<Repository> {
  const { listing, modelId } = visit;
  const view = viewOf(visit);
  const { plan, missing } = await planSnapshot(view, chooseWeights);
  if (plan === undefined) {
    throw new ModelError('UnsupportedFiles', `${modelId} has no ${missing.join(' and no ')}: it is no whole model`);
  }
  const source: Source = {
    text: async (name) =>
      listing.names.includes(name) ? (await readRemoteFile(visit, name))?.toString('utf8') : undefined,
    tensors: async () => await readTensors(visit, plan),
    onnx: async (name) => await fetchOnnxFacts(visit, name),
  };
  const evidence = await evidenceOf(plan, source);
  const files = new Map(listing.names.map((name) => [name, listing.known.get(name)?.size]));
  for (const name of weightsOf(plan)) files.set(name, await sizeOf(visit, name));
  return { modelId, source: 'hub', revision: listing.sha, files, plan, ...evidence };
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
  const evidence = await evidenceOf(plan, {
    text: async (name) => await readFile(join(folder, name), 'utf8').catch(() => undefined),
    tensors: async () => await readTensorIndex(snapshot.weights, '/', snapshot.mainFolder),
    onnx: async (name) => await readOnnxFacts(join(folder, name), name),
  });
  return {
    modelId: wanted.modelId,
    source: 'store',
    revision: snapshot.revision,
    files: new Map(await Promise.all(sizes)),
    plan,
    ...evidence,
  };
}

export const weightBytesOf = ({ files, plan }: Repository): number =>
  weightsOf(plan).reduce((sum, name) => sum + (files.get(name) ?? 0), 0);
