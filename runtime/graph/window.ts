// Attention within a window on both sides. Of long texts it is computed piece by piece: no scores of all pairs are ever held.
import type { Heads } from './rotary.ts';
import { MICROSOFT } from './onnx.ts';
import type { GraphBuilder, Value } from './onnx.ts';
import { lowWhere } from './ops.ts';
import type { Context } from './ops.ts';

export interface Window extends Heads {
  /** How far each token sees on both sides. */
  readonly reach: number;
  /** What scores are multiplied by; default 1/√headSize. */
  readonly scale?: number | undefined;
}

/** Shorter pieces cost more in operators than they save. */
const MIN_PIECE = 64;
/** In pieces: below this it is faster to compute all scores and drop most. */
const LONG = 4;

const pieceOf = (reach: number): number => Math.max(reach, MIN_PIECE);

/** Whether the longest text of a run is computed by pieces. */
export const isLong = ({ graph, layout }: Context, reach: number): Value =>
  graph.node('Greater', [layout.blockLength(), graph.int64([LONG * pieceOf(reach)], [])]);

const concat = (graph: GraphBuilder, values: readonly Value[], axis: number): Value =>
  graph.node('Concat', values, { attributes: { axis: { int: axis } } });

interface Pieces {
  readonly size: number;
  /** int64 `[1]`: pieces of a text. */
  readonly count: Value;
  /** int64 `[1]`: tokens of all pieces. */
  readonly tokens: Value;
  /** int64 `[1]`: how many of them are behind the block's end. */
  readonly surplus: Value;
}

function piecesOf({ graph, layout }: Context, reach: number): Pieces {
  const size = pieceOf(reach);
  const length = graph.node('Reshape', [layout.blockLength(), graph.int64([1])]);
  const upwards = graph.node('Add', [length, graph.int64([size - 1])]);
  const count = graph.node('Div', [upwards, graph.int64([size])]);
  const tokens = graph.node('Mul', [count, graph.int64([size])]);
  return { size, count, tokens, surplus: graph.node('Sub', [tokens, length]) };
}

/** `[texts, longest, width]` → `[pieces of all texts, size, width]`. */
function cut({ graph }: Context, blocks: Value, { size, surplus }: Pieces, width: number): Value {
  const edges = concat(graph, [graph.int64([0, 0, 0, 0]), surplus, graph.int64([0])], 0);
  return graph.node('Reshape', [graph.node('Pad', [blocks, edges]), graph.int64([-1, size, width])]);
}

/** As `cut`, each piece between the one before and the one behind it: `[pieces of all texts, 3 × size, width]`. */
function cutWithNeighbours({ graph }: Context, blocks: Value, pieces: Pieces, width: number): Value {
  const { size, surplus, tokens } = pieces;
  const behind = graph.node('Add', [surplus, graph.int64([size])]);
  const edges = concat(graph, [graph.int64([0, size, 0, 0]), behind, graph.int64([0])], 0);
  const padded = graph.node('Pad', [blocks, edges]);
  const shifted = [0, size, 2 * size].map((start) => {
    const end = graph.node('Add', [tokens, graph.int64([start])]);
    const part = graph.node('Slice', [padded, graph.int64([start]), end, graph.int64([1])]);
    return graph.node('Reshape', [part, graph.int64([-1, size, width])]);
  });
  return concat(graph, shifted, 1);
}

/** `[pieces of all texts, 1, size, 3 × size]`: keys beyond the window, and places where the text is not. */
function biasOf(context: Context, { size, count }: Pieces, reach: number): Value {
  const { graph, layout } = context;
  const range = (from: number, to: number): Value =>
    graph.node('Range', [graph.int64([from], []), graph.int64([to], []), graph.int64([1], [])]);
  const keys = range(-size, 2 * size);
  const queries = graph.node('Unsqueeze', [range(0, size), graph.int64([1])]);
  const far = graph.node('Greater', [
    graph.node('Abs', [graph.node('Sub', [keys, queries])]),
    graph.int64([reach], []),
  ]);
  const pieces = graph.node('Range', [graph.int64([0], []), graph.node('Squeeze', [count]), graph.int64([1], [])]);
  const starts = graph.node('Unsqueeze', [graph.node('Mul', [pieces, graph.int64([size], [])]), graph.int64([1])]);
  const places = graph.node('Add', [starts, keys]);
  const lengths = graph.node('Unsqueeze', [graph.cast(layout.lengths, 'int64'), graph.int64([1, 2])]);
  const outside = graph.node('Or', [
    graph.node('Less', [places, graph.int64([0], [])]),
    graph.node('GreaterOrEqual', [places, lengths]),
  ]);
  const ofPieces = graph.node('Reshape', [outside, graph.int64([-1, 1, 3 * size])]);
  return lowWhere(context, graph.node('Or', [far, ofPieces]), [1]);
}

/** Blocks `[texts, longest, heads × headSize]` of queries, keys and values → such blocks. */
export function attendNear(
  context: Context,
  [query, key, value]: readonly [Value, Value, Value],
  { heads, headSize, reach, scale }: Window,
): Value {
  const { graph, layout } = context;
  const width = heads * headSize;
  const pieces = piecesOf(context, reach);
  const inputs = [
    cut(context, query, pieces, width),
    cutWithNeighbours(context, key, pieces, width),
    cutWithNeighbours(context, value, pieces, width),
    '',
    '',
    biasOf(context, pieces, reach),
  ];
  const attended = graph.node('MultiHeadAttention', inputs, {
    domain: MICROSOFT,
    attributes: { num_heads: { int: heads }, ...(scale !== undefined && { scale: { float: scale } }) },
  });
  const whole = concat(graph, [graph.node('Shape', [layout.lengths]), graph.int64([-1, width])], 0);
  const joined = graph.node('Reshape', [attended, whole]);
  const length = graph.node('Reshape', [layout.blockLength(), graph.int64([1])]);
  return graph.node('Slice', [joined, graph.int64([0]), length, graph.int64([1])]);
}
