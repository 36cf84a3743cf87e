// DeBERTa's scores: what a token says to distances, and distances to a token, beside what tokens say to each other.
import { unsupported } from '../model/description.ts';
import { keyDistances } from './attention.ts';
import type { BiasOfBlocks } from './attention.ts';
import { linear } from './linear.ts';
import type { Value } from './onnx.ts';
import type { Context } from './ops.ts';
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
  /**
   * Where the score of query i and key j lies among scores `[longest, 2 × span]` of queries, and of keys: int64
   * `[longest, longest]` each.
   */
  readonly ofQueries: Value;
  readonly ofKeys: Value;
}

/** One for all layers. */
export function distanceIndex(context: Context, shape: DistanceShape): DistanceIndex {
  const { graph } = context;
  const { longest, span, buckets, maxDistance } = shape;
  if (buckets === 1 || (buckets > 0 && maxDistance - 1 <= buckets / 2)) {
    throw unsupported(`config.json: ${buckets} position_buckets up to distance ${maxDistance} are not supported.`);
  }
  const rows = Array.from({ length: 2 * longest - 1 }, (_, index) => distanceRow(longest - 1 - index, shape));
  const places = graph.node('Add', [keyDistances(context), graph.int64([longest - 1], [])]);
  const row = graph.node('Gather', [graph.int64(rows), places]);
  const starts = graph.node('Range', [graph.int64([0], []), context.layout.blockLength(), graph.int64([1], [])]);
  const of = (axis: number): Value => {
    const tokens = graph.node('Unsqueeze', [starts, graph.int64([axis])]);
    return graph.node('Add', [row, graph.node('Mul', [tokens, graph.int64([2 * span], [])])]);
  };
  return { shape, ofQueries: of(1), ofKeys: of(0) };
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

/** `[texts, tokens, heads × headSize]` → `[texts, heads, tokens, headSize]`. */
function perHead({ graph }: Context, blocks: Value, { heads, headSize }: Disentangled): Value {
  const split = graph.node('Reshape', [blocks, graph.int64([0, 0, heads, headSize])]);
  return graph.node('Transpose', [split], { attributes: { perm: { ints: [0, 2, 1, 3] } } });
}

/** `[texts, heads, longest, longest]`: scores of each token with each row of the table, of which each pair takes one. */
function scoresOf(
  context: Context,
  blocks: Value,
  [table, index]: readonly [Value, Value],
  shape: Disentangled,
): Value {
  const { graph } = context;
  const { heads, headSize } = shape;
  const rows = graph.node('Reshape', [table, graph.int64([-1, heads, headSize])]);
  const scaled = graph.node('Mul', [rows, scalar(context, shape.scale)]);
  const columns = graph.node('Transpose', [scaled], { attributes: { perm: { ints: [1, 2, 0] } } });
  const scores = graph.node('MatMul', [perHead(context, blocks, shape), columns]);
  const flat = graph.node('Reshape', [scores, graph.int64([0, heads, -1])]);
  return graph.node('Gather', [flat, index], { attributes: { axis: { int: 2 } } });
}

const scalar = ({ graph, compute }: Context, value: number): Value =>
  compute === 'float32' ? graph.float32([value], []) : graph.cast(graph.float32([value], []), compute);

/** What is added to the scores of queries and keys; nothing where neither speaks to distances. */
export function disentangledBias(context: Context, shape: Disentangled): BiasOfBlocks | undefined {
  const { keys, queries, index } = shape;
  if (keys === undefined && queries === undefined) return undefined;
  return (query, key) => {
    const parts: Value[] = [];
    if (keys !== undefined) parts.push(scoresOf(context, query, [keys, index.ofQueries], shape));
    if (queries !== undefined) parts.push(scoresOf(context, key, [queries, index.ofKeys], shape));
    return parts.reduce((left, right) => context.graph.node('Add', [left, right]));
  };
}

/** The table of distances through a linear layer: constant, so ONNX Runtime computes it once, at load. */
export const projectTable = (context: Context, table: Value, weights: Weights, width: number): Value =>
  linear({ graph: context.graph, int8: false }, table, weights, { inputs: width, outputs: width });
