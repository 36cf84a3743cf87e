// ALBERT: narrow embeddings widened once, and groups of layers that share their weights.
import { integerOf, requireSetting, stringOf } from '../../model/description.ts';
import { positionedEmbeddings, encoderLayer, encoderShapeOf } from '../encoder.ts';
import type { LayerNames } from '../encoder.ts';
import { linear } from '../linear.ts';
import type { Architecture } from '../ops.ts';
import { belowPrefix } from '../weights.ts';

const NAMES: LayerNames = {
  query: 'attention.query',
  key: 'attention.key',
  value: 'attention.value',
  attended: 'attention.dense',
  attentionNorm: 'attention.LayerNorm',
  up: 'ffn',
  down: 'ffn_output',
  outputNorm: 'full_layer_layer_norm',
};

export const albert: Architecture = {
  modelTypes: ['albert'],
  classes: ['AlbertModel', 'AlbertForMaskedLM', 'AlbertForPreTraining'],
  encode(context, allWeights, { config }) {
    requireSetting(config, 'position_embedding_type', ['absolute']);
    const shape = { ...encoderShapeOf(config), activation: stringOf(config, 'hidden_act', 'gelu_new') };
    const embedding = integerOf(config, ['embedding_size'], 128);
    const groups = integerOf(config, ['num_hidden_groups'], 1);
    const weights = belowPrefix(allWeights, ['', 'albert.'], 'embeddings.word_embeddings.weight');
    const embedded = positionedEmbeddings(context, weights.below('embeddings.'), config, {
      width: embedding,
      epsilon: shape.epsilon,
    });
    let rows = linear(context, embedded, weights.below('encoder.embedding_hidden_mapping_in.'), {
      inputs: embedding,
      outputs: shape.hidden,
    });
    for (let layer = 0; layer < shape.layers; layer++) {
      const group = Math.floor((layer * groups) / shape.layers);
      for (let inner = 0; inner < integerOf(config, ['inner_group_num'], 1); inner++) {
        const layerWeights = weights.below(`encoder.albert_layer_groups.${group}.albert_layers.${inner}.`);
        rows = encoderLayer(context, rows, { weights: layerWeights, shape, names: NAMES });
      }
    }
    return { rows, width: shape.hidden };
  },
};
