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
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
};

/** Undefined for what is no JSON object. */
export const parseObject = (text: string): Readonly<Record<string, unknown>> | undefined => {
  const value = parseJson(text);
  return isRecord(value) ? value : undefined;
};

export type WeightFormat = 'safetensors' | 'bin' | 'onnx';

export type OfferedWeights = Readonly<Record<WeightFormat, boolean>>;

/** Decides from config.json which weights to use, of those offered; may throw a ModelError, before anything big is fetched. */
export type ChooseWeights = (
  config: Readonly<Record<string, unknown>>,
  offered: OfferedWeights,
  modelId: string,
) => WeightFormat;

// Folders: modules.json says where the model itself lies, and the modules behind it.

export interface Folders {
  /** Of config.json, tokenizer.json and the weights; empty for the repository's own, else as `0_Transformer`. */
  readonly main: string;
  /** Of the other modules, as `1_Pooling`. */
  readonly modules: readonly string[];
  /** Whether the first module is a table of token vectors, which has no config.json of its own. */
  readonly isStatic: boolean;
}

/** Never a path that leads out of the repository. */
const FOLDER = /^[A-Za-z0-9_][A-Za-z0-9._-]*(?:\/[A-Za-z0-9_][A-Za-z0-9._-]*)*$/;

export const isFolder = (name: string): boolean => FOLDER.test(name);

/** @param modulesJson the parsed file; undefined where there is none */
export const foldersOf = (modulesJson: unknown): Folders => {
  const [first, ...others] = Array.isArray(modulesJson) ? modulesJson.filter(isRecord) : [];
  const folderOf = (module: Readonly<Record<string, unknown>>): string => {
    const folder = module['path'] ?? '';
    if (folder === '' || folder === '.') return '';
    if (typeof folder === 'string' && isFolder(folder)) return folder;
    throw new ModelError('UnsupportedFiles', `modules.json: ${JSON.stringify(folder)} is no folder of the repository`);
  };
  return {
    main: first === undefined ? '' : folderOf(first),
    modules: others.map(folderOf).filter((folder) => folder !== ''),
    isStatic: String(first?.['type']).endsWith('StaticEmbedding'),
  };
};

/** A file's name in one of the folders. */
export const inFolder = (folder: string, name: string): string => (folder === '' ? name : `${folder}/${name}`);

// Which files.

interface TensorFiles {
  readonly whole: string;
  readonly index: string;
  readonly shard: RegExp;
}

const TENSOR_FILES = {
  safetensors: {
    whole: 'model.safetensors',
    index: 'model.safetensors.index.json',
    shard: /^model-\d{5}-of-\d{5}\.safetensors$/,
  },
  bin: {
    whole: 'pytorch_model.bin',
    index: 'pytorch_model.bin.index.json',
    shard: /^pytorch_model-\d{5}-of-\d{5}\.bin$/,
  },
} as const satisfies Readonly<Record<string, TensorFiles>>;
export type TensorFormat = keyof typeof TENSOR_FILES;

/** In order of preference; beside a graph of the repository's own, modules have theirs in either. */
const TENSOR_FORMATS: readonly TensorFormat[] = ['safetensors', 'bin'];
const ONNX_MODELS = ['onnx/model.onnx', 'model.onnx'];

/** At the repository's root, wherever the model lies. */
export const MODULES_FILE = 'modules.json';
export const SENTENCE_SETTINGS = 'config_sentence_transformers.json';
export const ADAPTER_CONFIG = 'adapter_config.json';

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
  ADAPTER_CONFIG,
]);

const SENTENCE_CONFIG = /^sentence_[a-z0-9_-]+_config\.json$/;
const POOLING_CONFIG = /^\d+_Pooling\/config\.json$/;

export const requiredFiles = ({ main, isStatic }: Folders): string[] =>
  (isStatic ? ['tokenizer.json'] : ['config.json', 'tokenizer.json']).map((name) => inFolder(main, name));

/** The files besides the weights: configuration, tokenizer, sentence-transformers modules. Always a closed list of names, never a path a hub made up. */
export const descriptiveFiles = (listing: readonly string[], folders: Folders): string[] => {
  const start = folders.main === '' ? 0 : folders.main.length + 1;
  const isOfMain = (name: string): boolean => {
    if (inFolder(folders.main, name.slice(start)) !== name) return false;
    const own = name.slice(start);
    return OPTIONAL_FILES.has(own) || SENTENCE_CONFIG.test(own) || own === 'config.json' || own === 'tokenizer.json';
  };
  const configs = new Set(folders.modules.map((folder) => inFolder(folder, 'config.json')));
  return listing.filter(
    (name) =>
      name === MODULES_FILE ||
      name === SENTENCE_SETTINGS ||
      configs.has(name) ||
      POOLING_CONFIG.test(name) ||
      isOfMain(name),
  );
};

export const onnxModelOf = (listing: readonly string[], { main }: Folders): string | undefined =>
  ONNX_MODELS.map((name) => inFolder(main, name)).find((name) => listing.includes(name));

const offersTensors = (listing: readonly string[], folder: string, format: TensorFormat): boolean => {
  const { whole, index } = TENSOR_FILES[format];
  return listing.includes(inFolder(folder, whole)) || listing.includes(inFolder(folder, index));
};

export const offeredWeights = (listing: readonly string[], folders: Folders): OfferedWeights => ({
  safetensors: offersTensors(listing, folders.main, 'safetensors'),
  bin: offersTensors(listing, folders.main, 'bin'),
  onnx: onnxModelOf(listing, folders) !== undefined,
});

export const preferSafetensors = (
  _config: Readonly<Record<string, unknown>>,
  offered: OfferedWeights,
): WeightFormat => {
  const format = (['safetensors', 'bin', 'onnx'] as const).find((one) => offered[one]);
  if (format !== undefined) return format;
  throw new ModelError(
    'UnsupportedFiles',
    'the repository has neither model.safetensors nor pytorch_model.bin nor onnx/model.onnx',
  );
};

/** The files that hold the tensors of one folder, exactly one copy of them; an index, and the shards that could be its own. */
const tensorFiles = (listing: readonly string[], folder: string, format: TensorFormat): string[] => {
  const { whole, index, shard } = TENSOR_FILES[format];
  if (listing.includes(inFolder(folder, whole))) return [inFolder(folder, whole)];
  const prefix = inFolder(folder, '');
  return listing.filter(
    (name) => name === prefix + index || (name.startsWith(prefix) && shard.test(name.slice(prefix.length))),
  );
};

/** As above, for modules: of whichever format there is. */
const moduleWeights = (listing: readonly string[], { modules }: Folders): string[] =>
  modules.flatMap((folder) => {
    const format = TENSOR_FORMATS.find((one) => offersTensors(listing, folder, one));
    return format === undefined ? [] : tensorFiles(listing, folder, format);
  });

/** The weight files of one format, those of the modules included. What lies beside an ONNX file, only the file itself can say. */
export const weightFiles = (listing: readonly string[], folders: Folders, format: WeightFormat): string[] => {
  const onnx = onnxModelOf(listing, folders);
  const own = format === 'onnx' ? (onnx === undefined ? [] : [onnx]) : tensorFiles(listing, folders.main, format);
  return [...own, ...moduleWeights(listing, folders)];
};

export const isWeightIndex = (name: string): boolean =>
  TENSOR_FORMATS.some(
    (format) => name === TENSOR_FILES[format].index || name.endsWith(`/${TENSOR_FILES[format].index}`),
  );

/** Shards that an index names, by their names in the repository; empty when the index is not what it should be. */
export const shardsOf = (indexName: string, index: unknown): string[] => {
  const map = isRecord(index) ? index['weight_map'] : undefined;
  if (!isRecord(map)) return [];
  const folder = indexName.slice(0, indexName.lastIndexOf('/') + 1);
  const isShard = (name: unknown): name is string =>
    typeof name === 'string' && TENSOR_FORMATS.some((format) => TENSOR_FILES[format].shard.test(name));
  const names = [...new Set(Object.values(map))];
  return names.every(isShard) ? names.sort().map((name) => folder + name) : [];
};

/**
 * Whether a set of names shows by itself that nothing of the description is missing. transformers' own loaders fetch
 * config, tokenizer and weights alone, which leaves a cache that looks whole but has lost the pooling and the length limit.
 */
export const isSelfEvident = (names: readonly string[], { main, isStatic }: Folders): boolean => {
  if (!names.includes(MODULES_FILE)) return false;
  const prefix = inFolder(main, '');
  const hasLimit = names.some((name) => name.startsWith(prefix) && SENTENCE_CONFIG.test(name.slice(prefix.length)));
  return isStatic || (hasLimit && names.some((name) => POOLING_CONFIG.test(name)));
};

// ModelError: the one error for a model that cannot be had or used; its reason is a condition reason of the EmbeddingModel.

export type ModelErrorReason =
  | 'InvalidModelId'
  | 'RepositoryNotFound'
  | 'RevisionNotFound'
  | 'WeightsMissing'
  | 'GatedRepository'
  | 'HubUnreachable'
  | 'CorruptWeights'
  | 'InsufficientDisk'
  | 'StoreNotWritable'
  | 'UnsupportedFiles'
  | 'UnsupportedArchitecture'
  | 'UnsafeWeights'
  | 'PromptNotFound'
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
