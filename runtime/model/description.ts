// What a repository's own files say of its model: config.json read with types, limits, and the modules behind the model. Pure.
import { isRecord } from '../../common/util/text.ts';
import { ModelError, SENTENCE_SETTINGS, foldersOf } from '../../hub/files.ts';
import { readModules } from './modules.ts';
import type { Modules, Pooling } from './modules.ts';
import { readPrompts } from './prompts.ts';
import type { Prompts } from './prompts.ts';

/** What the repository's files say, merged: config.json, sentence_bert_config.json, modules.json, 1_Pooling/config.json. */
export interface ModelDescription extends Modules {
  /** First of config.json's `architectures`, else derived from `model_type`. */
  readonly architecture: string;
  readonly modelType: string;
  /** Longest input in tokens, special tokens included. */
  readonly maxTokens: number;
  /** Whether texts are put into lower case whatever the tokenizer's files say. */
  readonly lowerCase: boolean;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  /** What is left of each vector, where the repository cuts them. */
  readonly truncateDim: number | undefined;
  readonly prompts: Prompts;
  /** The whole config.json, for the graph builder. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** Parsed JSON files by their path in the repository; those that do not exist are left out. */
export type JsonFiles = ReadonlyMap<string, unknown>;

/** sentence-transformers looks for its settings under all of these names. */
export const SENTENCE_FILES = ['bert', 'roberta', 'distilbert', 'camembert', 'albert', 'xlm-roberta', 'xlnet'].map(
  (name) => `sentence_${name}_config.json`,
);

const SENTENCE_MODEL = 'SentenceTransformer';

/** The files worth reading before `describeModel`; the rest are named by modules.json (`moduleConfigPaths`). */
export const DESCRIBING_FILES: readonly string[] = [
  'config.json',
  'tokenizer_config.json',
  'modules.json',
  SENTENCE_SETTINGS,
  ...SENTENCE_FILES,
];

/** Where no file names a limit. */
const DEFAULT_LENGTH = 512;

/** transformers writes 10³⁰ when a tokenizer knows no limit. */
const SANE_LENGTH = 1_000_000;

/** Rows of a table that texts' positions are, where the architecture has one. */
export interface PositionTable {
  /** The first row that a token has. */
  readonly start: number;
  /** Whether no text goes beyond the table. Angles and distances have no end: there the limit that sentence-transformers' file names is not cut. */
  readonly ends: boolean;
  /** How many it has; undefined: as many as config.json says under the usual names. */
  readonly rows?: number | undefined;
}

const PLAIN_TABLE: PositionTable = { start: 0, ends: true };

const recordOf = (files: JsonFiles, path: string): Config => {
  const value = files.get(path);
  return isRecord(value) ? value : {};
};

/** `1_Pooling/config.json` and the like, as modules.json names them. */
export const moduleConfigPaths = (modulesJson: unknown): readonly string[] =>
  foldersOf(modulesJson).modules.map((folder) => `${folder}/config.json`);

/** What sentence-transformers takes where there is no modules.json: the mean, except of models made to continue texts. */
function assumedPooling(config: Config, architecture: string): Pooling | undefined {
  const continues = architecture.endsWith('ForCausalLM') && (!('is_causal' in config) || Boolean(config['is_causal']));
  return continues ? { modes: ['lastToken'], includePrompt: true } : undefined;
}

function truncateDimOf(files: JsonFiles): number | undefined {
  const value = recordOf(files, SENTENCE_SETTINGS)['truncate_dim'] ?? undefined;
  if (value === undefined || (Number.isSafeInteger(value) && (value as number) > 0)) return value as number | undefined;
  throw unsupported(`${SENTENCE_SETTINGS}: truncate_dim is ${JSON.stringify(value)}; a whole number is needed.`);
}

/** Other kinds of models than those of one vector a text are saved by sentence-transformers with the same files. */
function requireSentences(files: JsonFiles): void {
  const { model_type: type = SENTENCE_MODEL } = recordOf(files, SENTENCE_SETTINGS);
  if (type === SENTENCE_MODEL) return;
  throw unsupported(
    `${SENTENCE_SETTINGS}: model_type is ${JSON.stringify(type)}; kubembed serves models of type ${SENTENCE_MODEL}, which give one vector for each text.`,
  );
}

/** Arguments of the classes that sentence-transformers loads the model with: they overrule the repository's other files. */
const ARGUMENTS = [
  'model_args',
  'model_kwargs',
  'tokenizer_args',
  'processor_kwargs',
  'config_args',
  'config_kwargs',
  'processing_kwargs',
];
/** Of these, what changes no vector. */
const HARMLESS_ARGUMENTS = new Set(['attn_implementation', 'dtype', 'torch_dtype', 'trust_remote_code', 'use_fast']);

/** The first of the files that says anything is the one that counts. */
function sentenceSettings(files: JsonFiles): { readonly file: string; readonly settings: Config } {
  const file = SENTENCE_FILES.find((name) => Object.keys(recordOf(files, name)).length > 0) ?? '';
  return { file, settings: recordOf(files, file) };
}

function requireNoArguments({ file, settings }: ReturnType<typeof sentenceSettings>): void {
  for (const name of ARGUMENTS) {
    const given = settings[name];
    const [changing] = Object.keys(isRecord(given) ? given : {}).filter((key) => !HARMLESS_ARGUMENTS.has(key));
    if (changing === undefined) continue;
    throw unsupported(
      `${file}: ${name} sets ${changing}, which kubembed does not obey. Put the setting into the file that it overrules.`,
    );
  }
}

const isLastHiddenState = (modalities: unknown): boolean => {
  const text = isRecord(modalities) ? modalities['text'] : undefined;
  return isRecord(text) && text['method'] === 'forward' && text['method_output_name'] === 'last_hidden_state';
};

/** What sentence-transformers 6 lets its file say of the first module; unset and null say nothing. */
const OF_FIRST_MODULE: Readonly<Record<string, (value: unknown) => boolean>> = {
  transformer_task: (task) => task === 'feature-extraction',
  modality_config: isLastHiddenState,
  module_output_name: (name) => name === 'token_embeddings',
  tokenizer_name_or_path: () => false,
  query_length: () => false,
  document_length: () => false,
  query_expansion: () => false,
};

/** Other tasks take another output of the model than its hidden states, and cut texts in another way. */
function requireHiddenStates({ file, settings }: ReturnType<typeof sentenceSettings>): void {
  for (const [name, isPlain] of Object.entries(OF_FIRST_MODULE)) {
    const value = settings[name] ?? undefined;
    if (value === undefined || isPlain(value)) continue;
    throw unsupported(
      `${file}: ${name} is ${JSON.stringify(value)}; kubembed computes vectors from the last hidden states of a text, with the repository's own tokenizer.`,
    );
  }
}

function maxTokensOf(files: JsonFiles, config: Config, { start, ends, rows }: PositionTable): number {
  const table = (rows ?? integerOf(config, ['max_position_embeddings', 'n_positions'], DEFAULT_LENGTH + start)) - start;
  const { file: sentenceFile, settings } = sentenceSettings(files);
  const declared = settings['max_seq_length'];
  // sentence-transformers lets its own file overrule the tokenizer; a position table still is the end.
  if (typeof declared === 'number' && Number.isSafeInteger(declared) && declared > 0) {
    return ends ? Math.min(declared, table) : declared;
  }
  if ((declared ?? undefined) !== undefined) {
    throw unsupported(`${sentenceFile}: max_seq_length is ${JSON.stringify(declared)}; a whole number is needed.`);
  }
  const tokenizer = recordOf(files, 'tokenizer_config.json')['model_max_length'];
  return typeof tokenizer === 'number' && tokenizer > 0 && tokenizer < SANE_LENGTH ? Math.min(tokenizer, table) : table;
}

/** What decides which builder a model has. */
export type ModelName = Pick<ModelDescription, 'architecture' | 'modelType' | 'config'>;

/** Of config.json: class and type, before anything else of it is looked at. */
export function readName(config: Config): ModelName {
  const classes = config['architectures'];
  const modelType = stringOf(config, 'model_type', '');
  const first: unknown = Array.isArray(classes) ? classes[0] : undefined;
  return { architecture: typeof first === 'string' ? first : modelType, modelType, config };
}

/**
 * @param tableOf the architecture's positions
 * @throws ModelError: why the model is not served
 */
export function describeModel(
  files: JsonFiles,
  tableOf: (name: ModelName) => PositionTable = () => PLAIN_TABLE,
): ModelDescription {
  const config = files.get('config.json');
  if (!isRecord(config)) throw unsupported('The repository has no config.json.');
  const { architecture, modelType } = readName(config);
  const modules = readModules(files);
  requireSentences(files);
  const ofFirst = sentenceSettings(files);
  requireNoArguments(ofFirst);
  requireHiddenStates(ofFirst);
  return {
    ...modules,
    pooling: files.has('modules.json') ? modules.pooling : assumedPooling(config, architecture),
    truncateDim: truncateDimOf(files),
    prompts: readPrompts(recordOf(files, SENTENCE_SETTINGS)),
    architecture,
    modelType,
    maxTokens: maxTokensOf(files, config, tableOf({ architecture, modelType, config })),
    lowerCase: ofFirst.settings['do_lower_case'] === true,
    vocabularySize: integerOf(config, ['vocab_size']),
    hiddenSize: integerOf(config, ['hidden_size', 'n_embd', 'dim', 'd_model']),
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

export function booleanOf(config: Config, name: string, fallback: boolean): boolean {
  const value = config[name] ?? fallback;
  if (typeof value !== 'boolean') throw wrong(name, value, 'true or false');
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
