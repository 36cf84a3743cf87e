// How the token vectors of each text become one: the part of the graph, and what each run feeds to it. Pure.
// Workers load it for the feeds: whatever builds graphs is imported as types alone.
import type { Pooling, PoolingMode } from '../model/modules.ts';
import type { GraphBuilder, OnnxValue, Value } from './onnx.ts';
import type { ComputeElement } from './weights.ts';

/** One input of a run. */
export type Feed =
  | { readonly type: 'int32'; readonly data: Int32Array; readonly dims: readonly number[] }
  | { readonly type: 'float32'; readonly data: Float32Array; readonly dims: readonly number[] }
  | { readonly type: 'bool'; readonly data: Uint8Array; readonly dims: readonly number[] };

/** What pooling needs of the graph around it. */
export interface PoolingContext {
  readonly graph: GraphBuilder;
  readonly compute: ComputeElement;
  /** Rows → `[texts, longest, width]`. */
  readonly toBlocks: (rows: Value) => Value;
}

/** Which tokens of a run take part: those of text `t` at `from[t] … lengths[t] − 1`, its first row at `starts[t]`. */
interface Span {
  readonly starts: Int32Array;
  readonly lengths: Int32Array;
  readonly from: Int32Array;
  readonly longest: number;
}

interface Mode {
  readonly input: OnnxValue;
  pool(context: PoolingContext, rows: Value): Value;
  feed(span: Span): Feed;
}

const int32 = (data: Int32Array, dims: readonly number[]): Feed => ({ type: 'int32', data, dims });

// Weighted sums.

function sumBy(name: string): Mode['pool'] {
  return ({ graph, compute, toBlocks }, rows) => {
    const weights = compute === 'float32' ? name : graph.cast(name, compute);
    return graph.node('Squeeze', [graph.node('MatMul', [weights, toBlocks(rows)]), graph.int64([1])]);
  };
}

/** Sets what each token of a text counts for, from the first that takes part. */
type Fill = (weights: Float32Array, from: number) => void;

/** Poolings that are sums of token vectors. */
export const TOKEN_WEIGHTS = {
  mean: (weights, from) => void weights.fill(1 / (weights.length - from), from),
  meanSqrtLength: (weights, from) => void weights.fill(1 / Math.sqrt(weights.length - from), from),
  /** Position 1, 2, 3 …, tokens left out counted too. */
  weightedMean: (weights, from) => {
    const last = weights.length;
    const sum = (last * (last + 1) - from * (from + 1)) / 2;
    for (let position = from; position < last; position++) weights[position] = (position + 1) / sum;
  },
} as const satisfies Partial<Readonly<Record<PoolingMode, Fill>>>;

/** Weights per block: per run they would grow with its square, 50 MB for what a GPU takes at once. */
function weightsFeed({ lengths, from, longest }: Span, fill: Fill): Feed {
  const data = new Float32Array(lengths.length * longest);
  for (const [text, length] of lengths.entries()) {
    fill(data.subarray(text * longest, text * longest + length), from[text] ?? 0);
  }
  return { type: 'float32', data, dims: [lengths.length, 1, longest] };
}

function summed(name: string, fill: Fill): Mode {
  return {
    input: { name, element: 'float32', dims: ['texts', 1, 'longest'] },
    pool: sumBy(name),
    feed: (span) => weightsFeed(span, fill),
  };
}

// One row of each text.

function taken(name: string, rowOf: (span: Span, text: number) => number): Mode {
  return {
    input: { name, element: 'int32', dims: ['texts'] },
    pool: ({ graph }, rows) => graph.node('Gather', [rows, name]),
    feed: (span) => {
      const rows = span.starts.map((start, text) => start + rowOf(span, text));
      return int32(rows, [rows.length]);
    },
  };
}

// The largest of each number.

const MAX_ROWS = 'pooled_rows';

/** A text's own last row stands for its padding, and for tokens left out. */
function maxRows({ starts, lengths, from, longest }: Span): Feed {
  const rows = new Int32Array(lengths.length * longest);
  for (const [text, length] of lengths.entries()) {
    const start = starts[text] ?? 0;
    for (let position = 0; position < longest; position++) {
      const counts = position >= (from[text] ?? 0) && position < length;
      rows[text * longest + position] = start + (counts ? position : length - 1);
    }
  }
  return int32(rows, [lengths.length, longest]);
}

const MODES: Readonly<Record<PoolingMode, Mode>> = {
  mean: summed('mean_weights', TOKEN_WEIGHTS.mean),
  meanSqrtLength: summed('root_weights', TOKEN_WEIGHTS.meanSqrtLength),
  weightedMean: summed('position_weights', TOKEN_WEIGHTS.weightedMean),
  cls: taken('first_rows', ({ from }, text) => from[text] ?? 0),
  lastToken: taken('last_rows', ({ lengths }, text) => (lengths[text] ?? 1) - 1),
  max: {
    input: { name: MAX_ROWS, element: 'int32', dims: ['texts', 'longest'] },
    pool: ({ graph }, rows) =>
      graph.node('ReduceMax', [graph.node('Gather', [rows, MAX_ROWS]), graph.int64([1])], {
        attributes: { keepdims: { int: 0 } },
      }),
    feed: maxRows,
  },
};

export const poolingInputs = ({ modes }: Pooling): readonly OnnxValue[] =>
  [...new Set(modes)].map((mode) => MODES[mode].input);

/** Rows → `[texts, width × modes]`. */
export function poolRows(context: PoolingContext, rows: Value, { modes }: Pooling): Value {
  const [first, ...others] = modes.map((mode) => MODES[mode].pool(context, rows));
  if (first === undefined) throw new RangeError('A pooling has one mode or more.');
  if (others.length === 0) return first;
  return context.graph.node('Concat', [first, ...others], { attributes: { axis: { int: -1 } } });
}

export interface PooledTexts {
  readonly lengths: Int32Array;
  /** Of a block, at least the longest text's. */
  readonly longest: number;
  /** Tokens at the beginning of each text that take no part where prompts do not, never all of them. */
  readonly skips: Int32Array | undefined;
}

/** The feeds of `poolingInputs`. */
export function poolingFeeds(
  { lengths, longest, skips }: PooledTexts,
  { modes, includePrompt }: Pooling,
): Readonly<Record<string, Feed>> {
  const starts = new Int32Array(lengths.length);
  let row = 0;
  for (const [text, length] of lengths.entries()) {
    starts[text] = row;
    row += length;
  }
  const from = includePrompt || skips === undefined ? new Int32Array(lengths.length) : skips;
  const span = { starts, lengths, from, longest };
  return Object.fromEntries(modes.map((mode) => [MODES[mode].input.name, MODES[mode].feed(span)]));
}
