// Attention over each text, and what positions add to it: rotary angles and biases by distance.
import { isRecord } from '../../common/util/text.ts';
import { numberOf, requireSetting, unsupported } from '../model/description.ts';
import type { Config } from '../model/description.ts';
import type { Layout } from './layout.ts';
import { MICROSOFT } from './onnx.ts';
import type { Value } from './onnx.ts';
import { toCompute } from './ops.ts';
import type { Context } from './ops.ts';

// Rotary frequencies, from config.json in its old and new spellings.

/** theta^(−2i/d). */
export const frequenciesOf = (theta: number, headSize: number): readonly number[] =>
  Array.from({ length: headSize / 2 }, (_, i) => 1 / theta ** ((2 * i) / headSize));

/** The base of plain rotary embeddings; scaled ones are refused, because each scaling is its own formula. */
export function plainTheta(config: Config, fallback: number): number {
  const parameters = config['rope_parameters'];
  if (isRecord(parameters)) {
    requireSetting(parameters, 'rope_type', ['default']);
    requireSetting(parameters, 'partial_rotary_factor', [1]);
    return numberOf(parameters, ['rope_theta'], fallback);
  }
  requireSetting(config, 'rope_scaling', []);
  return numberOf(config, ['rope_theta'], fallback);
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

// What positions add.

export interface RotaryTables {
  /** `[longest, headSize / 2]` each. */
  readonly cos: Value;
  readonly sin: Value;
  /** Whether neighbours make a pair; default: numbers half a head apart. */
  readonly interleaved?: boolean;
}

/** 0, 1, 2 … of a text, int64 `[longest]`. */
const textPositions = ({ graph, layout }: Context): Value =>
  graph.node('Range', [graph.int64([0], []), layout.blockLength(), graph.int64([1], [])]);

/** cos and sin of position × frequency. */
export function rotaryTables(context: Context, frequencies: readonly number[]): RotaryTables {
  const { graph } = context;
  const column = graph.node('Unsqueeze', [textPositions(context), graph.int64([1])]);
  const row = graph.float32(frequencies, [1, frequencies.length]);
  const angles = graph.node('Mul', [graph.cast(column, 'float32'), row]);
  const table = (op: string) => toCompute(context, graph.node(op, [angles]));
  return { cos: table('Cos'), sin: table('Sin') };
}

/** key position − query position, int64 `[longest, longest]`. */
export function keyDistances(context: Context): Value {
  const { graph } = context;
  const positions = textPositions(context);
  const keys = graph.node('Unsqueeze', [positions, graph.int64([0])]);
  const queries = graph.node('Unsqueeze', [positions, graph.int64([1])]);
  return graph.node('Sub', [keys, queries]);
}

/** −slope × |distance| per head, `[1, heads, longest, longest]`. */
export function linearBias(context: Context, slopes: readonly number[]): Value {
  const { graph } = context;
  const distances = graph.cast(graph.node('Abs', [keyDistances(context)]), 'float32');
  const negated = graph.float32(
    slopes.map((slope) => -slope),
    [1, slopes.length, 1, 1],
  );
  return toCompute(context, graph.node('Mul', [distances, negated]));
}

/** 0 within `reach` tokens, so low beyond that softmax gives nothing, `[1, 1, longest, longest]`. */
export function windowBias(context: Context, reach: number): Value {
  const { graph } = context;
  const outside = graph.node('Greater', [graph.node('Abs', [keyDistances(context)]), graph.int64([reach], [])]);
  const low = graph.float32([-30_000], []);
  const bias = graph.node('Where', [outside, low, graph.float32([0], [])]);
  return toCompute(context, graph.node('Unsqueeze', [bias, graph.int64([0, 1])]));
}

const rotate = ({ graph }: Context, blocks: Value, tables: RotaryTables, heads: number): Value =>
  graph.node('RotaryEmbedding', [blocks, graph.int64([0]), tables.cos, tables.sin], {
    domain: MICROSOFT,
    attributes: { num_heads: { int: heads }, interleaved: { int: tables.interleaved === true ? 1 : 0 } },
  });

// Attention.

/** A bias out of the blocks `[texts, longest, heads × headSize]` of queries and of keys. */
export type BiasOfBlocks = (query: Value, key: Value) => Value;

export interface AttentionShape {
  readonly heads: number;
  readonly headSize: number;
  /** Heads of keys and values, when fewer than of queries. */
  readonly keyValueHeads?: number;
  /** Added to the scores, `[1 or texts, heads or 1, longest, longest]`; it may be made of queries and keys. */
  readonly bias?: Value | BiasOfBlocks | undefined;
  /** What queries · keys are multiplied by; default 1/√headSize. */
  readonly scale?: number;
  readonly rotary?: RotaryTables | undefined;
  /** Whether values are rotated as queries and keys are. */
  readonly rotaryValues?: boolean;
  readonly causal?: boolean;
}

/** Each head of keys or values `groups` times in a row, as many as there are query heads. */
function repeatHeads({ graph }: Context, rows: Value, { heads, keyValueHeads = heads, headSize }: AttentionShape) {
  if (keyValueHeads === heads) return rows;
  const perHead = graph.node('Reshape', [rows, graph.int64([-1, keyValueHeads, headSize])]);
  const sources = Array.from({ length: heads }, (_, head) => Math.floor((head * keyValueHeads) / heads));
  const repeated = graph.node('Gather', [perHead, graph.int64(sources)], { attributes: { axis: { int: 1 } } });
  return graph.node('Reshape', [repeated, graph.int64([-1, heads * headSize])]);
}

type Blocks = Pick<Layout, 'toBlocks' | 'fromBlocks'> & { readonly lengths: Value };

/** Softmax(q·kᵀ/√d + bias)·v over each text, on rows. Without bias and padding ONNX Runtime takes its fastest kernel. */
export function attend(
  context: Context,
  [query, key, value]: readonly [Value, Value, Value],
  shape: AttentionShape,
): Value {
  const { graph, layout } = context;
  const { heads, headSize, rotary } = shape;
  const width = heads * headSize;
  const rows = [query, repeatHeads(context, key, shape), repeatHeads(context, value, shape)] as const;
  const over = (blocks: Blocks) => (): Value => {
    const rotated = (of: Value, turn = true): Value => {
      const block = blocks.toBlocks(of, width);
      return rotary === undefined || !turn ? block : rotate(context, block, rotary, heads);
    };
    const inputs = [rotated(rows[0]), rotated(rows[1]), rotated(rows[2], shape.rotaryValues === true)] as const;
    const bias = typeof shape.bias === 'function' ? shape.bias(inputs[0], inputs[1]) : (shape.bias ?? '');
    const output = graph.node('MultiHeadAttention', [...inputs, '', blocks.lengths, bias], {
      domain: MICROSOFT,
      attributes: {
        num_heads: { int: heads },
        ...(shape.scale !== undefined && { scale: { float: shape.scale } }),
        ...(shape.causal === true && { unidirectional: { int: 1 } }),
      },
    });
    return blocks.fromBlocks(output, width);
  };
  const general = over(layout);
  const { uniform } = layout;
  return uniform ? graph.branch(uniform.condition, over({ ...uniform, lengths: '' }), general) : general();
}
