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

/** Undefined for what is no JSON object. */
export const parseObject = (text: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
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
// `1_Pooling/config.json`, `2_Dense/config.json`, `2_Dense/model.safetensors`.
const MODULE_FILE = /^\d+_[A-Za-z0-9]+\/(config\.json|model\.safetensors)$/;
const SHARD = /^model-\d{5}-of-\d{5}\.safetensors$/;

const isDescriptive = (name: string): boolean =>
  (REQUIRED_FILES as readonly string[]).includes(name) ||
  OPTIONAL_FILES.has(name) ||
  SENTENCE_CONFIG.test(name) ||
  MODULE_FILE.test(name);

/** The files besides the weights: configuration, tokenizer, sentence-transformers modules. Always a closed list of names, never a path a hub made up. */
export const descriptiveFiles = (listing: readonly string[]): string[] => listing.filter(isDescriptive);

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
