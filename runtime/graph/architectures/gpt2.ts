// GPT-2: learned positions, pre-norm with LayerNorm, projections stored inputs first.
import { attend } from '../attention.ts';
import { headSizeOf, integerOf, numberOf, requireSetting, stringOf } from '../../model/description.ts';
import type { Config } from '../../model/description.ts';
import { isCausal, refuseBothWays } from '../decoder.ts';
import { tokenEmbeddings } from '../encoder.ts';
import type { EncoderShape } from '../encoder.ts';
import { toRows } from '../layout.ts';
import { linear } from '../linear.ts';
import type { Value } from '../onnx.ts';
import { activation, add, normalize, splitRows } from '../ops.ts';
import type { Architecture, Context } from '../ops.ts';
import { belowPrefix } from '../weights.ts';
import type { Weights } from '../weights.ts';

function shapeOf(config: Config): EncoderShape {
  const hidden = integerOf(config, ['n_embd', 'hidden_size']);
  const heads = integerOf(config, ['n_head', 'num_attention_heads']);
  return {
    layers: integerOf(config, ['n_layer', 'num_hidden_layers']),
    hidden,
    intermediate: integerOf(config, ['n_inner'], 4 * hidden),
    heads,
    headSize: headSizeOf(hidden, heads),
    epsilon: numberOf(config, ['layer_norm_epsilon'], 1e-5),
    activation: stringOf(config, 'activation_function', 'gelu_new'),
  };
}

/** What the scores of a layer are multiplied by. */
function scaleOf(config: Config, { headSize }: EncoderShape, layer: number): number {
  const plain = config['scale_attn_weights'] === false ? 1 : headSize ** -0.5;
  return config['scale_attn_by_inverse_layer_idx'] === true ? plain / (layer + 1) : plain;
}

interface Block {
  readonly weights: Weights;
  readonly shape: EncoderShape;
  readonly attention: { readonly causal: boolean; readonly scale: number };
}

function encodeBlock(context: Context, rows: Value, { weights, shape, attention }: Block): Value {
  const { hidden, intermediate, heads, headSize, epsilon } = shape;
  const normed = (of: Value, name: string): Value =>
    normalize(context, of, weights.below(name), { width: hidden, epsilon });
  const project = (of: Value, name: string, [inputs, outputs]: readonly [number, number]): Value =>
    linear(context, of, weights.below(name), { inputs, outputs, bias: true, inputsFirst: true });
  const fused = project(normed(rows, 'ln_1.'), 'attn.c_attn.', [hidden, 3 * hidden]);
  const [query = '', key = '', value = ''] = splitRows(context, fused, 3);
  const attended = attend(context, [query, key, value], { heads, headSize, ...attention });
  const middle = add(context, project(attended, 'attn.c_proj.', [hidden, hidden]), rows);
  const wide = project(normed(middle, 'ln_2.'), 'mlp.c_fc.', [hidden, intermediate]);
  const active = activation(context, wide, shape.activation);
  return add(context, middle, project(active, 'mlp.c_proj.', [intermediate, hidden]));
}

export const gpt2: Architecture = {
  modelTypes: ['gpt2'],
  classes: ['GPT2Model', 'GPT2LMHeadModel'],
  // Old files hold the causal mask.
  unused: [/^(?:transformer\.)?h\.\d+\.attn\.bias$/],
  encode(context, allWeights, { config }) {
    requireSetting(config, 'add_cross_attention', [false]);
    requireSetting(config, 'scale_attn_weights', [true, false]);
    requireSetting(config, 'scale_attn_by_inverse_layer_idx', [true, false]);
    refuseBothWays(config);
    const { graph, layout } = context;
    const shape = shapeOf(config);
    const { hidden: width, epsilon } = shape;
    const causal = isCausal(config);
    const weights = belowPrefix(allWeights, ['', 'transformer.'], 'wte.weight');
    const tokens = tokenEmbeddings(context, weights.below('wte.'), config, width);
    const table = weights.tensor('wpe.weight', [integerOf(config, ['n_positions', 'max_position_embeddings']), width]);
    const places = toRows(graph, graph.node('Gather', [table, layout.positions()]), width);
    let rows = add(context, tokens, places);
    for (let layer = 0; layer < shape.layers; layer++) {
      const attention = { causal, scale: scaleOf(config, shape, layer) };
      rows = encodeBlock(context, rows, { weights: weights.below(`h.${layer}.`), shape, attention });
    }
    return { rows: normalize(context, rows, weights.below('ln_f.'), { width, epsilon }), width };
  },
};
