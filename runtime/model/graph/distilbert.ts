// DistilBERT: BERT's layers under other names, without token types.
import type { Architecture } from './architecture.ts';
import { encoderLayer } from './blocks.ts';
import type { EncoderShape, LayerNames } from './blocks.ts';
import { headSizeOf, integerOf, stringOf } from './config.ts';
import type { Config } from './config.ts';
import { positionedEmbeddings } from './embeddings.ts';
import { belowPrefix } from './weights.ts';

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
  encode(context, allWeights, { config }) {
    const shape = shapeOf(config);
    const weights = belowPrefix(allWeights, ['', 'distilbert.'], 'embeddings.word_embeddings.weight');
    let rows = positionedEmbeddings(context, weights.below('embeddings.'), config, {
      positions: context.layout.implicitPositions ? undefined : context.layout.positions(),
      width: shape.hidden,
      epsilon: shape.epsilon,
    });
    for (let layer = 0; layer < shape.layers; layer++) {
      rows = encoderLayer(context, rows, {
        weights: weights.below(`transformer.layer.${layer}.`),
        shape,
        names: NAMES,
      });
    }
    return { rows, width: shape.hidden };
  },
};
