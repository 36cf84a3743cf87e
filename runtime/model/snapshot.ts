// A model's snapshot on disk: which of its weights are used, and what its files say. What `fetch` reports and `serve` loads.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  MODULES_FILE,
  SENTENCE_SETTINGS,
  inFolder,
  isModelError,
  ModelError,
  preferSafetensors,
} from '../../hub/files.ts';
import type { ChooseWeights } from '../../hub/files.ts';
import { openSnapshot } from '../../hub/store.ts';
import type { ModelFiles } from '../../hub/store.ts';
import { findArchitecture, positionTableOf, tokenWidthOf } from '../graph/build.ts';
import { requireKnownCode } from '../graph/leftover.ts';
import type { TensorIndex } from '../graph/weights.ts';
import { choosePooling, declaredPooling, dimensionsBehind } from './modules.ts';
import type { PoolingChoice } from './modules.ts';
import { TOKENIZER_FILE, isStatic, withStaticConfig } from './static.ts';
import { readTensorIndex } from './tensors.ts';
import { DESCRIBING_FILES, SENTENCE_FILES, describeModel, moduleConfigPaths, readName } from './description.ts';
import type { JsonFiles, ModelDescription } from './description.ts';

/** The repository's own graph is for architectures that no builder serves; without one those are refused before anything big is fetched. */
export const chooseWeights: ChooseWeights = (config, offered, modelId) => {
  try {
    requireKnownCode(config, findArchitecture(readName(config)), modelId);
  } catch (error) {
    if (!isModelError(error, 'UnsupportedArchitecture')) throw error;
    if (offered.onnx) return 'onnx';
    if (offered.safetensors || offered.bin) throw error;
  }
  return preferSafetensors(config, offered);
};

export interface OpenedModel {
  readonly files: ModelFiles;
  readonly description: ModelDescription;
}

/** What of the runtime's configuration says where the model is. */
export interface ModelPlace {
  readonly store: string;
  readonly model: string;
  readonly revision: string;
  readonly resolvedRevision: string | undefined;
}

/** Rejects with `ModelError` when the store has no such snapshot; never touches the network. */
export async function openModel(place: ModelPlace): Promise<OpenedModel> {
  const { store, model, revision: asked, resolvedRevision: revision = asked } = place;
  const files = await openSnapshot(store, model, revision, chooseWeights);
  if (files === undefined) {
    throw new ModelError(
      'WeightsMissing',
      `The store ${store} holds no complete snapshot of ${model} at ${revision}; \`fetch\` brings it.`,
    );
  }
  return { files, description: await describeSnapshot(files) };
}

/** A file by its name in the repository; undefined where there is none. */
export type ReadText = (name: string) => Promise<string | undefined>;

/** Without modules.json sentence-transformers makes modules of its own, and reads none of its other files. */
const ofSentences = new Set([SENTENCE_SETTINGS, ...SENTENCE_FILES]);

/** The JSON files that describe a model, those of its own folder by their names there; the last ones are named by the first. */
export async function describingFiles(read: ReadText, main: string): Promise<JsonFiles> {
  const found = await readJsonFiles(DESCRIBING_FILES, read, (name) =>
    // These lie at the repository's root, wherever the model itself does.
    name === MODULES_FILE || name === SENTENCE_SETTINGS ? name : inFolder(main, name),
  );
  const known = found.has(MODULES_FILE) ? found : new Map([...found].filter(([name]) => !ofSentences.has(name)));
  const modules = await readJsonFiles(moduleConfigPaths(known.get(MODULES_FILE)), read, (name) => name);
  const json = new Map([...known, ...modules]);
  if (!isStatic(json)) return json;
  return new Map([...json, ...(await readJsonFiles([TOKENIZER_FILE], read, (name) => inFolder(main, name)))]);
}

/** @param tensors those of all weight files, which say how large a table of token vectors is */
export const describeFiles = (json: JsonFiles, tensors: TensorIndex): ModelDescription =>
  describeModel(isStatic(json) ? withStaticConfig(json, tensors, json.get(TOKENIZER_FILE)) : json, positionTableOf);

export async function describeSnapshot(files: ModelFiles): Promise<ModelDescription> {
  const { snapshotDir, weights, mainFolder = '' } = files;
  const read: ReadText = async (name) => await readFile(join(snapshotDir, name), 'utf8').catch(() => undefined);
  const json = await describingFiles(read, mainFolder);
  return describeFiles(json, isStatic(json) ? await readTensorIndex(weights, '/', mainFolder) : new Map());
}

async function readJsonFiles(
  names: readonly string[],
  read: ReadText,
  placeOf: (name: string) => string,
): Promise<Map<string, unknown>> {
  const found = await Promise.all(
    names.map(async (name) => {
      const text = await read(placeOf(name));
      return text === undefined ? [] : [[name, parse(name, text)] as const];
    }),
  );
  return new Map(found.flat());
}

function parse(name: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new ModelError('UnsupportedFiles', `${name} is not valid JSON`, { cause });
  }
}

/** The termination message of a `fetch` that succeeded: what the operator records. */
export function fetchedFacts({
  files,
  description,
}: OpenedModel): Readonly<Record<string, string | number | undefined>> {
  const { maxTokens, architecture } = description;
  const [dimensions, declared] = [dimensionsOf(description, 'mean'), dimensionsOf(description, 'declared')];
  return {
    revision: files.revision,
    dimensions,
    maxTokens,
    pooling: declaredPooling(description),
    declaredDimensions: declared === dimensions ? undefined : declared,
    architecture,
  };
}

/** Numbers of a vector. */
export function dimensionsOf(description: ModelDescription, pooling: PoolingChoice): number {
  const { steps, truncateDim = Infinity } = description;
  return Math.min(dimensionsBehind(tokenWidthOf(description), choosePooling(description, pooling), steps), truncateDim);
}
