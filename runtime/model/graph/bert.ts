// BERT: learned absolute positions, post-norm layers.
import type { Architecture } from './architecture.ts';
import { BERT_NAMES, encoderLayer, encoderShapeOf } from './blocks.ts';
import { requireSetting } from './config.ts';
import { positionedEmbeddings } from './embeddings.ts';
import { belowPrefix } from './weights.ts';

export const bert: Architecture = {
  modelTypes: ['bert'],
  classes: ['BertModel', 'BertForMaskedLM', 'BertForPreTraining', 'BertForSequenceClassification'],
  encode(context, allWeights, { config }) {
    requireSetting(config, 'position_embedding_type', ['absolute']);
    requireSetting(config, 'is_decoder', [false]);
    const shape = encoderShapeOf(config);
    const weights = belowPrefix(allWeights, ['', 'bert.'], 'embeddings.word_embeddings.weight');
    let rows = positionedEmbeddings(context, weights.below('embeddings.'), config, {
      positions: context.layout.implicitPositions ? undefined : context.layout.positions(),
      width: shape.hidden,
      epsilon: shape.epsilon,
    });
    for (let layer = 0; layer < shape.layers; layer++) {
      rows = encoderLayer(context, rows, {
        weights: weights.below(`encoder.layer.${layer}.`),
        shape,
        names: BERT_NAMES,
      });
    }
    return { rows, width: shape.hidden };
  },
};
