// What is known of a model's repository before its weights are fetched, from the hub or from the store: files, small JSON files, tensor headers.
import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Environment } from '../common/util/env.ts';
import { createHubClient, DEFAULT_TIMEOUTS } from '../hub/client.ts';
import type { RetryPolicy } from '../hub/client.ts';
import { ModelError } from '../hub/files.ts';
import { moduleWeights, offeredWeights, SAFETENSORS_INDEX, shardsOf, weightFiles } from '../hub/files.ts';
import { describeFile, listRevision, readRemoteFile } from '../hub/listing.ts';
import type { HubRepository, Listing } from '../hub/listing.ts';
import { checkModelId, checkRevision, readModelSettings } from '../hub/paths.ts';
import type { HubSettings, ModelRevision } from '../hub/paths.ts';
import { listSnapshot, openSnapshot } from '../hub/store.ts';
import type { TensorEntry, TensorIndex } from '../runtime/graph/weights.ts';
import { DESCRIBING_FILES, moduleConfigPaths } from '../runtime/model/description.ts';
import type { JsonFiles } from '../runtime/model/description.ts';
import { parseHeader, readHeader } from '../runtime/model/safetensors.ts';

export interface Repository {
  readonly modelId: string;
  readonly source: 'hub' | 'store';
  /** Commit sha. */
  readonly revision: string;
  /** Every file name; its size where known. */
  readonly files: ReadonlyMap<string, number | undefined>;
  readonly json: JsonFiles;
  /** Out of the headers of the safetensors files; undefined when they could not be read. */
  readonly tensors: TensorIndex | undefined;
}

/** Beside what describes the model: the prompts that its authors trained it with. */
export const PROMPTS_FILE = 'config_sentence_transformers.json';

// Where they are looked for, as every Hugging Face tool reads it from the environment.

export const storeFolder = (given: string | undefined, env: Environment): string =>
  given ?? readModelSettings(env, env['HOME'] ?? homedir()).store;

export const hubOptions = (env: Environment): HubSettings => readModelSettings(env, homedir()).hub;

type NamedJson = readonly (readonly [string, unknown])[];

/** The JSON files that describe a model; the last ones are named by the first. */
async function describingFiles(read: (name: string) => Promise<NamedJson>): Promise<JsonFiles> {
  const known = new Map((await Promise.all(DESCRIBING_FILES.map(read))).flat());
  const modules = await Promise.all(moduleConfigPaths(known.get('modules.json')).map(read));
  return new Map([...known, ...modules.flat()]);
}

/** Tensors of a file in a folder of the repository carry its name: `2_Dense/linear.weight`. */
const named = (file: string, header: ReadonlyMap<string, TensorEntry>): (readonly [string, TensorEntry])[] => {
  const folder = file.slice(0, file.lastIndexOf('/') + 1);
  return [...header].map(([tensor, entry]) => [folder + tensor, entry] as const);
};

// On the hub.

const HEADER_LIMIT = 32 << 20;
const LENGTH_BYTES = 8;

interface Visit extends HubRepository {
  readonly listing: Listing;
}

async function readJson(visit: Visit, name: string): Promise<NamedJson> {
  if (!visit.listing.names.includes(name)) return [];
  const bytes = await readRemoteFile(visit, name);
  try {
    return [[name, JSON.parse((bytes ?? Buffer.alloc(0)).toString('utf8')) as unknown]];
  } catch (cause) {
    throw new ModelError('UnsupportedFiles', `${name} is not valid JSON`, { cause });
  }
}

const sizeOf = async (visit: Visit, name: string): Promise<number> =>
  (visit.listing.known.get(name) ?? (await describeFile(visit, name))).size;

async function fetchHeader(visit: Visit, name: string): Promise<Map<string, TensorEntry> | undefined> {
  const size = await sizeOf(visit, name);
  const prefix = await readRemoteFile(visit, name, `0-${LENGTH_BYTES - 1}`);
  if (prefix === undefined || prefix.byteLength < LENGTH_BYTES) return undefined;
  const length = Number(prefix.readBigUInt64LE(0));
  if (length > HEADER_LIMIT) return undefined;
  const header = await readRemoteFile(visit, name, `${LENGTH_BYTES}-${LENGTH_BYTES + length - 1}`);
  return header && parseHeader(header, name, size);
}

async function readTensors(visit: Visit, modulesJson: unknown): Promise<Map<string, TensorEntry> | undefined> {
  const { names } = visit.listing;
  if (!offeredWeights(names).safetensors) return undefined;
  const wanted = weightFiles(names, 'safetensors');
  const [[, index] = []] = wanted.includes(SAFETENSORS_INDEX) ? await readJson(visit, SAFETENSORS_INDEX) : [];
  const weights = index === undefined ? wanted : shardsOf(index);
  const tensors: (readonly [string, TensorEntry])[] = [];
  for (const name of [...weights, ...moduleWeights(names, modulesJson)]) {
    const header = await fetchHeader(visit, name);
    if (header === undefined) return undefined;
    tensors.push(...named(name, header));
  }
  return new Map(tensors);
}

async function visitRepository(visit: Visit): Promise<Repository> {
  const { listing, modelId } = visit;
  const json = await describingFiles(async (name) => await readJson(visit, name));
  const files = new Map(listing.names.map((name) => [name, listing.known.get(name)?.size]));
  const weights = [...weightFiles(listing.names, 'safetensors'), ...weightFiles(listing.names, 'onnx')];
  for (const name of weights) files.set(name, await sizeOf(visit, name));
  return {
    modelId,
    source: 'hub',
    revision: listing.sha,
    files,
    json,
    tensors: await readTensors(visit, json.get('modules.json')),
  };
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

/** A file that cannot be read says nothing. */
async function readStored(folder: string, name: string): Promise<NamedJson> {
  try {
    return [[name, JSON.parse(await readFile(join(folder, name), 'utf8')) as unknown]];
  } catch {
    return [];
  }
}

/** Undefined when the store holds no whole snapshot of it. */
export async function repositoryInStore(store: string, wanted: ModelRevision): Promise<Repository | undefined> {
  const snapshot = await openSnapshot(store, wanted.modelId, wanted.revision);
  if (snapshot === undefined) return undefined;
  const folder = snapshot.snapshotDir;
  const names = await listSnapshot(folder);
  const sizes = names.map(async (name) => [name, (await stat(join(folder, name))).size] as const);
  const files = new Map(await Promise.all(sizes));
  const weights = names.filter((name) => name.endsWith('.safetensors'));
  const headers = weights.map(async (name) => named(name, await readHeader(join(folder, name), name)));
  const tensors = new Map((await Promise.all(headers)).flat());
  return {
    modelId: wanted.modelId,
    source: 'store',
    revision: snapshot.revision,
    files,
    json: await describingFiles(async (name) => await readStored(folder, name)),
    tensors: tensors.size > 0 ? tensors : undefined,
  };
}
