// The encoder of BERT and its kin: the two halves of a post-norm layer, under whatever tensor names, and the whole of equal layers.
import { attend } from './attention.ts';
import type { AttentionShape } from './attention.ts';
import { headSizeOf, integerOf, numberOf, stringOf } from './config.ts';
import type { Config } from './config.ts';
import { positionedEmbeddings } from './embeddings.ts';
import { linear } from './linear.ts';
import type { Value } from './onnx.ts';
import { activation, addAndNormalize } from './ops.ts';
import type { Context, Rows } from './ops.ts';
import { belowPrefix } from './weights.ts';
import type { Weights } from './weights.ts';

export interface EncoderShape {
  readonly layers: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly headSize: number;
  readonly epsilon: number;
  readonly activation: string;
}

/** The names that most configs use. */
export function encoderShapeOf(config: Config): EncoderShape {
  const hidden = integerOf(config, ['hidden_size']);
  const heads = integerOf(config, ['num_attention_heads']);
  return {
    layers: integerOf(config, ['num_hidden_layers']),
    hidden,
    intermediate: integerOf(config, ['intermediate_size']),
    heads,
    headSize: headSizeOf(hidden, heads),
    epsilon: numberOf(config, ['layer_norm_eps'], 1e-12),
    activation: stringOf(config, 'hidden_act', 'gelu'),
  };
}

/** Tensor names without their `.weight` and `.bias`. */
export interface LayerNames {
  readonly query: string;
  readonly key: string;
  readonly value: string;
  readonly attended: string;
  readonly attentionNorm: string;
  readonly up: string;
  readonly down: string;
  readonly outputNorm: string;
}

export const BERT_NAMES: LayerNames = {
  query: 'attention.self.query',
  key: 'attention.self.key',
  value: 'attention.self.value',
  attended: 'attention.output.dense',
  attentionNorm: 'attention.output.LayerNorm',
  up: 'intermediate.dense',
  down: 'output.dense',
  outputNorm: 'output.LayerNorm',
};

export interface Layer {
  readonly weights: Weights;
  readonly shape: EncoderShape;
  readonly names: LayerNames;
  readonly attention?: Pick<AttentionShape, 'bias'> | undefined;
}

/** Norm(rows + attention(rows)) with separate query, key and value matrices. */
export function attentionHalf(context: Context, rows: Value, { weights, shape, names, attention }: Layer): Value {
  const { hidden, heads, headSize, epsilon } = shape;
  const square = { inputs: hidden, outputs: hidden };
  const project = (name: string, input: Value) => linear(context, input, weights.below(`${name}.`), square);
  const inputs = [project(names.query, rows), project(names.key, rows), project(names.value, rows)] as const;
  const attended = project(names.attended, attend(context, inputs, { heads, headSize, ...attention }));
  return addAndNormalize(context, [attended, rows], weights.below(`${names.attentionNorm}.`), {
    width: hidden,
    epsilon,
  });
}

/** Norm(rows + down(activation(up(rows)))). */
export function feedForwardHalf(context: Context, rows: Value, { weights, shape, names }: Layer): Value {
  const { hidden, intermediate, epsilon } = shape;
  const up = linear(context, rows, weights.below(`${names.up}.`), { inputs: hidden, outputs: intermediate });
  const active = activation(context, up, shape.activation);
  const down = linear(context, active, weights.below(`${names.down}.`), { inputs: intermediate, outputs: hidden });
  return addAndNormalize(context, [down, rows], weights.below(`${names.outputNorm}.`), { width: hidden, epsilon });
}

export const encoderLayer = (context: Context, rows: Value, layer: Layer): Value =>
  feedForwardHalf(context, attentionHalf(context, rows, layer), layer);

// The whole encoder.

export interface Encoder {
  readonly config: Config;
  /** What the names of all tensors may begin with. */
  readonly prefixes: readonly string[];
  /** Name of the list of layers. */
  readonly layers: string;
  readonly names: LayerNames;
  readonly shape: EncoderShape;
  /** What attention adds to its scores. */
  readonly bias?: (weights: Weights) => Value;
}

export function encode(context: Context, allWeights: Weights, encoder: Encoder): Rows {
  const { config, shape, names, bias } = encoder;
  const weights = belowPrefix(allWeights, encoder.prefixes, 'embeddings.word_embeddings.weight');
  const { hidden: width, epsilon } = shape;
  let rows = positionedEmbeddings(context, weights.below('embeddings.'), config, { width, epsilon });
  const attention = bias && { bias: bias(weights) };
  for (let layer = 0; layer < shape.layers; layer++) {
    rows = encoderLayer(context, rows, {
      weights: weights.below(`${encoder.layers}.${layer}.`),
      shape,
      names,
      attention,
    });
  }
  return { rows, width };
}
