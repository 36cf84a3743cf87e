// MPNet: BERT's layers with a learned bias by bucketed distance, shared by all layers.
import { keyDistances } from '../attention.ts';
import { integerOf } from '../../model/description.ts';
import { encode, encoderShapeOf } from '../encoder.ts';
import type { LayerNames } from '../encoder.ts';
import type { Value } from '../onnx.ts';
import type { Architecture, Context } from '../ops.ts';
import type { Weights } from '../weights.ts';
import { positionsAfterPadding } from './bert.ts';

const NAMES: LayerNames = {
  query: 'attention.attn.q',
  key: 'attention.attn.k',
  value: 'attention.attn.v',
  attended: 'attention.attn.o',
  attentionNorm: 'attention.LayerNorm',
  up: 'intermediate.dense',
  down: 'output.dense',
  outputNorm: 'output.LayerNorm',
};

const MAX_DISTANCE = 128;

/**
 * T5's buckets: half for keys behind the query; small distances one bucket each, larger ones by logarithm.
 * Rounded to float32 at every step as torch does, since a distance can fall on a bucket's border.
 */
export function distanceBucket(keyMinusQuery: number, buckets: number): number {
  const half = buckets / 2;
  const side = keyMinusQuery > 0 ? half : 0;
  const distance = Math.abs(keyMinusQuery);
  const exact = half / 2;
  if (distance < exact) return side + distance;
  const { fround } = Math;
  const share = fround(fround(Math.log(distance / exact)) / fround(Math.log(MAX_DISTANCE / exact)));
  return side + Math.min(exact + Math.trunc(fround(share * (half - exact))), half - 1);
}

/** `[1, heads, longest, longest]`. */
function relativeBias(context: Context, weights: Weights, longest: number, shape: { heads: number; buckets: number }) {
  const { graph } = context;
  const table = weights.tensor('encoder.relative_attention_bias.weight', [shape.buckets, shape.heads]);
  const buckets = Array.from({ length: 2 * longest - 1 }, (_, index) =>
    distanceBucket(index - (longest - 1), shape.buckets),
  );
  const byHead = graph.node('Transpose', [table], { attributes: { perm: { ints: [1, 0] } } });
  const byDistance = graph.node('Gather', [byHead, graph.int32(buckets)], { attributes: { axis: { int: 1 } } });
  const indices = graph.node('Add', [keyDistances(context), graph.int64([longest - 1], [])]);
  const bias: Value = graph.node('Gather', [byDistance, indices], { attributes: { axis: { int: 1 } } });
  return graph.node('Unsqueeze', [bias, graph.int64([0])]);
}

export const mpnet: Architecture = {
  modelTypes: ['mpnet'],
  classes: ['MPNetModel', 'MPNetForMaskedLM'],
  encode(context, weights, { config }) {
    const shape = encoderShapeOf(config);
    const longest = integerOf(config, ['max_position_embeddings']);
    const buckets = integerOf(config, ['relative_attention_num_buckets'], 32);
    return encode(context, weights, {
      config,
      prefixes: ['', 'mpnet.'],
      layers: 'encoder.layer',
      names: NAMES,
      shape,
      bias: (own) => relativeBias(context, own, longest, { heads: shape.heads, buckets }),
    });
  },
  positions: positionsAfterPadding,
};
