// The two halves of a post-norm encoder layer, for architectures that differ in tensor names alone.
import type { Value } from './builder.ts';
import { attend } from './attention.ts';
import type { AttentionShape } from './attention.ts';
import { headSizeOf, integerOf, numberOf, stringOf } from './config.ts';
import type { Config } from './config.ts';
import { activation, addAndNormalize, linear } from './ops.ts';
import type { Context } from './ops.ts';
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
  readonly attention?: Pick<AttentionShape, 'bias'>;
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
