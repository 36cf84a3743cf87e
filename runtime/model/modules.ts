// What modules.json says is done behind the model: how token vectors are pooled, then what happens to the pooled vector. Pure.
import * as z from 'zod';
import { isRecord } from '../../common/util/text.ts';
import { ModelError, isFolder } from '../../hub/files.ts';

/** How token vectors become one. `meanSqrtLength` is the mean times the root of the length. */
export type PoolingMode = 'mean' | 'cls' | 'lastToken' | 'max' | 'weightedMean' | 'meanSqrtLength';

export interface Pooling {
  /** One or more; the vectors of several stand one after the other. */
  readonly modes: readonly PoolingMode[];
  /** Whether the tokens of a prompt take part. */
  readonly includePrompt: boolean;
}

/** One thing done to the pooled vector. */
export type ModuleStep =
  | {
      readonly kind: 'dense';
      /** Its folder, e.g. `2_Dense`: its tensors are `2_Dense/linear.weight`, `.bias` and `2_Dense/residual.weight`. */
      readonly path: string;
      readonly inputs: number;
      readonly outputs: number;
      readonly bias: boolean;
      /** By the names of transformers' ACT2FN; undefined for the identity. */
      readonly activation: string | undefined;
      /** Whether the input is added to the result, through a map of its own where the sizes differ. */
      readonly residual: boolean;
    }
  /** Tensors `norm.weight` and `norm.bias`. */
  | { readonly kind: 'layerNorm'; readonly path: string; readonly width: number }
  | { readonly kind: 'normalize' };

export interface Modules {
  /** The first one: what turns text into vectors. */
  readonly input: { readonly kind: 'Transformer' | 'StaticEmbedding'; readonly path: string };
  /** Undefined where there is no modules.json, or nothing to pool. */
  readonly pooling: Pooling | undefined;
  /** In order. The norm that every vector gets in the end is not among them. */
  readonly steps: readonly ModuleStep[];
}

/** Parsed JSON files by their path in the repository. */
type Files = ReadonlyMap<string, unknown>;

const refuse = (message: string): ModelError => new ModelError('UnsupportedArchitecture', message);

// The list.

interface Entry {
  readonly path: string;
  /** As modules.json has it, e.g. `sentence_transformers.models.Dense`. */
  readonly type: string;
  /** Its last part. */
  readonly kind: string;
}

const FOREIGN =
  'code that is not part of sentence-transformers, which kubembed does not run. Serve a model whose modules.json names its modules alone.';

function entryOf(entry: unknown): Entry {
  const { type, path = '' } = isRecord(entry) ? entry : {};
  if (typeof type !== 'string' || typeof path !== 'string') {
    throw refuse(`modules.json: ${JSON.stringify(entry)} is no module with a type and a path.`);
  }
  if (!type.startsWith('sentence_transformers.')) throw refuse(`modules.json names ${type}: ${FOREIGN}`);
  if (path !== '' && !isFolder(path)) {
    throw refuse(`modules.json: the path ${JSON.stringify(path)} is not a folder of the repository.`);
  }
  return { path, type, kind: type.split('.').at(-1) ?? '' };
}

function entriesOf(files: Files): readonly Entry[] {
  const list = files.get('modules.json');
  if (list === undefined) return [];
  if (!Array.isArray(list) || list.length === 0) throw refuse('modules.json is no list of modules.');
  const names = list.map((entry) => (isRecord(entry) ? entry['name'] : undefined)).filter((name) => name !== undefined);
  const twice = names.find((name, at) => names.indexOf(name) < at);
  // sentence-transformers keeps the last of them, in the place of the first.
  if (twice !== undefined) throw refuse(`modules.json has two modules of the name ${JSON.stringify(twice)}.`);
  return list.map(entryOf);
}

/** A module's own settings. None where it has no file. */
function settingsOf<T extends z.ZodType>(files: Files, { path }: Entry, schema: T): z.output<T> {
  const read = schema.safeParse(files.get(`${path}/config.json`) ?? {});
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  const where = issue?.path.join('.') ?? '';
  throw refuse(`${path}/config.json: ${where === '' ? '' : `${where}: `}${issue?.message ?? 'invalid'}.`);
}

// Pooling.

const MODES: Readonly<Record<string, PoolingMode>> = {
  cls: 'cls',
  max: 'max',
  mean: 'mean',
  mean_sqrt_len_tokens: 'meanSqrtLength',
  weightedmean: 'weightedMean',
  lasttoken: 'lastToken',
};

/** In the order in which several are concatenated. */
const FLAGS: Readonly<Record<string, PoolingMode>> = {
  pooling_mode_cls_token: 'cls',
  pooling_mode_max_tokens: 'max',
  pooling_mode_mean_tokens: 'mean',
  pooling_mode_mean_sqrt_len_tokens: 'meanSqrtLength',
  pooling_mode_weightedmean_tokens: 'weightedMean',
  pooling_mode_lasttoken: 'lastToken',
};

const poolingSchema = z.looseObject({
  pooling_mode: z.union([z.string(), z.array(z.string()).min(1)]).optional(),
  include_prompt: z.boolean().default(true),
});

function modeOf(path: string, name: string): PoolingMode {
  const mode = MODES[name];
  if (mode !== undefined) return mode;
  throw refuse(
    `${path}/config.json: pooling_mode ${name} is not supported; supported: ${Object.keys(MODES).join(', ')}.`,
  );
}

function poolingOf(files: Files, entry: Entry): Pooling {
  // A cache that other tools filled may have lost it, and to take the mean then would be a guess.
  if (!files.has(`${entry.path}/config.json`))
    throw refuse(`${entry.path}/config.json is missing: it names the pooling.`);
  const { pooling_mode: named, include_prompt: includePrompt, ...others } = settingsOf(files, entry, poolingSchema);
  if (named !== undefined) return { modes: [named].flat().map((name) => modeOf(entry.path, name)), includePrompt };
  const flagged = Object.entries(FLAGS).filter(([flag]) => Boolean(others[flag]));
  return { modes: flagged.length === 0 ? ['mean'] : flagged.map(([, mode]) => mode), includePrompt };
}

// What follows it.

/** Modules may read and write other vectors than the pooled one. */
const POOLED = 'sentence_embedding';
const pooledVector = z
  .string()
  .nullish()
  .refine((name) => (name ?? POOLED) === POOLED, {
    error: ({ input }) => `${String(input)} is not supported; kubembed computes modules over ${POOLED} alone`,
  });
const ends = { module_input_name: pooledVector, module_output_name: pooledVector };
const size = z.int().positive();

/** torch's classes, by the names of transformers' ACT2FN. */
const ACTIVATIONS: Readonly<Record<string, string | undefined>> = {
  Identity: undefined,
  Tanh: 'tanh',
  ReLU: 'relu',
  GELU: 'gelu',
  SiLU: 'silu',
  Sigmoid: 'sigmoid',
};

const denseSchema = z.looseObject({
  in_features: size,
  out_features: size,
  bias: z.boolean().default(true),
  // What the constructor has where a file says nothing.
  activation_function: z.string().default('torch.nn.modules.activation.Tanh'),
  use_residual: z.boolean().default(false),
  ...ends,
});

function activationOf(path: string, name: string): string | undefined {
  const kind = /^torch\.nn\.(?:modules\.)?(?:\w+\.)?(\w+)$/.exec(name)?.[1] ?? name;
  if (Object.hasOwn(ACTIVATIONS, kind)) return ACTIVATIONS[kind];
  const known = Object.keys(ACTIVATIONS).join(', ');
  throw refuse(`${path}/config.json: activation_function ${name} is not supported; supported: ${known}.`);
}

function denseOf(files: Files, entry: Entry): ModuleStep {
  const settings = settingsOf(files, entry, denseSchema);
  return {
    kind: 'dense',
    path: entry.path,
    inputs: settings.in_features,
    outputs: settings.out_features,
    bias: settings.bias,
    activation: activationOf(entry.path, settings.activation_function),
    residual: settings.use_residual,
  };
}

function normalizeOf(files: Files, entry: Entry): ModuleStep {
  settingsOf(files, entry, z.looseObject(ends));
  return { kind: 'normalize' };
}

const layerNormOf = (files: Files, entry: Entry): ModuleStep => ({
  kind: 'layerNorm',
  path: entry.path,
  width: settingsOf(files, entry, z.looseObject({ dimension: size })).dimension,
});

/** What a module computes; nothing for Dropout, which is for training. */
const STEPS: Readonly<Record<string, (files: Files, entry: Entry) => ModuleStep | undefined>> = {
  Dense: denseOf,
  Normalize: normalizeOf,
  LayerNorm: layerNormOf,
  Dropout: () => undefined,
};

function stepsOf(files: Files, entries: readonly Entry[]): readonly ModuleStep[] {
  const steps = entries.flatMap((entry) => {
    const read = STEPS[entry.kind];
    if (read === undefined) throw unknownModules([entry]);
    return read(files, entry) ?? [];
  });
  // Every vector is normalised in the end: what only does the same before that is left out.
  return steps.slice(0, steps.findLastIndex(({ kind }) => kind !== 'normalize') + 1);
}

const unknownModules = (entries: readonly Entry[]): ModelError =>
  refuse(
    `modules.json names modules that kubembed does not compute there: ${entries.map(({ type }) => type).join(', ')}.`,
  );

/** @throws ModelError: which entry is not computed */
export function readModules(files: Files): Modules {
  const [first, ...behind] = entriesOf(files);
  if (first === undefined) return { input: { kind: 'Transformer', path: '' }, pooling: undefined, steps: [] };
  const { kind, path } = first;
  if (kind === 'StaticEmbedding') return { input: { kind, path }, pooling: undefined, steps: stepsOf(files, behind) };
  const [second, ...rest] = behind;
  const strange = behind.filter((entry) => entry.kind !== 'Pooling' && !(entry.kind in STEPS));
  if (kind !== 'Transformer') throw unknownModules([first, ...strange]);
  if (strange.length > 0) throw unknownModules(strange);
  if (second?.kind !== 'Pooling') {
    throw refuse(
      'modules.json has no Pooling right behind the Transformer: the model gives a vector for each token, and kubembed serves one for each text.',
    );
  }
  return { input: { kind, path }, pooling: poolingOf(files, second), steps: stepsOf(files, rest) };
}

// Which pooling is taken.

/** What can be asked for. */
export const POOLING_CHOICES = ['mean', 'cls', 'lastToken', 'max', 'weightedMean', 'declared'] as const;
export type PoolingChoice = (typeof POOLING_CHOICES)[number];

/** Where a repository declares none. */
const SILENT: Pooling = { modes: ['mean'], includePrompt: true };

type Declared = Pick<Modules, 'pooling' | 'steps'>;

/** A positive factor falls away with the norm, unless something else comes in between. */
function simplest({ modes, includePrompt }: Pooling, steps: readonly ModuleStep[]): Pooling {
  const [only, ...others] = modes;
  if (only !== 'meanSqrtLength' || others.length > 0 || steps.length > 0) return { modes, includePrompt };
  return { modes: ['mean'], includePrompt };
}

/** `declared` is what the repository says. Whether the tokens of a prompt take part is always the repository's to say. */
export function choosePooling({ pooling = SILENT, steps }: Declared, choice: PoolingChoice): Pooling {
  return choice === 'declared' ? simplest(pooling, steps) : { ...pooling, modes: [choice] };
}

/** For people, e.g. `cls` or `mean+max`. */
export const printPooling = ({ modes }: Pick<Pooling, 'modes'>): string => modes.join('+');

/** What the repository declares, in words for people; undefined where it declares nothing. */
export const declaredPooling = ({ pooling, steps }: Declared): string | undefined =>
  pooling && printPooling(simplest(pooling, steps));

/** Numbers of a vector for token vectors of `width`. */
export function dimensionsBehind(width: number, pooling: Pooling, steps: readonly ModuleStep[]): number {
  const last = steps.findLast((step) => step.kind === 'dense');
  return last?.outputs ?? width * pooling.modes.length;
}
