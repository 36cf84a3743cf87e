// What a repository holds: which of its files kubembed needs, what proves them, and whether they make a usable model. Pure.
import { isRecord } from '../common/util/text.ts';

/** A file of a commit, with what proves that its bytes are right. */
export interface RepositoryFile {
  readonly name: string;
  readonly size: number;
  /** 64 hex digits: SHA-256 of the content. 40: git's blob id. Also the name of the blob in the store. */
  readonly etag: string;
}

export const isEtag = (etag: string): boolean => /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(etag);

/** Undefined for what is no JSON. */
export const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** Undefined for what is no JSON object. */
export const parseObject = (text: string): Readonly<Record<string, unknown>> | undefined => {
  const value = parseJson(text);
  return isRecord(value) ? value : undefined;
};

export type WeightFormat = 'safetensors' | 'onnx';

export type OfferedWeights = Readonly<Record<WeightFormat, boolean>>;

/** Decides from config.json which weights to use, of those offered; may throw a ModelError, before anything big is fetched. */
export type ChooseWeights = (config: Readonly<Record<string, unknown>>, offered: OfferedWeights) => WeightFormat;

const SAFETENSORS = 'model.safetensors';
export const SAFETENSORS_INDEX = 'model.safetensors.index.json';
export const ONNX_MODEL = 'onnx/model.onnx';
const ONNX_DATA = 'onnx/model.onnx_data';

export const REQUIRED_FILES = ['config.json', 'tokenizer.json'] as const;

const OPTIONAL_FILES = new Set([
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.txt',
  'vocab.json',
  'merges.txt',
  'sentencepiece.bpe.model',
  'spiece.model',
  'tokenizer.model',
  'modules.json',
  'config_sentence_transformers.json',
]);

const SENTENCE_CONFIG = /^sentence_[a-z0-9_-]+_config\.json$/;
const SHARD = /^model-\d{5}-of-\d{5}\.safetensors$/;

export const MODULES_FILE = 'modules.json';
/** Segments that begin with a letter or digit: never a path out of the snapshot. */
const MODULE_FOLDER = /^\w[\w.-]*(\/\w[\w.-]*)*$/;

/** The folders that modules.json names, e.g. `1_Pooling` and `2_Dense_1024`; the repository's own root is none of them. */
export const moduleFolders = (modulesJson: unknown): string[] =>
  (Array.isArray(modulesJson) ? modulesJson : [])
    .map((module: unknown) => (isRecord(module) ? module['path'] : undefined))
    .filter((path): path is string => typeof path === 'string' && MODULE_FOLDER.test(path));

/** The weights of those modules that have any, one file a folder. */
export const moduleWeights = (listing: readonly string[], modulesJson: unknown): string[] =>
  moduleFolders(modulesJson).flatMap((folder) => {
    const candidates = [`${folder}/model.safetensors`, `${folder}/pytorch_model.bin`];
    return candidates.filter((name) => listing.includes(name)).slice(0, 1);
  });

/** The files besides the weights: configuration, tokenizer, sentence-transformers modules. Always a closed list of names, never a path a hub made up. */
export const descriptiveFiles = (listing: readonly string[], modulesJson: unknown): string[] => {
  const moduleConfigs = new Set(moduleFolders(modulesJson).map((folder) => `${folder}/config.json`));
  return listing.filter(
    (name) =>
      (REQUIRED_FILES as readonly string[]).includes(name) ||
      OPTIONAL_FILES.has(name) ||
      SENTENCE_CONFIG.test(name) ||
      moduleConfigs.has(name),
  );
};

export const offeredWeights = (listing: readonly string[]): OfferedWeights => ({
  safetensors: listing.includes(SAFETENSORS) || listing.includes(SAFETENSORS_INDEX),
  onnx: listing.includes(ONNX_MODEL),
});

export const preferSafetensors: ChooseWeights = (_config, offered) => {
  if (offered.safetensors) return 'safetensors';
  if (offered.onnx) return 'onnx';
  throw new ModelError('UnsupportedFiles', 'the repository has neither model.safetensors nor onnx/model.onnx');
};

/** The weight files of one format; exactly one copy of the weights. */
export const weightFiles = (listing: readonly string[], format: WeightFormat): string[] => {
  if (format === 'onnx') return listing.filter((name) => name === ONNX_MODEL || name === ONNX_DATA);
  if (listing.includes(SAFETENSORS)) return [SAFETENSORS];
  return listing.filter((name) => name === SAFETENSORS_INDEX || SHARD.test(name));
};

/** Throws when a repository lacks what every model needs. */
export const requireUsable = (modelId: string, listing: readonly string[]): void => {
  const missing = REQUIRED_FILES.filter((name) => !listing.includes(name));
  if (missing.length === 0) return;
  throw new ModelError(
    'UnsupportedFiles',
    `${modelId} has no ${missing.join(' and no ')}; kubembed needs a repository with config.json, tokenizer.json and model.safetensors`,
  );
};

/** Shards that an index names; empty when the index is not what it should be. */
export const shardsOf = (index: unknown): string[] => {
  const map = isRecord(index) ? index['weight_map'] : undefined;
  if (!isRecord(map)) return [];
  const names = [...new Set(Object.values(map))];
  return names.every((name) => typeof name === 'string' && SHARD.test(name)) ? (names as string[]).sort() : [];
};

/**
 * Whether a set of names shows by itself that nothing of the description is missing. transformers' own loaders fetch
 * config, tokenizer and weights alone, which leaves a cache that looks whole but has lost the pooling and the length limit.
 */
export const isSelfEvident = (names: readonly string[]): boolean =>
  names.includes('modules.json') &&
  names.some((name) => SENTENCE_CONFIG.test(name)) &&
  names.some((name) => /^\d+_Pooling\/config\.json$/.test(name));

// ModelError: the one error for a model that cannot be had or used; its reason is a condition reason of the EmbeddingModel.

export type ModelErrorReason =
  | 'InvalidModelId'
  | 'RepositoryNotFound'
  | 'RevisionNotFound'
  | 'GatedRepository'
  | 'HubUnreachable'
  | 'CorruptWeights'
  | 'InsufficientDisk'
  | 'StoreNotWritable'
  | 'UnsupportedFiles'
  | 'UnsupportedArchitecture'
  | 'Aborted';

export class ModelError extends Error {
  override readonly name = 'ModelError';
  readonly reason: ModelErrorReason;

  constructor(reason: ModelErrorReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

export const isModelError = (error: unknown, reason?: ModelErrorReason): error is ModelError =>
  error instanceof ModelError && (reason === undefined || error.reason === reason);
