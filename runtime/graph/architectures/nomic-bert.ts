// Nomic BERT: rotary positions, post-norm, SwiGLU or (v2) experts; its config speaks GPT-2's names on the hub, BERT's in transformers.
import { attend } from '../attention.ts';
import { headSizeOf, integerOf, numberOf, requireSetting } from '../../model/description.ts';
import type { Config } from '../../model/description.ts';
import { unpositionedEmbeddings } from '../encoder.ts';
import type { EncoderShape } from '../encoder.ts';
import { mixtureOfExperts } from '../experts.ts';
import { linear } from '../linear.ts';
import type { Value } from '../onnx.ts';
import { activation, addAndNormalize, gate, splitRows } from '../ops.ts';
import type { Architecture, Context } from '../ops.ts';
import { frequenciesOf, plainTheta, rotaryTables, unscaled } from '../rotary.ts';
import type { RotaryTables } from '../rotary.ts';
import { belowPrefix } from '../weights.ts';
import type { Weights } from '../weights.ts';

const COMPUTED: Readonly<Record<string, readonly unknown[]>> = {
  activation_function: ['swiglu', 'gelu'],
  hidden_act: ['silu'],
  prenorm: [false],
  parallel_block: [false],
  use_rms_norm: [false],
  rotary_emb_fraction: [1],
  rotary_emb_interleaved: [false],
  rotary_scaling_factor: [],
  rotary_emb_scale_base: [],
  causal: [false],
  moe_normalize_expert_weights: [false],
  expert_choice_router: [false],
  num_shared_experts: [0],
  ffn_div: [1],
};

interface NomicShape extends EncoderShape {
  /** Whether the first half of the feed-forward goes through a gate. */
  readonly gated: boolean;
  readonly experts: number;
  readonly chosen: number;
  /** Of so many layers one has experts; 0: none. */
  readonly expertsEvery: number;
}

function shapeOf(config: Config): NomicShape {
  const hidden = integerOf(config, ['n_embd', 'hidden_size']);
  const heads = integerOf(config, ['n_head', 'num_attention_heads']);
  const gated = config['activation_function'] !== 'gelu';
  return {
    layers: integerOf(config, ['n_layer', 'num_hidden_layers']),
    hidden,
    intermediate: integerOf(config, ['n_inner', 'intermediate_size']),
    heads,
    headSize: headSizeOf(hidden, heads),
    epsilon: numberOf(config, ['layer_norm_epsilon', 'layer_norm_eps'], 1e-12),
    activation: gated ? 'silu' : 'gelu',
    gated,
    experts: integerOf(config, ['num_experts'], 0),
    chosen: integerOf(config, ['moe_top_k'], 1),
    expertsEvery: integerOf(config, ['moe_every_n_layers'], 0),
  };
}

function gatedFeedForward(context: Context, rows: Value, weights: Weights, shape: NomicShape): Value {
  const { hidden, intermediate } = shape;
  const widen = { inputs: hidden, outputs: intermediate };
  const up = linear(context, rows, weights.below('fc11.'), widen);
  const gated = linear(context, rows, weights.below('fc12.'), widen);
  const active = gate(context, [gated, up], shape.activation);
  return linear(context, active, weights.below('fc2.'), { inputs: intermediate, outputs: hidden });
}

function plainFeedForward(context: Context, rows: Value, weights: Weights, shape: NomicShape): Value {
  const { hidden, intermediate } = shape;
  const up = linear(context, rows, weights.below('fc1.'), { inputs: hidden, outputs: intermediate });
  const active = activation(context, up, shape.activation);
  return linear(context, active, weights.below('fc2.'), { inputs: intermediate, outputs: hidden });
}

/** Experts in every second layer of two, every third of three …: counted from 0, those with remainder 1. */
function feedForwardOf(shape: NomicShape, layer: number): typeof plainFeedForward {
  if (shape.expertsEvery > 0 && layer % shape.expertsEvery === 1) return mixtureOfExperts;
  return shape.gated ? gatedFeedForward : plainFeedForward;
}

interface NomicLayer {
  readonly weights: Weights;
  readonly shape: NomicShape;
  readonly rotary: RotaryTables;
  readonly index: number;
}

function encodeLayer(context: Context, rows: Value, { weights, shape, rotary, index }: NomicLayer): Value {
  const { hidden, heads, headSize, epsilon } = shape;
  const norm = { width: hidden, epsilon };
  const square = { inputs: hidden, outputs: hidden };
  const fused = linear(context, rows, weights.below('attn.Wqkv.'), { inputs: hidden, outputs: 3 * hidden });
  const [query = '', key = '', value = ''] = splitRows(context, fused, 3);
  const attended = attend(context, [query, key, value], { heads, headSize, rotary });
  const projected = linear(context, attended, weights.below('attn.out_proj.'), square);
  const middle = addAndNormalize(context, [projected, rows], weights.below('norm1.'), norm);
  const down = feedForwardOf(shape, index)(context, middle, weights.below('mlp.'), shape);
  return addAndNormalize(context, [down, middle], weights.below('norm2.'), norm);
}

export const nomicBert: Architecture = {
  endlessPositions: true,
  modelTypes: ['nomic_bert'],
  classes: ['NomicBertModel', 'NomicBertForPreTraining', 'NomicBertForMaskedLM'],
  ownCode: {
    classes: ['NomicBertModel'],
    repositories: [
      'nomic-ai/nomic-bert-2048',
      'nomic-ai/nomic-embed-text-v1',
      'nomic-ai/nomic-embed-text-v1-ablated',
      'nomic-ai/nomic-embed-text-v1-unsupervised',
      'nomic-ai/nomic-embed-text-v1.5',
      'nomic-ai/nomic-embed-text-v2-moe',
      'nomic-ai/nomic-embed-text-v2-moe-unsupervised',
      'nomic-ai/CodeRankEmbed',
      'Snowflake/snowflake-arctic-embed-m-long',
    ],
  },
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
      rows = encodeLayer(context, rows, { weights: weights.below(`encoder.layers.${index}.`), shape, rotary, index });
    }
    return { rows, width: shape.hidden };
  },
};
