// What a repository's own files say of its model: config.json read with types, the modules and poolings of sentence-transformers. Pure.
import { isRecord } from '../../common/util/text.ts';
import { ModelError } from '../../hub/files.ts';

/** A `Dense` module of sentence-transformers, applied to the pooled vector. */
export interface DenseLayer {
  /** Its folder, e.g. `2_Dense`; its tensors are `2_Dense/linear.weight` and `.bias`. */
  readonly path: string;
  readonly outFeatures: number;
  /** By the names of transformers' ACT2FN; undefined for the identity. */
  readonly activation: string | undefined;
}

/** What the repository's files say, merged: config.json, sentence_bert_config.json, modules.json, 1_Pooling/config.json. */
export interface ModelDescription {
  /** First of config.json's `architectures`, else derived from `model_type`. */
  readonly architecture: string;
  readonly modelType: string;
  /** Longest input in tokens, special tokens included. */
  readonly maxTokens: number;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  /** Pooling the repository declares; undefined when it says nothing. */
  readonly declaredPooling: string | undefined;
  /** Dense modules of modules.json, in order. */
  readonly denseLayers: readonly DenseLayer[];
  /** Kinds of modules of modules.json that no graph computes. */
  readonly unsupportedModules: readonly string[];
  /** The whole config.json, for the graph builder. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** Parsed JSON files by their path in the repository; those that do not exist are left out. */
export type JsonFiles = ReadonlyMap<string, unknown>;

/** sentence-transformers looks for its settings under all of these names. */
const SENTENCE_FILES = ['bert', 'roberta', 'distilbert', 'camembert', 'albert', 'xlm-roberta', 'xlnet'].map(
  (name) => `sentence_${name}_config.json`,
);

/** The files worth reading before `describeModel`; the rest are named by modules.json (`moduleConfigPaths`). */
export const DESCRIBING_FILES: readonly string[] = [
  'config.json',
  'tokenizer_config.json',
  'modules.json',
  ...SENTENCE_FILES,
];

/** Where no file names a limit. */
const DEFAULT_LENGTH = 512;

/** transformers writes 10³⁰ when a tokenizer knows no limit. */
const SANE_LENGTH = 1_000_000;

/** Position tables of RoBERTa's kin start at padding id + 1. */
const OFFSET_POSITIONS = new Set(['roberta', 'xlm-roberta', 'xlm-roberta-xl', 'camembert', 'mpnet']);

const recordOf = (files: JsonFiles, path: string): Config => {
  const value = files.get(path);
  return isRecord(value) ? value : {};
};

interface Module {
  readonly path: string;
  /** `Transformer`, `Pooling`, `Dense`, `Normalize` … whatever the package path before it. */
  readonly kind: string;
}

function modulesOf(files: JsonFiles): readonly Module[] {
  const list = files.get('modules.json');
  if (!Array.isArray(list)) return [];
  return list.filter(isRecord).map((module) => ({
    path: stringOf(module, 'path', ''),
    kind: stringOf(module, 'type', '').split('.').at(-1) ?? '',
  }));
}

/** `1_Pooling/config.json` and the like, as modules.json names them. */
export const moduleConfigPaths = (modulesJson: unknown): readonly string[] =>
  modulesOf(new Map([['modules.json', modulesJson]]))
    .filter(({ path }) => path !== '')
    .map(({ path }) => `${path}/config.json`);

const POOLING_FLAGS: Readonly<Record<string, string>> = {
  pooling_mode_mean_tokens: 'mean',
  pooling_mode_cls_token: 'cls',
  pooling_mode_max_tokens: 'max',
  pooling_mode_lasttoken: 'lasttoken',
  pooling_mode_mean_sqrt_len_tokens: 'mean_sqrt_len_tokens',
  pooling_mode_weightedmean_tokens: 'weightedmean',
};

function declaredPoolingOf(files: JsonFiles, modules: readonly Module[]): string | undefined {
  const module = modules.find(({ kind }) => kind === 'Pooling');
  const config = recordOf(files, `${module?.path ?? '1_Pooling'}/config.json`);
  if (typeof config['pooling_mode'] === 'string') return config['pooling_mode'];
  const named = Object.keys(POOLING_FLAGS).filter((flag) => config[flag] === true);
  return named.length === 0 ? undefined : named.map((flag) => POOLING_FLAGS[flag]).join('+');
}

const ACTIVATION_NAMES: Readonly<Record<string, string | undefined>> = {
  Identity: undefined,
  Tanh: 'tanh',
  ReLU: 'relu',
  GELU: 'gelu',
  SiLU: 'silu',
  Sigmoid: 'sigmoid',
};

function denseLayerOf(files: JsonFiles, path: string): DenseLayer {
  const config = recordOf(files, `${path}/config.json`);
  const name = stringOf(config, 'activation_function', 'torch.nn.modules.activation.Tanh').split('.').at(-1) ?? '';
  if (!(name in ACTIVATION_NAMES)) throw unsupported(`${path}: activation ${name} is not supported.`);
  return { path, outFeatures: integerOf(config, ['out_features']), activation: ACTIVATION_NAMES[name] };
}

const COMPUTED_MODULES = new Set(['Transformer', 'Pooling', 'Dense', 'Normalize', 'Dropout']);

function maxTokensOf(files: JsonFiles, config: Config, modelType: string): number {
  const offset = OFFSET_POSITIONS.has(modelType) ? integerOf(config, ['pad_token_id'], 1) + 1 : 0;
  const table = integerOf(config, ['max_position_embeddings', 'n_positions'], DEFAULT_LENGTH + offset) - offset;
  const sentenceFile = SENTENCE_FILES.find((name) => files.has(name)) ?? '';
  const declared = recordOf(files, sentenceFile)['max_seq_length'];
  // sentence-transformers lets its own file overrule the tokenizer; the position table still is the end.
  if (typeof declared === 'number' && declared > 0) return Math.min(declared, table);
  const tokenizer = recordOf(files, 'tokenizer_config.json')['model_max_length'];
  return typeof tokenizer === 'number' && tokenizer > 0 && tokenizer < SANE_LENGTH ? Math.min(tokenizer, table) : table;
}

export function describeModel(files: JsonFiles): ModelDescription {
  const config = files.get('config.json');
  if (!isRecord(config)) throw unsupported('The repository has no config.json.');
  const classes = config['architectures'];
  const modelType = stringOf(config, 'model_type', '');
  const first: unknown = Array.isArray(classes) ? classes[0] : undefined;
  const modules = modulesOf(files);
  return {
    architecture: typeof first === 'string' ? first : modelType,
    modelType,
    maxTokens: maxTokensOf(files, config, modelType),
    vocabularySize: integerOf(config, ['vocab_size']),
    hiddenSize: integerOf(config, ['hidden_size', 'n_embd', 'dim', 'd_model']),
    declaredPooling: declaredPoolingOf(files, modules),
    denseLayers: modules.filter(({ kind }) => kind === 'Dense').map(({ path }) => denseLayerOf(files, path)),
    unsupportedModules: modules.map(({ kind }) => kind).filter((kind) => !COMPUTED_MODULES.has(kind)),
    config,
  };
}

// Typed reading of config.json: every value a builder uses is checked here.

export type Config = Readonly<Record<string, unknown>>;

/** The model is sound, but kubembed does not compute it. */
export const unsupported = (message: string): ModelError => new ModelError('UnsupportedArchitecture', message);

const wrong = (name: string, value: unknown, wanted: string): ModelError =>
  unsupported(`config.json: ${name} is ${JSON.stringify(value)}; ${wanted} is needed.`);

/** The first of `names` that is set, as a number; `fallback` when none is. */
export function numberOf(config: Config, names: readonly string[], fallback?: number): number {
  const name = names.find((candidate) => config[candidate] !== undefined && config[candidate] !== null);
  const value = name === undefined ? fallback : config[name];
  if (typeof value !== 'number' || !Number.isFinite(value)) throw wrong(name ?? names.join(' or '), value, 'a number');
  return value;
}

export function integerOf(config: Config, names: readonly string[], fallback?: number): number {
  const value = numberOf(config, names, fallback);
  if (!Number.isSafeInteger(value) || value < 0) throw wrong(names.join(' or '), value, 'a whole number');
  return value;
}

export function stringOf(config: Config, name: string, fallback: string): string {
  const value = config[name] ?? fallback;
  if (typeof value !== 'string') throw wrong(name, value, 'a string');
  return value;
}

/** Refuses a setting that the builder does not compute, rather than to give wrong vectors. */
export function requireSetting(config: Config, name: string, allowed: readonly unknown[]): void {
  const value = config[name];
  if (value === undefined || value === null || allowed.includes(value)) return;
  throw unsupported(
    `config.json: ${name} ${JSON.stringify(value)} is not supported; supported: ${allowed.map((one) => JSON.stringify(one)).join(', ')}.`,
  );
}

/** Hidden size over heads; refuses what does not divide. */
export function headSizeOf(hiddenSize: number, heads: number): number {
  if (heads <= 0 || hiddenSize % heads !== 0) throw wrong('num_attention_heads', heads, `a divisor of ${hiddenSize}`);
  return hiddenSize / heads;
}
