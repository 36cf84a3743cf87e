// RoBERTa and its kin: BERT whose positions start behind the padding id.
import type { Architecture } from './architecture.ts';
import { BERT_NAMES, encoderLayer, encoderShapeOf } from './blocks.ts';
import { integerOf, requireSetting } from './config.ts';
import type { Config } from './config.ts';
import { positionedEmbeddings } from './embeddings.ts';
import type { FeedPlan } from './types.ts';
import { belowPrefix } from './weights.ts';

/** fairseq's numbering. */
export function positionsAfterPadding(config: Config): FeedPlan['positions'] {
  const paddingId = integerOf(config, ['pad_token_id'], 1);
  return { start: paddingId + 1, paddingId };
}

const CLASSES = ['Model', 'ForMaskedLM', 'ForSequenceClassification'];

export const roberta: Architecture = {
  modelTypes: ['roberta', 'xlm-roberta', 'camembert'],
  classes: ['Roberta', 'XLMRoberta', 'Camembert'].flatMap((name) => CLASSES.map((suffix) => name + suffix)),
  encode(context, allWeights, { config }) {
    requireSetting(config, 'position_embedding_type', ['absolute']);
    requireSetting(config, 'is_decoder', [false]);
    const shape = encoderShapeOf(config);
    const weights = belowPrefix(allWeights, ['', 'roberta.', 'camembert.'], 'embeddings.word_embeddings.weight');
    let rows = positionedEmbeddings(context, weights.below('embeddings.'), config, {
      positions: context.layout.positions(),
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
  positions: positionsAfterPadding,
};
