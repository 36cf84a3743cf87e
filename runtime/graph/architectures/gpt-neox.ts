// GPT-NeoX: attention and feed-forward beside each other, a part of each head turned, queries, keys and values fused by head.
import { attend } from '../attention.ts';
import type { AttentionShape } from '../attention.ts';
import { numberOf, requireSetting } from '../../model/description.ts';
import type { Config } from '../../model/description.ts';
import { isCausal, refuseBothWays } from '../decoder.ts';
import { encoderShapeOf, tokenEmbeddings } from '../encoder.ts';
import type { EncoderShape } from '../encoder.ts';
import { linear } from '../linear.ts';
import type { Value } from '../onnx.ts';
import { activation, add, normalize, splitByHead } from '../ops.ts';
import type { Architecture, Context } from '../ops.ts';
import { ropeOf, rotaryTables } from '../rotary.ts';
import { belowPrefix } from '../weights.ts';
import type { Weights } from '../weights.ts';

interface Layer {
  readonly weights: Weights;
  readonly shape: EncoderShape;
  readonly bias: boolean;
  readonly attention: Pick<AttentionShape, 'causal' | 'rotary'>;
}

function attentionOf(context: Context, rows: Value, { weights, shape, bias, attention }: Layer): Value {
  const { hidden, heads, headSize } = shape;
  const fused = linear(context, rows, weights.below('query_key_value.'), { inputs: hidden, outputs: 3 * hidden, bias });
  const [query = '', key = '', value = ''] = splitByHead(context, fused, shape);
  const attended = attend(context, [query, key, value], { heads, headSize, ...attention });
  return linear(context, attended, weights.below('dense.'), { inputs: hidden, outputs: hidden, bias });
}

function feedForwardOf(context: Context, rows: Value, { weights, shape }: Layer): Value {
  const { hidden, intermediate } = shape;
  const widen = { inputs: hidden, outputs: intermediate, bias: true };
  const wide = linear(context, rows, weights.below('dense_h_to_4h.'), widen);
  const narrow = { inputs: intermediate, outputs: hidden, bias: true };
  return linear(context, activation(context, wide, shape.activation), weights.below('dense_4h_to_h.'), narrow);
}

function encodeLayer(context: Context, rows: Value, layer: Layer, beside: boolean): Value {
  const { weights, shape } = layer;
  const normed = (of: Value, name: string): Value =>
    normalize(context, of, weights.below(name), { width: shape.hidden, epsilon: shape.epsilon });
  const input = normed(rows, 'input_layernorm.');
  const attended = attentionOf(context, input, { ...layer, weights: weights.below('attention.') });
  const feed = (of: Value): Value =>
    feedForwardOf(context, normed(of, 'post_attention_layernorm.'), { ...layer, weights: weights.below('mlp.') });
  if (beside) return add(context, add(context, feed(rows), attended), rows);
  const middle = add(context, attended, rows);
  return add(context, feed(middle), middle);
}

/** Its own names for what others call `rope_theta` and `partial_rotary_factor`. */
const rotaryConfig = (config: Config): Config => ({
  ...config,
  rope_theta: numberOf(config, ['rotary_emb_base'], 10_000),
  partial_rotary_factor: numberOf(config, ['rotary_pct'], 0.25),
});

export const gptNeoX: Architecture = {
  endlessPositions: true,
  modelTypes: ['gpt_neox'],
  classes: ['GPTNeoXModel', 'GPTNeoXForCausalLM'],
  // Old files hold the causal mask.
  unused: [/^(?:gpt_neox\.)?layers\.\d+\.attention\.bias$/],
  encode(context, allWeights, { config, maxTokens }) {
    requireSetting(config, 'use_parallel_residual', [true, false]);
    refuseBothWays(config);
    const shape = { ...encoderShapeOf(config), epsilon: numberOf(config, ['layer_norm_eps'], 1e-5) };
    const { hidden: width, epsilon, headSize } = shape;
    const rope = ropeOf(rotaryConfig(config), { headSize, maxTokens, partial: true });
    const attention = { causal: isCausal(config), rotary: rotaryTables(context, rope) };
    const bias = config['attention_bias'] !== false;
    const weights = belowPrefix(allWeights, ['', 'gpt_neox.'], 'embed_in.weight');
    let rows = tokenEmbeddings(context, weights.below('embed_in.'), config, width);
    for (let index = 0; index < shape.layers; index++) {
      const layer = { weights: weights.below(`layers.${index}.`), shape, bias, attention };
      rows = encodeLayer(context, rows, layer, config['use_parallel_residual'] !== false);
    }
    return { rows: normalize(context, rows, weights.below('final_layer_norm.'), { width, epsilon }), width };
  },
};
