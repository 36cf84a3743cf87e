// BERT, and RoBERTa and its kin: learned absolute positions, post-norm layers.
import { requireSetting, integerOf } from '../../model/description.ts';
import type { Config } from '../../model/description.ts';
import { BERT_NAMES, encode, encoderShapeOf } from '../encoder.ts';
import type { Positions } from '../layout.ts';
import type { Architecture } from '../ops.ts';

export const bert: Architecture = {
  modelTypes: ['bert'],
  classes: ['BertModel', 'BertForMaskedLM', 'BertForPreTraining', 'BertForSequenceClassification'],
  encode(context, weights, { config }) {
    requireSetting(config, 'position_embedding_type', ['absolute']);
    requireSetting(config, 'is_decoder', [false]);
    return encode(context, weights, {
      config,
      prefixes: ['', 'bert.'],
      layers: 'encoder.layer',
      names: BERT_NAMES,
      shape: encoderShapeOf(config),
    });
  },
};

// RoBERTa and its kin: BERT whose positions start behind the padding id.

/** fairseq's numbering. */
export function positionsAfterPadding(config: Config): Positions {
  const paddingId = integerOf(config, ['pad_token_id'], 1);
  return { start: paddingId + 1, paddingId };
}

const CLASSES = ['Model', 'ForMaskedLM', 'ForSequenceClassification'];

export const roberta: Architecture = {
  modelTypes: ['roberta', 'xlm-roberta', 'camembert'],
  classes: ['Roberta', 'XLMRoberta', 'Camembert'].flatMap((name) => CLASSES.map((suffix) => name + suffix)),
  encode(context, weights, { config }) {
    requireSetting(config, 'position_embedding_type', ['absolute']);
    requireSetting(config, 'is_decoder', [false]);
    return encode(context, weights, {
      config,
      prefixes: ['', 'roberta.', 'camembert.'],
      layers: 'encoder.layer',
      names: BERT_NAMES,
      shape: encoderShapeOf(config),
    });
  },
  positions: positionsAfterPadding,
};
