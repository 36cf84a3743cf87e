// Attention over each text: which tokens see which, biases by distance, and the operators that compute it.
import type { Layout } from './layout.ts';
import { MICROSOFT } from './onnx.ts';
import type { AttributeValue, Value } from './onnx.ts';
import { lowWhere, toCompute } from './ops.ts';
import type { Context } from './ops.ts';
import { attendBiased, attendCapped, isLongForPairs, keyDistances, placeholder, unlessLong } from './pairs.ts';
import { SCORE_BYTES } from './pairs.ts';
import type { PairBias } from './pairs.ts';
import { rotate } from './rotary.ts';
import type { Heads, RotaryTables } from './rotary.ts';
import { attendNear, isLong } from './window.ts';

// What distances add to the scores.

/** A bias that hangs on distances alone: of all pairs it is one for all layers. */
export function biasByDistance(context: Context, heads: number, make: (distances: Value) => Value): PairBias {
  const whole = unlessLong(context, () => make(keyDistances(context)), context.compute);
  return { whole: () => whole, part: (_query, distances) => make(distances), bytes: heads * SCORE_BYTES };
}

/** −slope × |distance| for each head. */
export function linearBias(context: Context, slopes: readonly number[]): PairBias {
  const { graph } = context;
  const negated = graph.float32(
    slopes.map((slope) => -slope),
    [1, slopes.length, 1, 1],
  );
  return biasByDistance(context, slopes.length, (distances) => {
    const far = graph.cast(graph.node('Abs', [distances]), 'float32');
    return toCompute(context, graph.node('Mul', [far, negated]));
  });
}

/** Each token sees those within `reach` of it, `[1, 1, longest, longest]`; next to nothing where that is computed by pieces. */
function windowBias(context: Context, reach: number): Value {
  const { graph, layout } = context;
  const whole = (): Value => {
    const outside = graph.node('Greater', [graph.node('Abs', [keyDistances(context)]), graph.int64([reach], [])]);
    return lowWhere(context, outside);
  };
  if (!layout.uniform) return whole();
  return graph.branch(isLong(context, reach), () => placeholder(context, context.compute), whole);
}

/** What a layer needs to see a window on both sides. */
export const windowOf = (context: Context, reach: number): Pick<AttentionShape, 'bias' | 'reach'> => ({
  bias: windowBias(context, reach),
  reach,
});

/** Each token sees the last `window` up to itself, `[1, 1, longest, longest]`. */
function pastBias(context: Context, window: number): Value {
  const { graph } = context;
  const outside = graph.node('LessOrEqual', [keyDistances(context), graph.int64([-window], [])]);
  return lowWhere(context, outside);
}

// Attention.

type QueryKeyValue = readonly [query: Value, key: Value, value: Value];

export interface AttentionShape extends Heads {
  /** Heads of keys and values, when fewer than of queries. */
  readonly keyValueHeads?: number;
  /** What scores are multiplied by; default 1/√headSize. */
  readonly scale?: number | undefined;
  /** Added to the scores, `[1 or texts, heads or 1, longest, longest]`. Not where attention is causal. */
  readonly bias?: Value | undefined;
  /** The same, of each head its own. */
  readonly pairs?: PairBias | undefined;
  /** How far each token sees on both sides, where `bias` says so: long texts are then computed by pieces. */
  readonly reach?: number | undefined;
  readonly rotary?: RotaryTables | undefined;
  /** Whether values are turned as queries and keys are; not where attention is causal. */
  readonly rotaryValues?: boolean;
  /** Whether tokens see only themselves and those before them. */
  readonly causal?: boolean;
  /** How many tokens each one sees at most, itself included, where attention is causal. */
  readonly window?: number | undefined;
  /** Scores are squeezed between this and its negative, where attention is causal. */
  readonly softCap?: number | undefined;
}

type Blocks = Pick<Layout, 'toBlocks' | 'fromBlocks'> & { readonly lengths: Value };

const givenFloat = (name: string, value: number | undefined): Readonly<Record<string, AttributeValue>> =>
  value === undefined ? {} : { [name]: { float: value } };

/** Over blocks: queries and keys turned by their positions. */
function turned(
  context: Context,
  blocks: Pick<Layout, 'toBlocks'>,
  rows: Value,
  { rotary, ...heads }: Heads & Pick<AttentionShape, 'rotary'>,
) {
  const block = blocks.toBlocks(rows, heads.heads * heads.headSize);
  return rotary === undefined ? block : rotate(context, block, rotary, heads);
}

/** Of blocks, each head of keys or values some times in a row, as many as there are query heads. */
function repeatHeads({ graph }: Context, blocks: Value, { heads, keyValueHeads = heads, headSize }: AttentionShape) {
  if (keyValueHeads === heads) return blocks;
  const perHead = graph.node('Reshape', [blocks, graph.int64([0, 0, keyValueHeads, headSize])]);
  const sources = Array.from({ length: heads }, (_, head) => Math.floor((head * keyValueHeads) / heads));
  const repeated = graph.node('Gather', [perHead, graph.int64(sources)], { attributes: { axis: { int: 2 } } });
  return graph.node('Reshape', [repeated, graph.int64([0, 0, heads * headSize])]);
}

/** Blocks of queries, keys and values of as many heads each. What fewer heads are enough for is done before they are repeated. */
function blocksOf(
  context: Context,
  blocks: Pick<Layout, 'toBlocks'>,
  [query, key, value]: QueryKeyValue,
  shape: AttentionShape,
): QueryKeyValue {
  const { heads, keyValueHeads = heads, headSize, rotary, rotaryValues } = shape;
  const over = (rows: Value, count: number, turns: boolean): Value =>
    turned(context, blocks, rows, { heads: count, headSize, rotary: turns ? rotary : undefined });
  return [
    over(query, heads, true),
    repeatHeads(context, over(key, keyValueHeads, true), shape),
    repeatHeads(context, over(value, keyValueHeads, rotaryValues === true), shape),
  ];
}

/** Of queries, keys and values of as many heads each. */
function multiHead(context: Context, inputs: QueryKeyValue, shape: AttentionShape) {
  const { graph } = context;
  const { heads, headSize, causal, scale, window } = shape;
  const bias = window === undefined ? (shape.bias ?? '') : pastBias(context, window);
  return (blocks: Blocks): Value => {
    const [queries, keys, values] = blocksOf(context, blocks, inputs, shape);
    const added = shape.pairs?.whole(queries, keys) ?? bias;
    const attended = graph.node('MultiHeadAttention', [queries, keys, values, '', blocks.lengths, added], {
      domain: MICROSOFT,
      attributes: {
        num_heads: { int: heads },
        ...(causal === true && { unidirectional: { int: 1 } }),
        ...givenFloat('scale', scale),
      },
    });
    return blocks.fromBlocks(attended, heads * headSize);
  };
}

/** The operator takes heads of such sizes. */
const HEAD_STEP = 8;

/** Heads of `from` numbers with zeros behind them, or without: what they add to a score is nothing. */
function resizeHeads({ graph }: Context, rows: Value, heads: number, [from, to]: readonly [number, number]): Value {
  if (from === to) return rows;
  const perHead = graph.node('Reshape', [rows, graph.int64([-1, heads, from])]);
  const resized = graph.node('Pad', [perHead, graph.int64([0, 0, 0, 0, 0, to - from])]);
  return graph.node('Reshape', [resized, graph.int64([-1, heads * to])]);
}

/**
 * Causal attention by the operator for decoders: it holds no scores of all pairs, and none of a token with those behind it. That of
 * the CPU knows where a text ends, so there is one way for texts of all lengths.
 */
function groupQuery(context: Context, [query, key, value]: QueryKeyValue, shape: AttentionShape) {
  const { graph, layout } = context;
  const { heads, keyValueHeads = heads, headSize, rotary, window, scale, softCap } = shape;
  const size = Math.ceil(headSize / HEAD_STEP) * HEAD_STEP;
  const [queries, keys] = [
    { heads, headSize: size, rotary },
    { heads: keyValueHeads, headSize: size, rotary },
  ];
  const grown = (rows: Value, count: number): Value => resizeHeads(context, rows, count, [headSize, size]);
  const rows = [grown(query, heads), grown(key, keyValueHeads), grown(value, keyValueHeads)] as const;
  const last = graph.node('Sub', [layout.lengths, graph.int32([1], [])]);
  const longest = graph.cast(layout.blockLength(), 'int32');
  return (blocks: Blocks): Value => {
    const inputs = [
      turned(context, blocks, rows[0], queries),
      turned(context, blocks, rows[1], keys),
      blocks.toBlocks(rows[2], keyValueHeads * size),
      '',
      '',
      last,
      longest,
    ];
    const [attended = ''] = graph.nodes('GroupQueryAttention', inputs, {
      domain: MICROSOFT,
      attributes: {
        num_heads: { int: heads },
        kv_num_heads: { int: keyValueHeads },
        ...(window !== undefined && { local_window_size: { int: window } }),
        ...givenFloat('scale', scale ?? (size === headSize ? undefined : headSize ** -0.5)),
        ...givenFloat('softcap', softCap),
      },
      // With a place for its keys and values the kernel of the CPU goes by pieces; without one it holds all scores.
      outputs: 3,
    });
    return resizeHeads(context, blocks.fromBlocks(attended, heads * size), heads, [size, headSize]);
  };
}

function byPieces(context: Context, inputs: QueryKeyValue, shape: AttentionShape & { readonly reach: number }): Value {
  const { layout } = context;
  const blocks = blocksOf(context, layout, inputs, shape);
  return layout.fromBlocks(attendNear(context, blocks, shape), shape.heads * shape.headSize);
}

/** Some queries at a time, where neither operator goes by pieces; undefined where one does. */
function inParts(context: Context, inputs: QueryKeyValue, shape: AttentionShape): (() => Value) | undefined {
  const { layout } = context;
  const { heads, headSize, scale, pairs, softCap, window } = shape;
  if (pairs === undefined && softCap === undefined) return undefined;
  const width = heads * headSize;
  const blocks = () => blocksOf(context, layout, inputs, shape);
  if (pairs !== undefined) {
    const attributes = { num_heads: { int: heads }, ...givenFloat('scale', scale) };
    return () => layout.fromBlocks(attendBiased(context, blocks(), { width, attributes, pairs }), width);
  }
  const capped = { heads, headSize, scale: scale ?? headSize ** -0.5, softCap: softCap ?? NaN, window };
  return () => layout.fromBlocks(attendCapped(context, blocks(), capped), width);
}

/** Scores as they are, squeezed, masked and as shares of one. */
const CAPPED_SCORES = 4;
/** Queries, keys and values as the layers give them, normed and turned, as the operator wants them; and what comes of them. As measured. */
const ATTENTION_COPIES = 3;
/** Of pieces and their neighbours, besides. */
const PIECE_COPIES = 14;

function noteHeld(context: Context, shape: AttentionShape): void {
  const { held } = context;
  const { pairs, softCap, heads, headSize, reach, keyValueHeads = heads } = shape;
  if (held === undefined) return;
  const all = heads + 2 * (forDecoders(context, shape) ? keyValueHeads : heads);
  const copies = ATTENTION_COPIES * all + (reach === undefined ? 0 : PIECE_COPIES * heads);
  held.tokenNumbers = Math.max(held.tokenNumbers, copies * headSize + (pairs?.tokenNumbers ?? 0));
  const scores = heads * SCORE_BYTES;
  if (softCap !== undefined) held.pairBytes = Math.max(held.pairBytes, CAPPED_SCORES * scores);
  if (pairs !== undefined) held.pairBytes = Math.max(held.pairBytes, pairs.bytes + scores);
}

/** In float32 CUDA has no kernel of the operator for decoders. */
const forDecoders = ({ layout, compute }: Context, { causal, softCap }: AttentionShape): boolean =>
  causal === true && (softCap !== undefined || compute !== 'float32' || layout.uniform !== undefined);

/** Softmax(q·kᵀ/√d + bias)·v over each text, on rows. Without bias and padding ONNX Runtime takes its fastest kernel. */
export function attend(context: Context, inputs: QueryKeyValue, shape: AttentionShape): Value {
  const { graph, layout } = context;
  const { uniform } = layout;
  noteHeld(context, shape);
  const over = (forDecoders(context, shape) ? groupQuery : multiHead)(context, inputs, shape);
  if (!uniform) return over(layout);
  const either = (): Value =>
    graph.branch(
      uniform.condition,
      () => over({ ...uniform, lengths: '' }),
      () => over(layout),
    );
  const parts = inParts(context, inputs, shape);
  if (parts !== undefined) return graph.branch(isLongForPairs(context), parts, either);
  const { reach } = shape;
  if (reach === undefined) return either();
  return graph.branch(isLong(context, reach), () => byPieces(context, inputs, { ...shape, reach }), either);
}
