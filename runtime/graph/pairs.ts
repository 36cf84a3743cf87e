// Attention for which no operator goes by pieces: with biases that each pair of tokens has of its own, or with squeezed scores. Of
// long texts it is computed for some queries at a time: no scores of all pairs are ever held.
import { MICROSOFT } from './onnx.ts';
import type { AttributeValue, Element, GraphBuilder, Value } from './onnx.ts';
import { lowWhere, toCompute } from './ops.ts';
import type { Context } from './ops.ts';
import { textPositions } from './rotary.ts';

/** Blocks are `[texts, tokens, heads × headSize]`. */
export interface PairBias {
  /** Of all queries, `[1 or texts, heads, longest, longest]`; not used where texts are long. */
  readonly whole: (query: Value, key: Value) => Value;
  /** Of all keys, once for all parts. */
  readonly prepare?: (key: Value) => Value;
  /** What it takes of memory for each pair of tokens, of all heads. */
  readonly bytes: number;
  /** And for each token. Default 0. */
  readonly tokenNumbers?: number;
  /** Of some queries, whose distances to the keys (key − query) are int64 `[queries, longest]`; `prepared` is what `prepare` made. */
  readonly part: (query: Value, distances: Value, prepared: Value) => Value;
}

/** Longer texts are computed by parts; up to here making biases once for all layers is worth more. */
const LONG = 1024;
/** Queries of one part. */
const PART = 128;

/** Of a pair of tokens, for each head. */
export const SCORE_BYTES = 4;

/** Pairs of tokens of a text of which something is held at once. */
const heldPairs = (tokens: number): number => (tokens > LONG ? PART * tokens : tokens ** 2);

/** The most that any text of so many tokens or fewer makes of so many bytes a token and a pair: one just short may take more than a long one. */
export const heldBytes = (
  tokens: number,
  { tokenBytes, pairBytes }: Readonly<Record<'tokenBytes' | 'pairBytes', number>>,
): number =>
  Math.max(...[Math.min(tokens, LONG), tokens].map((length) => length * tokenBytes + heldPairs(length) * pairBytes));

/** Whether the longest text of a run is computed by parts. */
export const isLongForPairs = ({ graph, layout }: Context): Value =>
  graph.node('Greater', [layout.blockLength(), graph.int64([LONG], [])]);

/** `[1, 1, 1, 1]`: stands for a value that nobody reads. It is none of the constants, which a branch must not give. */
export function placeholder({ graph, layout }: Context, element: Element): Value {
  return graph.cast(graph.node('Reshape', [layout.blockLength(), graph.int64([1, 1, 1, 1])]), element);
}

/** A value of all pairs, made once for all layers; where texts are computed by parts there is none. */
export function unlessLong(context: Context, make: () => Value, element: Element): Value {
  const { graph, layout } = context;
  if (layout.uniform === undefined) return make();
  return graph.branch(isLongForPairs(context), () => placeholder(context, element), make);
}

/** key position − query position, int64 `[longest, longest]`. */
export function keyDistances(context: Context): Value {
  const positions = textPositions(context);
  return between(context, positions, positions);
}

function between({ graph }: Context, queries: Value, keys: Value): Value {
  const row = graph.node('Unsqueeze', [keys, graph.int64([0])]);
  const column = graph.node('Unsqueeze', [queries, graph.int64([1])]);
  return graph.node('Sub', [row, column]);
}

const concat = (graph: GraphBuilder, values: readonly Value[]): Value =>
  graph.node('Concat', values, { attributes: { axis: { int: 0 } } });

/** Blocks of some queries, and their distances to the keys as in `PairBias` → what they attend to, as such blocks. */
type AttendPart = (query: Value, distances: Value) => Value;

/** Blocks of all queries → such blocks. */
function inParts(context: Context, query: Value, width: number, attend: AttendPart): Value {
  const { graph, layout } = context;
  const length = graph.node('Reshape', [layout.blockLength(), graph.int64([1])]);
  const part = graph.int64([PART]);
  const upwards = graph.node('Add', [length, graph.int64([PART - 1])]);
  const count = graph.node('Div', [upwards, part]);
  const surplus = graph.node('Sub', [graph.node('Mul', [count, part]), length]);
  const edges = concat(graph, [graph.int64([0, 0, 0, 0]), surplus, graph.int64([0])]);
  const padded = graph.node('Pad', [query, edges]);
  const keys = textPositions(context);
  // [parts, texts, queries of a part, width].
  const attended = graph.repeat(graph.node('Squeeze', [count]), (index) => {
    const start = graph.node('Mul', [graph.node('Reshape', [index, graph.int64([1])]), part]);
    const own = graph.node('Slice', [padded, start, graph.node('Add', [start, part]), graph.int64([1])]);
    const range = graph.node('Range', [graph.int64([0], []), graph.int64([PART], []), graph.int64([1], [])]);
    return attend(own, between(context, graph.node('Add', [range, start]), keys));
  });
  const byText = graph.node('Transpose', [attended], { attributes: { perm: { ints: [1, 0, 2, 3] } } });
  const whole = concat(graph, [graph.node('Shape', [layout.lengths]), graph.int64([-1, width])]);
  const joined = graph.node('Reshape', [byText, whole]);
  return graph.node('Slice', [joined, graph.int64([0]), length, graph.int64([1])]);
}

type Blocks = readonly [query: Value, key: Value, value: Value];

export interface BiasedShape {
  readonly width: number;
  /** Of the operator: heads, and what scores are multiplied by. */
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  readonly pairs: PairBias;
}

export function attendBiased(context: Context, [query, key, value]: Blocks, shape: BiasedShape): Value {
  const { graph, layout } = context;
  const { width, attributes, pairs } = shape;
  const prepared = pairs.prepare?.(key) ?? key;
  return inParts(context, query, width, (own, distances) =>
    graph.node('MultiHeadAttention', [own, key, value, '', layout.lengths, pairs.part(own, distances, prepared)], {
      domain: MICROSOFT,
      attributes,
    }),
  );
}

export interface CappedShape {
  readonly heads: number;
  readonly headSize: number;
  readonly scale: number;
  /** Scores are squeezed between this and its negative. */
  readonly softCap: number;
  /** How many tokens each one sees at most, itself included. */
  readonly window: number | undefined;
}

/** Causal: no token sees the padding behind its text. */
export function attendCapped(context: Context, [query, key, value]: Blocks, shape: CappedShape): Value {
  const { graph } = context;
  const { heads, headSize, scale, softCap, window } = shape;
  const width = heads * headSize;
  const perHead = (blocks: Value, perm: readonly number[]): Value => {
    const split = graph.node('Reshape', [blocks, graph.int64([0, -1, heads, headSize])]);
    return graph.node('Transpose', [split], { attributes: { perm: { ints: perm } } });
  };
  const times = (scores: Value, factor: number): Value =>
    graph.node('Mul', [scores, toCompute(context, graph.node('Identity', [graph.float32([factor], [])]))]);
  const [keys, values] = [perHead(key, [0, 2, 3, 1]), perHead(value, [0, 2, 1, 3])];
  return inParts(context, query, width, (own, distances) => {
    const scores = graph.node('MatMul', [perHead(own, [0, 2, 1, 3]), keys]);
    const capped = times(graph.node('Tanh', [times(scores, scale / softCap)]), softCap);
    const behind = graph.node('Greater', [distances, graph.int64([0], [])]);
    const outside =
      window === undefined
        ? behind
        : graph.node('Or', [behind, graph.node('LessOrEqual', [distances, graph.int64([-window], [])])]);
    const masked = graph.node('Add', [capped, lowWhere(context, outside)]);
    const shares = graph.node('Softmax', [masked], { attributes: { axis: { int: -1 } } });
    const attended = graph.node('MatMul', [shares, values]);
    const byToken = graph.node('Transpose', [attended], { attributes: { perm: { ints: [0, 2, 1, 3] } } });
    return graph.node('Reshape', [byToken, graph.int64([0, 0, width])]);
  });
}
