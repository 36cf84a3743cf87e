// BERT: learned absolute positions, post-norm layers. Its layer also serves the models that differ only in their embeddings.
import { MICROSOFT } from './builder.ts';
import type { Value } from './builder.ts';
import { headSizeOf, integerOf, numberOf, requireSetting, stringOf } from './config.ts';
import type { Config } from './config.ts';
import { toRows } from './layouts.ts';
import { activation, addAndNormalize, attend, linear, zeroIds } from './ops.ts';
import type { Context } from './ops.ts';
import type { Architecture } from './architecture.ts';
import { belowPrefix } from './weights.ts';
import type { Weights } from './weights.ts';

export interface EncoderShape {
  readonly layers: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly epsilon: number;
  readonly activation: string;
}

export const encoderShapeOf = (config: Config): EncoderShape => ({
  layers: integerOf(config, ['num_hidden_layers']),
  hidden: integerOf(config, ['hidden_size']),
  intermediate: integerOf(config, ['intermediate_size']),
  heads: integerOf(config, ['num_attention_heads']),
  epsilon: numberOf(config, ['layer_norm_eps'], 1e-12),
  activation: stringOf(config, 'hidden_act', 'gelu'),
});

/** Word + token type 0 + position, normalised. `positions` is omitted where they are 0, 1, 2 … of each text. */
export function bertEmbeddings(
  context: Context,
  weights: Weights,
  config: Config,
  positions: Value | undefined,
): Value {
  const { graph, layout } = context;
  const { hidden, epsilon } = encoderShapeOf(config);
  const table = (name: string, rows: number) => weights.tensor(name, [rows, hidden]);
  const types = integerOf(config, ['type_vocab_size'], 2);
  const inputs = [
    layout.ids,
    zeroIds(context),
    table('word_embeddings.weight', integerOf(config, ['vocab_size'])),
    table('position_embeddings.weight', integerOf(config, ['max_position_embeddings'])),
    table('token_type_embeddings.weight', types),
    weights.tensor('LayerNorm.weight', [hidden]),
    weights.tensor('LayerNorm.bias', [hidden]),
    '',
    ...(positions === undefined ? [] : [positions]),
  ];
  const [embedded = ''] = graph.nodes('EmbedLayerNormalization', inputs, {
    domain: MICROSOFT,
    attributes: { epsilon: { float: epsilon } },
    outputs: 2,
  });
  return toRows(graph, embedded, hidden);
}

export function bertLayer(context: Context, rows: Value, weights: Weights, shape: EncoderShape): Value {
  const { hidden, intermediate, heads, epsilon } = shape;
  const square = { inputs: hidden, outputs: hidden };
  const norm = { width: hidden, epsilon };
  const project = (name: string) => linear(context, rows, weights.below(`attention.self.${name}.`), square);
  const attended = attend(context, [project('query'), project('key'), project('value')], {
    heads,
    headSize: headSizeOf(hidden, heads),
  });
  const output = linear(context, attended, weights.below('attention.output.dense.'), square);
  const middle = addAndNormalize(context, [output, rows], weights.below('attention.output.LayerNorm.'), norm);
  const up = linear(context, middle, weights.below('intermediate.dense.'), { inputs: hidden, outputs: intermediate });
  const active = activation(context, up, shape.activation);
  const down = linear(context, active, weights.below('output.dense.'), { inputs: intermediate, outputs: hidden });
  return addAndNormalize(context, [down, middle], weights.below('output.LayerNorm.'), norm);
}

export const bert: Architecture = {
  modelTypes: ['bert'],
  classes: ['BertModel', 'BertForMaskedLM', 'BertForPreTraining'],
  encode(context, allWeights, { config }) {
    requireSetting(config, 'position_embedding_type', ['absolute']);
    requireSetting(config, 'is_decoder', [false]);
    const shape = encoderShapeOf(config);
    const weights = belowPrefix(allWeights, ['', 'bert.'], 'embeddings.word_embeddings.weight');
    const positions = context.layout.lengths === undefined ? undefined : context.layout.positions();
    let rows = bertEmbeddings(context, weights.below('embeddings.'), config, positions);
    for (let layer = 0; layer < shape.layers; layer++) {
      rows = bertLayer(context, rows, weights.below(`encoder.layer.${layer}.`), shape);
    }
    return { rows, width: shape.hidden };
  },
  positionsOf: (_config, layout) => (layout === 'packed' ? { start: 0 } : undefined),
};
