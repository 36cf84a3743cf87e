// Learned biases by distance, as T5 has them: distances in buckets, one number for each bucket and head.
import { unsupported } from '../model/description.ts';
import { biasByDistance } from './attention.ts';
import type { Value } from './onnx.ts';
import type { Context } from './ops.ts';
import type { PairBias } from './pairs.ts';

export interface BucketShape {
  readonly buckets: number;
  /** From here on all distances share the last bucket of their side. */
  readonly maxDistance: number;
}

/**
 * T5's buckets: half for keys behind the query; small distances one bucket each, larger ones by logarithm.
 * Rounded to float32 at every step as torch does, since a distance can fall on a bucket's border.
 */
export function distanceBucket(keyMinusQuery: number, { buckets, maxDistance }: BucketShape): number {
  const half = Math.floor(buckets / 2);
  const side = keyMinusQuery > 0 ? half : 0;
  const distance = Math.abs(keyMinusQuery);
  const exact = Math.floor(half / 2);
  if (distance < exact) return side + distance;
  const { fround } = Math;
  const share = fround(fround(Math.log(fround(distance / exact))) / fround(Math.log(maxDistance / exact)));
  return side + Math.min(exact + Math.trunc(fround(share * (half - exact))), half - 1);
}

export interface RelativeBias extends BucketShape {
  readonly heads: number;
  /** `[buckets, heads]`. */
  readonly table: Value;
  /** Tokens of the longest text. */
  readonly longest: number;
}

/** One number for each distance and head. */
export function relativeBias(context: Context, { heads, table, longest, ...shape }: RelativeBias): PairBias {
  const { graph } = context;
  if (shape.buckets < 4 || shape.maxDistance <= shape.buckets / 4) {
    throw unsupported(`config.json: ${shape.buckets} buckets up to distance ${shape.maxDistance} are not supported.`);
  }
  // One more than there are distances: of an odd size it could not lie beside the weights (`session.ts`).
  const buckets = Array.from({ length: 16 * Math.ceil(longest / 8) }, (_, index) =>
    distanceBucket(index - (longest - 1), shape),
  );
  const byHead = graph.node('Transpose', [table], { attributes: { perm: { ints: [1, 0] } } });
  const byDistance = graph.node('Gather', [byHead, graph.int32(buckets)], { attributes: { axis: { int: 1 } } });
  return biasByDistance(context, heads, (distances) => {
    const indices = graph.node('Add', [distances, graph.int64([longest - 1], [])]);
    const bias = graph.node('Gather', [byDistance, indices], { attributes: { axis: { int: 1 } } });
    return graph.node('Unsqueeze', [bias, graph.int64([0])]);
  });
}
