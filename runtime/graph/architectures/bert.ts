// BERT: learned absolute positions, post-norm layers.
import { requireSetting } from '../config.ts';
import { BERT_NAMES, encode, encoderShapeOf } from '../encoder.ts';
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
