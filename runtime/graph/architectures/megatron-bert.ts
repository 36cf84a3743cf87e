// MegatronBERT and XLM-RoBERTa XL: BERT's layers with each norm before its half, and one behind them all.
import { attend } from '../attention.ts';
import { integerOf, requireSetting } from '../../model/description.ts';
import type { Config } from '../../model/description.ts';
import { BERT_NAMES, encoderShapeOf, summedEmbeddings } from '../encoder.ts';
import type { EncoderShape } from '../encoder.ts';
import { linear } from '../linear.ts';
import type { Value } from '../onnx.ts';
import { activation, add, normalize } from '../ops.ts';
import type { Architecture, Context, Rows } from '../ops.ts';
import { belowPrefix } from '../weights.ts';
import type { Weights } from '../weights.ts';
import { positionsAfterPadding } from './bert.ts';

interface NormNames {
  readonly attention: string;
  readonly feedForward: string;
  readonly last: string;
}

function layer(context: Context, rows: Value, weights: Weights, shape: EncoderShape & { norms: NormNames }): Value {
  const { hidden, intermediate, heads, headSize, epsilon, norms } = shape;
  const project = (name: string, input: Value, inputs: number, outputs: number) =>
    linear(context, input, weights.below(`${name}.`), { inputs, outputs });
  const normed = (name: string, input: Value) =>
    normalize(context, input, weights.below(`${name}.`), { width: hidden, epsilon });
  const { query, key, value, attended, up, down } = BERT_NAMES;
  const input = normed(norms.attention, rows);
  const square = (name: string) => project(name, input, hidden, hidden);
  const heard = attend(context, [square(query), square(key), square(value)], { heads, headSize });
  const middle = add(context, rows, project(attended, heard, hidden, hidden));
  const wide = project(up, normed(norms.feedForward, middle), hidden, intermediate);
  const active = activation(context, wide, shape.activation);
  return add(context, middle, project(down, active, intermediate, hidden));
}

interface PreNormEncoder {
  readonly config: Config;
  readonly prefixes: readonly string[];
  readonly norms: NormNames;
  /** Rows of the table of token types. */
  readonly types: number;
  /** Where config.json names none. */
  readonly epsilon: number;
}

function encode(context: Context, allWeights: Weights, { config, prefixes, norms, ...own }: PreNormEncoder): Rows {
  requireSetting(config, 'position_embedding_type', ['absolute']);
  requireSetting(config, 'is_decoder', [false]);
  const shape = { ...encoderShapeOf(config, own.epsilon), norms };
  const { hidden: width, epsilon } = shape;
  const weights = belowPrefix(allWeights, prefixes, 'embeddings.word_embeddings.weight');
  let rows = summedEmbeddings(context, weights.below('embeddings.'), config, {
    width,
    types: own.types,
    positions: true,
  });
  for (let index = 0; index < shape.layers; index++) {
    rows = layer(context, rows, weights.below(`encoder.layer.${index}.`), shape);
  }
  return { rows: normalize(context, rows, weights.below(`encoder.${norms.last}.`), { width, epsilon }), width };
}

export const megatronBert: Architecture = {
  modelTypes: ['megatron-bert'],
  classes: ['MegatronBertModel', 'MegatronBertForMaskedLM', 'MegatronBertForPreTraining'],
  encode(context, weights, { config }) {
    const norms = { attention: 'attention.ln', feedForward: 'ln', last: 'ln' };
    return encode(context, weights, {
      config,
      prefixes: ['', 'bert.'],
      norms,
      types: integerOf(config, ['type_vocab_size'], 2),
      epsilon: 1e-12,
    });
  },
};

export const xlmRobertaXl: Architecture = {
  modelTypes: ['xlm-roberta-xl'],
  classes: ['XLMRobertaXLModel', 'XLMRobertaXLForMaskedLM'],
  encode(context, weights, { config }) {
    const norms = { attention: 'attention.self_attn_layer_norm', feedForward: 'LayerNorm', last: 'LayerNorm' };
    return encode(context, weights, {
      config,
      prefixes: ['', 'roberta.'],
      norms,
      types: integerOf(config, ['type_vocab_size'], 1),
      epsilon: 1e-5,
    });
  },
  positions: positionsAfterPadding,
};
