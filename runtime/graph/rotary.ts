// Rotary positions: the frequencies that config.json declares, their tables, and the turn of queries and keys.
import { isRecord } from '../../common/util/text.ts';
import { integerOf, numberOf, requireSetting, unsupported } from '../model/description.ts';
import type { Config } from '../model/description.ts';
import { MICROSOFT } from './onnx.ts';
import type { Value } from './onnx.ts';
import { toCompute } from './ops.ts';
import type { Context } from './ops.ts';

export interface Rope {
  /** Radians from one token to the next, one for each pair of numbers that is turned. */
  readonly frequencies: readonly number[];
  /** What turned vectors are multiplied by. */
  readonly factor: number;
}

/** theta^(−2i/d), for `turned` numbers of a head. */
export const frequenciesOf = (theta: number, turned: number): readonly number[] =>
  Array.from({ length: turned / 2 }, (_, i) => 1 / theta ** ((2 * i) / turned));

// What config.json says, in its old and new spellings.

interface RopeSettings {
  readonly type: ScalingType;
  readonly theta: number;
  /** Of each head, the part that is turned. */
  readonly part: number;
  /** What else the type of scaling needs. */
  readonly scaling: Config;
}

/** Whatever else stands there could mean another formula. */
const KNOWN_KEYS = new Set([
  'type',
  'rope_type',
  'rope_theta',
  'partial_rotary_factor',
  'factor',
  'original_max_position_embeddings',
  'attention_factor',
  'beta_fast',
  'beta_slow',
  'low_freq_factor',
  'high_freq_factor',
  'mscale',
  'mscale_all_dim',
  'truncate',
]);

function scalingOf(config: Config): Config {
  const [scaling, parameters] = [config['rope_scaling'], config['rope_parameters']];
  if (isRecord(scaling) && Object.keys(scaling).length > 0) return scaling;
  return isRecord(parameters) ? parameters : {};
}

/** transformers 5 writes `rope_parameters`; before that there were `rope_scaling` and `rope_theta`, which win where both are. */
function settingsOf(config: Config, fallbackTheta: number): RopeSettings {
  const scaling = scalingOf(config);
  const type = scaling['rope_type'] ?? scaling['type'] ?? 'default';
  if (!isScalingType(type)) {
    const known = Object.keys(SCALINGS).join(', ');
    throw unsupported(
      `config.json: rope_scaling of type ${JSON.stringify(type)} is not supported; supported: ${known}.`,
    );
  }
  if (Object.keys(scaling).some((key) => !KNOWN_KEYS.has(key))) {
    throw unsupported(`config.json: rope_scaling ${JSON.stringify(scaling)} is not supported.`);
  }
  const outer = numberOf(config, ['rope_theta'], fallbackTheta);
  const outerPart = numberOf(config, ['partial_rotary_factor'], 1);
  return {
    type,
    theta: numberOf(scaling, ['rope_theta'], outer),
    part: numberOf(scaling, ['partial_rotary_factor'], outerPart),
    scaling,
  };
}

/** The base of plain rotary embeddings, for models that are not published with scaled ones. */
export function plainTheta(config: Config, fallback: number): number {
  const { type, theta, part, scaling } = settingsOf(config, fallback);
  if (type === 'default' && part === 1) return theta;
  throw unsupported(`config.json: rope_scaling ${JSON.stringify(scaling)} is not supported; supported: none.`);
}

/** Plain, or the fixed NTK scaling of Alibaba's models: base × factor, and every frequency ÷ factor^(2/d). */
export function plainOrNtkFrequencies(config: Config, fallback: number, headSize: number): readonly number[] {
  const scaling = config['rope_scaling'];
  if (!isRecord(scaling)) return frequenciesOf(plainTheta(config, fallback), headSize);
  const type = scaling['type'] ?? scaling['rope_type'];
  if (type !== 'ntk' || (scaling['mixed_b'] ?? null) !== null) {
    throw unsupported(`config.json: rope_scaling ${JSON.stringify(scaling)} is not supported.`);
  }
  const factor = numberOf(scaling, ['factor']);
  const theta = numberOf(config, ['rope_theta'], fallback);
  return frequenciesOf(theta * factor, headSize).map((frequency) => frequency / factor ** (2 / headSize));
}

// The scalings of transformers' ROPE_INIT_FUNCTIONS.

interface Scaled {
  readonly config: Config;
  readonly scaling: Config;
  readonly theta: number;
  /** Plain ones. */
  readonly frequencies: readonly number[];
  readonly maxTokens: number;
}

const maxPositionsOf = ({ config }: Scaled): number => integerOf(config, ['max_position_embeddings']);

/** The length that the model was first trained for. */
const firstLengthOf = (scaled: Scaled): number =>
  numberOf(scaled.scaling, ['original_max_position_embeddings'], maxPositionsOf(scaled));

/** Frequencies as they are. */
export const unscaled = (frequencies: readonly number[]): Rope => ({ frequencies, factor: 1 });

function linearly({ frequencies, scaling }: Scaled): Rope {
  const factor = numberOf(scaling, ['factor']);
  return unscaled(frequencies.map((frequency) => frequency / factor));
}

/** Texts beyond the table change the frequencies of those after them, too: only what stays below can be computed. */
function dynamically(scaled: Scaled): Rope {
  const most = maxPositionsOf(scaled);
  if (scaled.maxTokens <= most) return unscaled(scaled.frequencies);
  throw unsupported(
    `config.json: rope_type dynamic is not supported for texts of more than ${most} tokens (max_position_embeddings), and this model takes ${scaled.maxTokens}. Serve a copy whose max_seq_length is ${most}.`,
  );
}

/** Long waves are stretched, short ones left alone, those between the two mixed. */
function asLlama3(scaled: Scaled): Rope {
  const { frequencies, scaling } = scaled;
  const [factor, low, high] = ['factor', 'low_freq_factor', 'high_freq_factor'].map((key) =>
    numberOf(scaling, [key]),
  ) as [number, number, number];
  const length = firstLengthOf(scaled);
  const scale = (frequency: number): number => {
    const wave = (2 * Math.PI) / frequency;
    if (wave > length / low) return frequency / factor;
    if (wave < length / high) return frequency;
    const kept = (length / wave - low) / (high - low);
    return ((1 - kept) * frequency) / factor + kept * frequency;
  };
  return unscaled(frequencies.map(scale));
}

function yarnFactor({ scaling }: Scaled, factor: number): number {
  const given = scaling['attention_factor'] ?? null;
  if (given !== null) return numberOf(scaling, ['attention_factor']);
  const grown = (by: number): number => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1);
  const [scale, scaleAll] = [numberOf(scaling, ['mscale'], 0), numberOf(scaling, ['mscale_all_dim'], 0)];
  return scale !== 0 && scaleAll !== 0 ? grown(scale) / grown(scaleAll) : grown(1);
}

/** Which of the frequencies are stretched, and how far: 0 not at all, 1 by the whole factor. */
function yarnRamp(scaled: Scaled): (index: number) => number {
  const { theta, scaling, frequencies } = scaled;
  const turned = 2 * frequencies.length;
  const length = firstLengthOf(scaled);
  const place = (turns: number): number => (turned * Math.log(length / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  requireSetting(scaling, 'truncate', [true, false]);
  const whole = scaling['truncate'] !== false;
  const [first, last] = [place(numberOf(scaling, ['beta_fast'], 32)), place(numberOf(scaling, ['beta_slow'], 1))];
  const from = Math.max(whole ? Math.floor(first) : first, 0);
  const to = Math.min(whole ? Math.ceil(last) : last, turned - 1);
  const width = from === to ? 0.001 : to - from;
  return (index) => Math.min(Math.max((index - from) / width, 0), 1);
}

function asYarn(scaled: Scaled): Rope {
  const { scaling, frequencies } = scaled;
  const factor =
    scaling['factor'] === null ? maxPositionsOf(scaled) / firstLengthOf(scaled) : numberOf(scaling, ['factor']);
  const ramp = yarnRamp(scaled);
  const scale = (frequency: number, index: number): number =>
    (frequency / factor) * ramp(index) + frequency * (1 - ramp(index));
  return { frequencies: frequencies.map(scale), factor: yarnFactor(scaled, factor) };
}

const SCALINGS = {
  default: ({ frequencies }: Scaled) => unscaled(frequencies),
  linear: linearly,
  dynamic: dynamically,
  llama3: asLlama3,
  yarn: asYarn,
} as const satisfies Readonly<Record<string, (scaled: Scaled) => Rope>>;

type ScalingType = keyof typeof SCALINGS;

const isScalingType = (type: unknown): type is ScalingType => typeof type === 'string' && Object.hasOwn(SCALINGS, type);

export interface RopeChoices {
  readonly headSize: number;
  /** Longest text. */
  readonly maxTokens: number;
  /** Where config.json has none. */
  readonly theta?: number;
  /** Whether the architecture can turn a part of each head. Default false. */
  readonly partial?: boolean;
}

/** What a model's rotary positions are, from config.json. */
export function ropeOf(config: Config, { headSize, maxTokens, theta: fallback = 10_000, partial }: RopeChoices): Rope {
  const { type, theta, part, scaling } = settingsOf(config, fallback);
  const turned = Math.trunc(headSize * part);
  if ((part !== 1 && partial !== true) || turned % 2 !== 0 || turned <= 0 || turned > headSize) {
    throw unsupported(`config.json: partial_rotary_factor ${part} of heads of ${headSize} is not supported.`);
  }
  return SCALINGS[type]({ config, scaling, theta, frequencies: frequenciesOf(theta, turned), maxTokens });
}

// What positions add.

export interface RotaryTables {
  /** `[longest, turned / 2]` each. */
  readonly cos: Value;
  readonly sin: Value;
  /** How many numbers of a head are turned; default all of them. */
  readonly turned?: number;
  /** Whether neighbours make a pair; default: numbers half a head apart. */
  readonly interleaved?: boolean;
}

/** 0, 1, 2 … of a text, int64 `[longest]`. */
export const textPositions = ({ graph, layout }: Context): Value =>
  graph.node('Range', [graph.int64([0], []), layout.blockLength(), graph.int64([1], [])]);

/** cos and sin of position × frequency. */
export function rotaryTables(context: Context, { frequencies, factor }: Rope): RotaryTables {
  const { graph } = context;
  const column = graph.node('Unsqueeze', [textPositions(context), graph.int64([1])]);
  const row = graph.float32(frequencies, [1, frequencies.length]);
  const angles = graph.node('Mul', [graph.cast(column, 'float32'), row]);
  const table = (op: string): Value => {
    const plain = graph.node(op, [angles]);
    return toCompute(context, factor === 1 ? plain : graph.node('Mul', [plain, graph.float32([factor], [])]));
  };
  return { cos: table('Cos'), sin: table('Sin'), turned: 2 * frequencies.length };
}

export interface Heads {
  readonly heads: number;
  readonly headSize: number;
}

/** `[texts, longest, heads × headSize]`, each head turned by its position. */
export const rotate = ({ graph }: Context, blocks: Value, tables: RotaryTables, { heads, headSize }: Heads): Value =>
  graph.node('RotaryEmbedding', [blocks, graph.int64([0]), tables.cos, tables.sin], {
    domain: MICROSOFT,
    attributes: {
      num_heads: { int: heads },
      interleaved: { int: tables.interleaved === true ? 1 : 0 },
      ...(tables.turned !== undefined &&
        tables.turned !== headSize && { rotary_embedding_dim: { int: tables.turned } }),
    },
  });
