// MPNet: BERT's layers with a learned bias by bucketed distance, shared by all layers.
import { integerOf } from '../../model/description.ts';
import { encode, encoderShapeOf } from '../encoder.ts';
import type { LayerNames } from '../encoder.ts';
import type { Architecture } from '../ops.ts';
import { relativeBias } from '../relative.ts';
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
      pairs: (own) =>
        relativeBias(context, {
          heads: shape.heads,
          table: own.tensor('encoder.relative_attention_bias.weight', [buckets, shape.heads]),
          buckets,
          maxDistance: MAX_DISTANCE,
          longest,
        }),
    });
  },
  positions: positionsAfterPadding,
};
