// T5's encoder, and mT5's and UMT5's: norms by root mean square before each half, biases by bucketed distance, scores not scaled.
import { attend } from '../attention.ts';
import { integerOf, numberOf, requireSetting, stringOf, unsupported } from '../../model/description.ts';
import type { Config } from '../../model/description.ts';
import { tokenEmbeddings } from '../encoder.ts';
import type { EncoderShape } from '../encoder.ts';
import { linear } from '../linear.ts';
import type { Value } from '../onnx.ts';
import { activation, add, gate, rootMeanSquareNorm } from '../ops.ts';
import type { Architecture, Context } from '../ops.ts';
import type { PairBias } from '../pairs.ts';
import { relativeBias } from '../relative.ts';
import { belowPrefix } from '../weights.ts';
import type { Weights } from '../weights.ts';

interface T5Shape extends EncoderShape {
  readonly gated: boolean;
}

/** `relu`, `gated-gelu` … : what T5 calls gelu behind a gate is the tanh form. */
function feedForwardOf(config: Config): Pick<T5Shape, 'activation' | 'gated'> {
  const named = stringOf(config, 'feed_forward_proj', config['model_type'] === 't5' ? 'relu' : 'gated-gelu');
  const [name = '', ...more] = named.split('-').reverse();
  if (more.length > 1 || (more.length === 1 && more[0] !== 'gated')) {
    throw unsupported(`config.json: feed_forward_proj ${named} is not supported.`);
  }
  const shape = { activation: named === 'gated-gelu' ? 'gelu_new' : name, gated: more.length === 1 };
  requireSetting(config, 'dense_act_fn', [shape.activation]);
  requireSetting(config, 'is_gated_act', [shape.gated]);
  return shape;
}

function shapeOf(config: Config): T5Shape {
  return {
    layers: integerOf(config, ['num_layers', 'num_hidden_layers']),
    hidden: integerOf(config, ['d_model', 'hidden_size']),
    intermediate: integerOf(config, ['d_ff']),
    heads: integerOf(config, ['num_heads', 'num_attention_heads']),
    headSize: integerOf(config, ['d_kv', 'head_dim']),
    epsilon: numberOf(config, ['layer_norm_epsilon'], 1e-6),
    ...feedForwardOf(config),
  };
}

function attentionHalf(context: Context, rows: Value, weights: Weights, shape: T5Shape & { pairs: PairBias }): Value {
  const { hidden, heads, headSize, pairs } = shape;
  const inner = heads * headSize;
  const project = (name: string) =>
    linear(context, rows, weights.below(`${name}.`), { inputs: hidden, outputs: inner });
  const attended = attend(context, [project('q'), project('k'), project('v')], { heads, headSize, pairs, scale: 1 });
  return linear(context, attended, weights.below('o.'), { inputs: inner, outputs: hidden });
}

function feedForwardHalf(context: Context, rows: Value, weights: Weights, shape: T5Shape): Value {
  const { hidden, intermediate, gated } = shape;
  const up = (name: string) =>
    linear(context, rows, weights.below(`${name}.`), { inputs: hidden, outputs: intermediate });
  const active = gated
    ? gate(context, [up('wi_0'), up('wi_1')], shape.activation)
    : activation(context, up('wi'), shape.activation);
  return linear(context, active, weights.below('wo.'), { inputs: intermediate, outputs: hidden });
}

function layer(context: Context, rows: Value, block: Weights, shape: T5Shape & { pairs: PairBias }): Value {
  const [attention, feedForward] = [block.below('layer.0.'), block.below('layer.1.')];
  const norm = { width: shape.hidden, epsilon: shape.epsilon };
  const input = rootMeanSquareNorm(context, rows, attention.below('layer_norm.'), norm);
  const middle = add(context, rows, attentionHalf(context, input, attention.below('SelfAttention.'), shape));
  const normed = rootMeanSquareNorm(context, middle, feedForward.below('layer_norm.'), norm);
  return add(context, middle, feedForwardHalf(context, normed, feedForward.below('DenseReluDense.'), shape));
}

/** One table for all layers, the first layer's; UMT5 has one for each. */
function biasOf(context: Context, block: Weights, config: Config, shape: T5Shape & { longest: number }): PairBias {
  const buckets = integerOf(config, ['relative_attention_num_buckets'], 32);
  return relativeBias(context, {
    heads: shape.heads,
    table: block.tensor('layer.0.SelfAttention.relative_attention_bias.weight', [buckets, shape.heads]),
    buckets,
    maxDistance: integerOf(config, ['relative_attention_max_distance'], 128),
    longest: shape.longest,
  });
}

const CLASSES = ['Model', 'EncoderModel', 'ForConditionalGeneration'];

export const t5: Architecture = {
  endlessPositions: true,
  modelTypes: ['t5', 'mt5', 'umt5'],
  classes: ['T5', 'MT5', 'UMT5'].flatMap((name) => CLASSES.map((suffix) => name + suffix)),
  // The half that continues texts, where a model was saved whole.
  unused: [/^decoder\./],
  overflowsFloat16: true,
  encode(context, allWeights, { config, modelType, maxTokens }) {
    const shape = { ...shapeOf(config), longest: maxTokens };
    const norm = { width: shape.hidden, epsilon: shape.epsilon };
    const weights = belowPrefix(allWeights, ['', 'transformer.'], 'encoder.final_layer_norm.weight');
    const table = belowPrefix(weights, ['shared.', 'encoder.embed_tokens.'], 'weight');
    let rows = tokenEmbeddings(context, table, config, shape.hidden);
    let pairs: PairBias | undefined;
    for (let index = 0; index < shape.layers; index++) {
      const block = weights.below(`encoder.block.${index}.`);
      if (pairs === undefined || modelType === 'umt5') pairs = biasOf(context, block, config, shape);
      rows = layer(context, rows, block, { ...shape, pairs });
    }
    const last = weights.below('encoder.final_layer_norm.');
    return { rows: rootMeanSquareNorm(context, rows, last, norm), width: shape.hidden };
  },
};
