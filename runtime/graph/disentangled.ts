// DeBERTa's scores: what a token says to distances, and distances to a token, beside what tokens say to each other.
import { unsupported } from '../model/description.ts';
import { linear } from './linear.ts';
import type { Value } from './onnx.ts';
import type { Context } from './ops.ts';
import { keyDistances, SCORE_BYTES, unlessLong } from './pairs.ts';
import type { PairBias } from './pairs.ts';
import type { Weights } from './weights.ts';

export interface DistanceShape {
  /** Half of the table of distances. */
  readonly span: number;
  /** 0 where each distance has a row of its own. */
  readonly buckets: number;
  /** Where the logarithmic buckets end. */
  readonly maxDistance: number;
  /** Tokens of the longest text. */
  readonly longest: number;
}

/**
 * The row for a distance: small ones have one each, larger ones share by logarithm. Rounded to float32 at every step as torch
 * does, since a distance can fall on a bucket's border.
 */
export function distanceRow(queryMinusKey: number, { span, buckets, maxDistance }: DistanceShape): number {
  const middle = Math.floor(buckets / 2);
  const distance = Math.abs(queryMinusKey);
  const { fround } = Math;
  const log = (ratio: number) => fround(Math.log(fround(ratio)));
  const share = () => fround(log(distance / middle) / log((maxDistance - 1) / middle));
  const shared = () => Math.sign(queryMinusKey) * (Math.ceil(fround(share() * (middle - 1))) + middle);
  const place = buckets === 0 || distance <= middle ? queryMinusKey : shared();
  return Math.min(Math.max(place + span, 0), 2 * span - 1);
}

export interface DistanceIndex {
  readonly shape: DistanceShape;
  /** The row of the table for each query and key, int32 `[texts, heads, longest, longest]`; not where texts are long. */
  readonly rows: Value;
  /** The same for distances int64 `[queries, longest]`. */
  readonly rowsOf: (distances: Value) => Value;
}

/** One for all layers. */
export function distanceIndex(context: Context, shape: DistanceShape, heads: number): DistanceIndex {
  const { graph, layout } = context;
  const { longest, buckets, maxDistance } = shape;
  if (buckets === 1 || (buckets > 0 && maxDistance - 1 <= buckets / 2)) {
    throw unsupported(`config.json: ${buckets} position_buckets up to distance ${maxDistance} are not supported.`);
  }
  const byDistance = Array.from({ length: 2 * longest - 1 }, (_, index) => distanceRow(longest - 1 - index, shape));
  // Padding of the last part may lie one part further away than any token does.
  const rowsOf = (distances: Value): Value => {
    const places = graph.node('Add', [distances, graph.int64([longest - 1], [])]);
    const rows = graph.node('Gather', [graph.int32(byDistance), places]);
    const texts = graph.node('Shape', [layout.lengths]);
    const full = graph.node('Concat', [texts, graph.int64([heads]), graph.node('Shape', [rows])], {
      attributes: { axis: { int: 0 } },
    });
    return graph.node('Expand', [rows, full]);
  };
  return { shape, rowsOf, rows: unlessLong(context, () => rowsOf(keyDistances(context)), 'int32') };
}

export interface Disentangled {
  readonly heads: number;
  readonly headSize: number;
  readonly index: DistanceIndex;
  /** What all scores of a layer are multiplied by. */
  readonly scale: number;
  /** `[2 × span, heads × headSize]` each, where tokens speak to distances (of keys), and distances (of queries) to tokens. */
  readonly keys: Value | undefined;
  readonly queries: Value | undefined;
}

/** The row of the table for each pair, what one side says, and the sum of both. */
const DISENTANGLED_SCORES = 3;

type Axes = readonly [number, number, number, number];

/** `[tokens, heads × headSize]`, or so of each text, with the four dimensions texts, tokens, heads, numbers in the order given. */
function perHead(
  { graph }: Context,
  rows: Value,
  [{ heads, headSize }, texts, perm]: readonly [Disentangled, number, Axes],
) {
  const split = graph.node('Reshape', [rows, graph.int64([texts, -1, heads, headSize])]);
  return graph.node('Transpose', [split], { attributes: { perm: { ints: perm } } });
}

const scalar = ({ graph, compute }: Context, value: number): Value =>
  compute === 'float32' ? graph.float32([value], []) : graph.cast(graph.float32([value], []), compute);

const ROWS: Axes = [0, 2, 1, 3];
const COLUMNS: Axes = [0, 2, 3, 1];

/** What is added to the scores of queries and keys; nothing where neither speaks to distances. */
export function disentangledBias(context: Context, shape: Disentangled): PairBias | undefined {
  const { graph } = context;
  const { keys, queries, index } = shape;
  if (keys === undefined && queries === undefined) return undefined;
  const scaled = (table: Value) => graph.node('Mul', [table, scalar(context, shape.scale)]);
  const blocks = (of: Value, axes: Axes) => perHead(context, of, [shape, 0, axes]);
  const table = (of: Value, axes: Axes) => perHead(context, scaled(of), [shape, 1, axes]);
  const pick = (scores: Value, from: Value, axis: number): Value =>
    graph.node('GatherElements', [scores, from], { attributes: { axis: { int: axis } } });
  const columns = keys && table(keys, COLUMNS);
  const rows = queries && table(queries, ROWS);
  // [texts, heads, rows of the table, longest].
  const toKeys = (key: Value): Value | undefined => rows && graph.node('MatMul', [rows, blocks(key, COLUMNS)]);
  const sum = (query: Value, spoken: Value | undefined, from: Value): Value => {
    // [texts, heads, queries, rows of the table]: each pair of tokens takes one of both.
    const parts = [
      columns && pick(graph.node('MatMul', [blocks(query, ROWS), columns]), from, 3),
      spoken && pick(spoken, from, 2),
    ].filter((part) => part !== undefined);
    return parts.reduce((left, right) => graph.node('Add', [left, right]));
  };
  return {
    bytes: DISENTANGLED_SCORES * shape.heads * SCORE_BYTES,
    // What distances say to it.
    tokenNumbers: shape.heads * 2 * index.shape.span,
    whole: (query, key) => sum(query, toKeys(key), index.rows),
    prepare: (key) => toKeys(key) ?? key,
    part: (query, distances, prepared) => sum(query, rows && prepared, index.rowsOf(distances)),
  };
}

/** The table of distances through a linear layer: constant, so ONNX Runtime computes it once, at load. */
export const projectTable = (context: Context, table: Value, weights: Weights, width: number): Value =>
  linear({ graph: context.graph, int8: false }, table, weights, { inputs: width, outputs: width });
