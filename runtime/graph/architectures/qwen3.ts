// Qwen3: causal, pre-norm with RMSNorm, rotary positions, normalised queries and keys, grouped key-value heads.
import { attend, frequenciesOf, plainTheta, rotaryTables } from '../attention.ts';
import type { RotaryTables } from '../attention.ts';
import { integerOf, numberOf, requireSetting, stringOf } from '../../model/description.ts';
import type { Config } from '../../model/description.ts';
import { tokenEmbeddings } from '../encoder.ts';
import { linear } from '../linear.ts';
import type { Value } from '../onnx.ts';
import { add, gate, rootMeanSquareNorm } from '../ops.ts';
import type { Architecture, Context } from '../ops.ts';
import { belowPrefix } from '../weights.ts';
import type { Weights } from '../weights.ts';

interface DecoderShape {
  readonly layers: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly epsilon: number;
  readonly activation: string;
}

function shapeOf(config: Config): DecoderShape {
  const hidden = integerOf(config, ['hidden_size']);
  const heads = integerOf(config, ['num_attention_heads']);
  return {
    layers: integerOf(config, ['num_hidden_layers']),
    hidden,
    intermediate: integerOf(config, ['intermediate_size']),
    heads,
    keyValueHeads: integerOf(config, ['num_key_value_heads'], heads),
    headSize: integerOf(config, ['head_dim'], 128),
    epsilon: numberOf(config, ['rms_norm_eps'], 1e-6),
    activation: stringOf(config, 'hidden_act', 'silu'),
  };
}

interface DecoderLayer {
  readonly weights: Weights;
  readonly shape: DecoderShape;
  readonly rotary: RotaryTables;
}

function attentionHalf(context: Context, rows: Value, { weights, shape, rotary }: DecoderLayer): Value {
  const { graph } = context;
  const { hidden, heads, keyValueHeads, headSize, epsilon } = shape;
  const project = (name: string, outputs: number) =>
    linear(context, rows, weights.below(`${name}.`), { inputs: hidden, outputs });
  const normed = (name: string, value: Value, count: number): Value => {
    const perHead = graph.node('Reshape', [value, graph.int64([-1, headSize])]);
    const unit = rootMeanSquareNorm(context, perHead, weights.below(`${name}.`), { width: headSize, epsilon });
    return graph.node('Reshape', [unit, graph.int64([-1, count * headSize])]);
  };
  const query = normed('q_norm', project('q_proj', heads * headSize), heads);
  const key = normed('k_norm', project('k_proj', keyValueHeads * headSize), keyValueHeads);
  const value = project('v_proj', keyValueHeads * headSize);
  const attended = attend(context, [query, key, value], { heads, keyValueHeads, headSize, rotary, causal: true });
  return linear(context, attended, weights.below('o_proj.'), { inputs: heads * headSize, outputs: hidden });
}

function feedForwardHalf(context: Context, rows: Value, weights: Weights, shape: DecoderShape): Value {
  const { hidden, intermediate } = shape;
  const widen = { inputs: hidden, outputs: intermediate };
  const gated = linear(context, rows, weights.below('gate_proj.'), widen);
  const up = linear(context, rows, weights.below('up_proj.'), widen);
  const active = gate(context, [gated, up], shape.activation);
  return linear(context, active, weights.below('down_proj.'), { inputs: intermediate, outputs: hidden });
}

export const qwen3: Architecture = {
  modelTypes: ['qwen3'],
  classes: ['Qwen3Model', 'Qwen3ForCausalLM'],
  encode(context, allWeights, { config }) {
    requireSetting(config, 'use_sliding_window', [false]);
    const shape = shapeOf(config);
    const norm = { width: shape.hidden, epsilon: shape.epsilon };
    const weights = belowPrefix(allWeights, ['', 'model.'], 'embed_tokens.weight');
    let rows = tokenEmbeddings(context, weights.below('embed_tokens.'), config, shape.hidden);
    const rotary = rotaryTables(context, frequenciesOf(plainTheta(config, 10_000), shape.headSize));
    for (let index = 0; index < shape.layers; index++) {
      const layer = weights.below(`layers.${index}.`);
      const input = rootMeanSquareNorm(context, rows, layer.below('input_layernorm.'), norm);
      const attended = attentionHalf(context, input, { weights: layer.below('self_attn.'), shape, rotary });
      rows = add(context, rows, attended);
      const middle = rootMeanSquareNorm(context, rows, layer.below('post_attention_layernorm.'), norm);
      rows = add(context, rows, feedForwardHalf(context, middle, layer.below('mlp.'), shape));
    }
    return { rows: rootMeanSquareNorm(context, rows, weights.below('norm.'), norm), width: shape.hidden };
  },
};
