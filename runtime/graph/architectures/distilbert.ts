// DistilBERT: BERT's layers under other names, without token types.
import { headSizeOf, integerOf, stringOf } from '../../model/description.ts';
import type { Config } from '../../model/description.ts';
import { encode } from '../encoder.ts';
import type { EncoderShape, LayerNames } from '../encoder.ts';
import type { Architecture } from '../ops.ts';

const NAMES: LayerNames = {
  query: 'attention.q_lin',
  key: 'attention.k_lin',
  value: 'attention.v_lin',
  attended: 'attention.out_lin',
  attentionNorm: 'sa_layer_norm',
  up: 'ffn.lin1',
  down: 'ffn.lin2',
  outputNorm: 'output_layer_norm',
};

function shapeOf(config: Config): EncoderShape {
  const hidden = integerOf(config, ['dim']);
  const heads = integerOf(config, ['n_heads']);
  return {
    layers: integerOf(config, ['n_layers']),
    hidden,
    intermediate: integerOf(config, ['hidden_dim']),
    heads,
    headSize: headSizeOf(hidden, heads),
    epsilon: 1e-12,
    activation: stringOf(config, 'activation', 'gelu'),
  };
}

export const distilbert: Architecture = {
  modelTypes: ['distilbert'],
  classes: ['DistilBertModel', 'DistilBertForMaskedLM'],
  encode: (context, weights, { config }) =>
    encode(context, weights, {
      config,
      prefixes: ['', 'distilbert.'],
      layers: 'transformer.layer',
      names: NAMES,
      shape: shapeOf(config),
    }),
};
