// A repository as the hub shows it: the listing, small files, and the first bytes of the weights, which name every tensor.
import { DESCRIBING_FILES, moduleConfigPaths } from '../../runtime/model/describe.ts';
import { offeredWeights, SAFETENSORS_INDEX, shardsOf, weightFiles } from '../../hub/files.ts';
import type { TensorEntry } from '../../runtime/graph/types.ts';
import { describeFile, listRevision, readRemoteFile } from '../../hub/listing.ts';
import type { HubRepository, Listing } from '../../hub/listing.ts';
import { createHubClient, DEFAULT_TIMEOUTS } from '../../hub/client.ts';
import type { HubOptions, RetryPolicy } from '../../hub/client.ts';
import { ModelError } from '../../hub/errors.ts';
import { parseHeader } from '../../runtime/model/safetensors.ts';
import { checkModelId, checkRevision } from '../../hub/paths.ts';
import type { ModelRevision } from '../../hub/paths.ts';
import { PROMPTS_FILE } from './repository.ts';
import type { Repository } from './repository.ts';

const HEADER_LIMIT = 32 << 20;
const LENGTH_BYTES = 8;

interface Visit extends HubRepository {
  readonly listing: Listing;
}

async function readJson(visit: Visit, name: string): Promise<readonly (readonly [string, unknown])[]> {
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

async function readHeader(visit: Visit, name: string): Promise<Map<string, TensorEntry> | undefined> {
  const size = await sizeOf(visit, name);
  const prefix = await readRemoteFile(visit, name, `0-${LENGTH_BYTES - 1}`);
  if (prefix === undefined || prefix.byteLength < LENGTH_BYTES) return undefined;
  const length = Number(prefix.readBigUInt64LE(0));
  if (length > HEADER_LIMIT) return undefined;
  const header = await readRemoteFile(visit, name, `${LENGTH_BYTES}-${LENGTH_BYTES + length - 1}`);
  return header && parseHeader(header, name, size);
}

const MODULE_WEIGHTS = /^\d+_[A-Za-z0-9]+\/model\.safetensors$/;

async function readTensors(visit: Visit): Promise<Map<string, TensorEntry> | undefined> {
  const { names } = visit.listing;
  if (!offeredWeights(names).safetensors) return undefined;
  const wanted = weightFiles(names, 'safetensors');
  const [[, index] = []] = wanted.includes(SAFETENSORS_INDEX) ? await readJson(visit, SAFETENSORS_INDEX) : [];
  const weights = index === undefined ? wanted : shardsOf(index);
  const tensors = new Map<string, TensorEntry>();
  for (const name of [...weights, ...names.filter((one) => MODULE_WEIGHTS.test(one))]) {
    const header = await readHeader(visit, name);
    if (header === undefined) return undefined;
    const folder = name.includes('/') ? name.slice(0, name.lastIndexOf('/') + 1) : '';
    for (const [tensor, entry] of header) tensors.set(folder + tensor, entry);
  }
  return tensors;
}

const weightNames = (names: readonly string[]): readonly string[] => [
  ...weightFiles(names, 'safetensors'),
  ...weightFiles(names, 'onnx'),
];

async function visitRepository(visit: Visit): Promise<Repository> {
  const { listing, modelId } = visit;
  const plain = await Promise.all([...DESCRIBING_FILES, PROMPTS_FILE].map((name) => readJson(visit, name)));
  const known = new Map(plain.flat());
  const modules = await Promise.all(moduleConfigPaths(known.get('modules.json')).map((name) => readJson(visit, name)));
  const files = new Map(listing.names.map((name) => [name, listing.known.get(name)?.size]));
  for (const name of weightNames(listing.names)) files.set(name, await sizeOf(visit, name));
  const tensors = await readTensors(visit);
  return {
    modelId,
    source: 'hub',
    revision: listing.sha,
    files,
    json: new Map([...known, ...modules.flat()]),
    ...(tensors && { tensors }),
  };
}

/** @throws ModelError, GraphError */
export async function repositoryOnHub(
  wanted: ModelRevision,
  options: HubOptions,
  signal: AbortSignal,
): Promise<Repository> {
  checkModelId(wanted.modelId);
  checkRevision(wanted.revision);
  const hub = createHubClient(options);
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
