// ELECTRA's discriminator and generator: BERT, its embeddings narrower than its layers.
import { integerOf, requireSetting } from '../../model/description.ts';
import { BERT_NAMES, encodeLayers, encoderShapeOf, positionedEmbeddings, widen } from '../encoder.ts';
import type { Architecture } from '../ops.ts';
import { belowPrefix } from '../weights.ts';

export const electra: Architecture = {
  modelTypes: ['electra'],
  classes: ['ElectraModel', 'ElectraForPreTraining', 'ElectraForMaskedLM'],
  encode(context, allWeights, { config }) {
    requireSetting(config, 'position_embedding_type', ['absolute']);
    requireSetting(config, 'is_decoder', [false]);
    const shape = encoderShapeOf(config);
    const width = integerOf(config, ['embedding_size'], 128);
    const weights = belowPrefix(allWeights, ['', 'electra.'], 'embeddings.word_embeddings.weight');
    const norm = { width, epsilon: shape.epsilon };
    const embedded = { rows: positionedEmbeddings(context, weights.below('embeddings.'), config, norm), width };
    const rows = widen(context, embedded, weights.below('embeddings_project.'), shape.hidden);
    return encodeLayers(context, rows, { weights: weights.below('encoder.layer.'), shape, names: BERT_NAMES });
  },
};
