// What is known of a model's repository before its weights are fetched, from the hub or from the store: files, small JSON files, tensor headers.
import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Environment } from '../common/util/env.ts';
import type { HubOptions } from '../hub/fetch-types.ts';
import { offeredWeights, SAFETENSORS_INDEX, shardsOf, weightFiles } from '../hub/files.ts';
import { createHubHttp, DEFAULT_TIMEOUTS, discardBody, readBody, refuseTransient } from '../hub/hub-http.ts';
import type { HubHttp } from '../hub/hub-http.ts';
import { retrying } from '../hub/hub-retry.ts';
import type { RetryContext } from '../hub/hub-retry.ts';
import { asUnreachable, describeFile, filePath, listRevision, refusal } from '../hub/hub.ts';
import type { Asked, Listing } from '../hub/hub.ts';
import { checkModelId, checkRevision, locateStore } from '../hub/store-paths.ts';
import { listSnapshot, openSnapshot } from '../hub/store.ts';
import type { TensorEntry, TensorIndex } from '../runtime/graph/types.ts';
import { DESCRIBING_FILES, moduleConfigPaths } from '../runtime/model/describe.ts';
import type { JsonFiles } from '../runtime/model/describe.ts';
import { ModelError } from '../runtime/model/errors.ts';
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
const PLAIN_FILES = [...DESCRIBING_FILES, PROMPTS_FILE];

// Where they are looked for, as every Hugging Face tool reads it from the environment.

export const storeFolder = (given: string | undefined, env: Environment): string =>
  given ??
  locateStore({
    kubembedStore: env['KUBEMBED_STORE'],
    hfHubCache: env['HF_HUB_CACHE'],
    hfHome: env['HF_HOME'],
    xdgCacheHome: env['XDG_CACHE_HOME'],
    home: env['HOME'] ?? homedir(),
  });

export const hubOptions = (env: Environment): HubOptions => ({
  ...(env['HF_ENDPOINT'] ? { endpoint: env['HF_ENDPOINT'] } : {}),
  ...(env['HF_TOKEN'] ? { token: env['HF_TOKEN'] } : {}),
  offline: ['1', 'on', 'yes', 'true'].includes((env['HF_HUB_OFFLINE'] ?? '').toLowerCase()),
});

type NamedJson = readonly (readonly [string, unknown])[];

/** The JSON files that describe a model; the last ones are named by the first. */
async function describingFiles(read: (name: string) => Promise<NamedJson>): Promise<JsonFiles> {
  const known = new Map((await Promise.all(PLAIN_FILES.map(read))).flat());
  const modules = await Promise.all(moduleConfigPaths(known.get('modules.json')).map(read));
  return new Map([...known, ...modules.flat()]);
}

/** Tensors of a file in a folder of the repository carry its name: `2_Dense/linear.weight`. */
const named = (file: string, header: ReadonlyMap<string, TensorEntry>): (readonly [string, TensorEntry])[] => {
  const folder = file.slice(0, file.lastIndexOf('/') + 1);
  return [...header].map(([tensor, entry]) => [folder + tensor, entry] as const);
};

// On the hub.

const JSON_LIMIT = 64 << 20;
const HEADER_LIMIT = 32 << 20;
const LENGTH_BYTES = 8;

interface Visit {
  readonly hub: HubHttp;
  readonly asked: Asked;
  readonly listing: Listing;
  readonly retry: RetryContext;
}

async function readPart({ hub, asked, retry }: Visit, name: string, range?: string): Promise<Buffer | undefined> {
  const { signal } = retry;
  const once = async (): Promise<Buffer | undefined> => {
    const headers = range === undefined ? {} : { headers: { range: `bytes=${range}` } };
    const response = await hub.send(filePath(asked.modelId, asked.revision, name), { signal, ...headers });
    refuseTransient(response, Date.now());
    if (response.status >= 400) {
      discardBody(response);
      throw refusal(response, asked, hub);
    }
    // The whole file instead of its beginning: that would be the weights.
    if (range !== undefined && response.status !== 206) {
      discardBody(response);
      return undefined;
    }
    return await readBody(response, JSON_LIMIT, signal);
  };
  try {
    return await retrying(retry, name, once);
  } catch (error) {
    throw asUnreachable(error, asked.modelId, hub);
  }
}

async function readJson(visit: Visit, name: string): Promise<NamedJson> {
  if (!visit.listing.names.includes(name)) return [];
  const bytes = await readPart(visit, name);
  try {
    return [[name, JSON.parse((bytes ?? Buffer.alloc(0)).toString('utf8')) as unknown]];
  } catch (cause) {
    throw new ModelError('UnsupportedFiles', `${name} is not valid JSON`, { cause });
  }
}

const sizeOf = async ({ hub, asked, listing, retry }: Visit, name: string): Promise<number> =>
  (listing.known.get(name) ?? (await describeFile(hub, asked, name, retry))).size;

async function fetchHeader(visit: Visit, name: string): Promise<Map<string, TensorEntry> | undefined> {
  const size = await sizeOf(visit, name);
  const prefix = await readPart(visit, name, `0-${LENGTH_BYTES - 1}`);
  if (prefix === undefined || prefix.byteLength < LENGTH_BYTES) return undefined;
  const length = Number(prefix.readBigUInt64LE(0));
  if (length > HEADER_LIMIT) return undefined;
  const header = await readPart(visit, name, `${LENGTH_BYTES}-${LENGTH_BYTES + length - 1}`);
  return header && parseHeader(header, name, size);
}

const MODULE_WEIGHTS = /^\d+_[A-Za-z0-9]+\/model\.safetensors$/;

async function readTensors(visit: Visit): Promise<Map<string, TensorEntry> | undefined> {
  const { names } = visit.listing;
  if (!offeredWeights(names).safetensors) return undefined;
  const wanted = weightFiles(names, 'safetensors');
  const [[, index] = []] = wanted.includes(SAFETENSORS_INDEX) ? await readJson(visit, SAFETENSORS_INDEX) : [];
  const weights = index === undefined ? wanted : shardsOf(index);
  const tensors: (readonly [string, TensorEntry])[] = [];
  for (const name of [...weights, ...names.filter((one) => MODULE_WEIGHTS.test(one))]) {
    const header = await fetchHeader(visit, name);
    if (header === undefined) return undefined;
    tensors.push(...named(name, header));
  }
  return new Map(tensors);
}

async function visitRepository(visit: Visit): Promise<Repository> {
  const { listing, asked } = visit;
  const json = await describingFiles(async (name) => await readJson(visit, name));
  const files = new Map(listing.names.map((name) => [name, listing.known.get(name)?.size]));
  const weights = [...weightFiles(listing.names, 'safetensors'), ...weightFiles(listing.names, 'onnx')];
  for (const name of weights) files.set(name, await sizeOf(visit, name));
  const { modelId } = asked;
  return { modelId, source: 'hub', revision: listing.sha, files, json, tensors: await readTensors(visit) };
}

/** @throws ModelError, GraphError */
export async function repositoryOnHub(asked: Asked, options: HubOptions, signal: AbortSignal): Promise<Repository> {
  checkModelId(asked.modelId);
  checkRevision(asked.revision);
  const hub = createHubHttp(options);
  const timeouts = { ...DEFAULT_TIMEOUTS, attempts: 2, maxBackoffMs: 2000 };
  const retry: RetryContext = {
    timeouts,
    unreachableAttempts: 1,
    signal,
    random: Math.random,
    onEvent: () => undefined,
  };
  try {
    const listing = await listRevision(hub, asked, retry);
    return await visitRepository({ hub, asked: { ...asked, revision: listing.sha }, listing, retry });
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
export async function repositoryInStore(
  store: string,
  asked: { readonly modelId: string; readonly revision: string },
): Promise<Repository | undefined> {
  const snapshot = await openSnapshot(store, asked.modelId, asked.revision);
  if (snapshot === undefined) return undefined;
  const folder = snapshot.snapshotDir;
  const names = await listSnapshot(folder);
  const sizes = names.map(async (name) => [name, (await stat(join(folder, name))).size] as const);
  const files = new Map(await Promise.all(sizes));
  const weights = names.filter((name) => name.endsWith('.safetensors'));
  const headers = weights.map(async (name) => named(name, await readHeader(join(folder, name), name)));
  const tensors = new Map((await Promise.all(headers)).flat());
  return {
    modelId: asked.modelId,
    source: 'store',
    revision: snapshot.revision,
    files,
    json: await describingFiles(async (name) => await readStored(folder, name)),
    tensors: tensors.size > 0 ? tensors : undefined,
  };
}
