// Nomic BERT: rotary positions, SwiGLU, post-norm; its config speaks GPT-2's names on the hub, BERT's in transformers.
import { attend } from '../attention.ts';
import { headSizeOf, integerOf, numberOf, requireSetting } from '../../model/description.ts';
import type { Config } from '../../model/description.ts';
import { unpositionedEmbeddings } from '../encoder.ts';
import type { EncoderShape } from '../encoder.ts';
import { linear } from '../linear.ts';
import type { Value } from '../onnx.ts';
import { addAndNormalize, gate, splitRows } from '../ops.ts';
import type { Architecture, Context } from '../ops.ts';
import { frequenciesOf, plainTheta, rotaryTables, unscaled } from '../rotary.ts';
import type { RotaryTables } from '../rotary.ts';
import { belowPrefix } from '../weights.ts';
import type { Weights } from '../weights.ts';

const COMPUTED: Readonly<Record<string, readonly unknown[]>> = {
  activation_function: ['swiglu'],
  hidden_act: ['silu'],
  prenorm: [false],
  parallel_block: [false],
  use_rms_norm: [false],
  rotary_emb_fraction: [1],
  rotary_emb_interleaved: [false],
  rotary_scaling_factor: [],
  rotary_emb_scale_base: [],
  causal: [false],
  moe_every_n_layers: [0],
  num_experts: [0],
};

function shapeOf(config: Config): EncoderShape {
  const hidden = integerOf(config, ['n_embd', 'hidden_size']);
  const heads = integerOf(config, ['n_head', 'num_attention_heads']);
  return {
    layers: integerOf(config, ['n_layer', 'num_hidden_layers']),
    hidden,
    intermediate: integerOf(config, ['n_inner', 'intermediate_size']),
    heads,
    headSize: headSizeOf(hidden, heads),
    epsilon: numberOf(config, ['layer_norm_epsilon', 'layer_norm_eps'], 1e-12),
    activation: 'silu',
  };
}

function layer(context: Context, rows: Value, weights: Weights, shape: EncoderShape & { rotary: RotaryTables }): Value {
  const { hidden, intermediate, heads, headSize, epsilon, rotary } = shape;
  const norm = { width: hidden, epsilon };
  const square = { inputs: hidden, outputs: hidden };
  const fused = linear(context, rows, weights.below('attn.Wqkv.'), { inputs: hidden, outputs: 3 * hidden });
  const [query = '', key = '', value = ''] = splitRows(context, fused, 3);
  const attended = attend(context, [query, key, value], { heads, headSize, rotary });
  const projected = linear(context, attended, weights.below('attn.out_proj.'), square);
  const middle = addAndNormalize(context, [projected, rows], weights.below('norm1.'), norm);
  const widen = { inputs: hidden, outputs: intermediate };
  const up = linear(context, middle, weights.below('mlp.fc11.'), widen);
  const gated = linear(context, middle, weights.below('mlp.fc12.'), widen);
  const active = gate(context, [gated, up], shape.activation);
  const down = linear(context, active, weights.below('mlp.fc2.'), { inputs: intermediate, outputs: hidden });
  return addAndNormalize(context, [down, middle], weights.below('norm2.'), norm);
}

export const nomicBert: Architecture = {
  modelTypes: ['nomic_bert'],
  classes: ['NomicBertModel', 'NomicBertForPreTraining', 'NomicBertForMaskedLM'],
  ownCode: ['NomicBertModel'],
  encode(context, allWeights, { config }) {
    for (const [name, allowed] of Object.entries(COMPUTED)) requireSetting(config, name, allowed);
    const shape = shapeOf(config);
    const weights = belowPrefix(allWeights, ['', 'bert.', 'nomic_bert.'], 'embeddings.word_embeddings.weight');
    let rows = unpositionedEmbeddings(context, weights.below('embeddings.'), config, {
      weights: weights.below('emb_ln.'),
      shape: { width: shape.hidden, epsilon: shape.epsilon },
    });
    const theta = numberOf(config, ['rotary_emb_base'], plainTheta(config, 1000));
    const rotary = rotaryTables(context, unscaled(frequenciesOf(theta, shape.headSize)));
    for (let index = 0; index < shape.layers; index++) {
      rows = layer(context, rows, weights.below(`encoder.layers.${index}.`), { ...shape, rotary });
    }
    return { rows, width: shape.hidden };
  },
};
