// What BERT's kin share: token ids → the first hidden states → the last.
import { attend } from './attention.ts';
import type { AttentionShape } from './attention.ts';
import { headSizeOf, integerOf, numberOf, stringOf } from '../model/description.ts';
import type { Config } from '../model/description.ts';
import { toRows } from './layout.ts';
import { linear } from './linear.ts';
import { MICROSOFT } from './onnx.ts';
import type { Value } from './onnx.ts';
import { activation, add, addAndNormalize, normalize, normParameters } from './ops.ts';
import type { Context, Rows, NormShape } from './ops.ts';
import type { PairBias } from './pairs.ts';
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
export function encoderShapeOf(config: Config, epsilon = 1e-12): EncoderShape {
  const hidden = integerOf(config, ['hidden_size']);
  const heads = integerOf(config, ['num_attention_heads']);
  return {
    layers: integerOf(config, ['num_hidden_layers']),
    hidden,
    intermediate: integerOf(config, ['intermediate_size']),
    heads,
    headSize: headSizeOf(hidden, heads),
    epsilon: numberOf(config, ['layer_norm_eps'], epsilon),
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
  /** Norms of queries and keys over all heads together, where a model has them. */
  readonly queryNorm?: string;
  readonly keyNorm?: string;
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
  readonly attention?: Pick<AttentionShape, 'bias' | 'pairs' | 'rotary' | 'rotaryValues'> | undefined;
}

/** Norm(rows + attention(rows)) with separate query, key and value matrices. */
export function attentionHalf(context: Context, rows: Value, { weights, shape, names, attention }: Layer): Value {
  const { hidden, heads, headSize, epsilon } = shape;
  const square = { inputs: hidden, outputs: hidden, bias: true };
  const project = (name: string, input: Value) => linear(context, input, weights.below(`${name}.`), square);
  const normed = (value: Value, name: string | undefined) =>
    name === undefined ? value : normalize(context, value, weights.below(`${name}.`), { width: hidden, epsilon });
  const inputs = [
    normed(project(names.query, rows), names.queryNorm),
    normed(project(names.key, rows), names.keyNorm),
    project(names.value, rows),
  ] as const;
  const attended = project(names.attended, attend(context, inputs, { heads, headSize, ...attention }));
  return addAndNormalize(context, [attended, rows], weights.below(`${names.attentionNorm}.`), {
    width: hidden,
    epsilon,
  });
}

/** Norm(rows + down(activation(up(rows)))). */
export function feedForwardHalf(context: Context, rows: Value, { weights, shape, names }: Layer): Value {
  const { hidden, intermediate, epsilon } = shape;
  const up = linear(context, rows, weights.below(`${names.up}.`), {
    inputs: hidden,
    outputs: intermediate,
    bias: true,
  });
  const active = activation(context, up, shape.activation);
  const down = linear(context, active, weights.below(`${names.down}.`), {
    inputs: intermediate,
    outputs: hidden,
    bias: true,
  });
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
  readonly pairs?: (weights: Weights) => PairBias;
}

export function encode(context: Context, allWeights: Weights, encoder: Encoder): Rows {
  const { config, shape, names, pairs } = encoder;
  const weights = belowPrefix(allWeights, encoder.prefixes, 'embeddings.word_embeddings.weight');
  const { hidden: width, epsilon } = shape;
  const rows = positionedEmbeddings(context, weights.below('embeddings.'), config, { width, epsilon });
  const attention = pairs && { pairs: pairs(weights) };
  return encodeLayers(context, rows, { weights: weights.below(`${encoder.layers}.`), shape, names, attention });
}

/** All layers in turn; `weights` are those of the list of layers. */
export function encodeLayers(context: Context, embedded: Value, { weights, ...layer }: Layer): Rows {
  let rows = embedded;
  for (let index = 0; index < layer.shape.layers; index++) {
    rows = encoderLayer(context, rows, { ...layer, weights: weights.below(`${index}.`) });
  }
  return { rows, width: layer.shape.hidden };
}

/** Embeddings narrower than the layers, made as wide as those; as they are where both have one width. */
export const widen = (context: Context, { rows, width }: Rows, weights: Weights, hidden: number): Value =>
  width === hidden ? rows : linear(context, rows, weights, { inputs: width, outputs: hidden });

// Token ids → the first hidden states.

/** int32 zeros of the shape of the token ids: the token type of every token. */
function zeroIds({ graph, layout }: Context): Value {
  const zero = { name: 'zero', element: 'int32', dims: [1], data: new Uint8Array(4) } as const;
  return graph.node('ConstantOfShape', [graph.node('Shape', [layout.ids])], {
    attributes: { value: { tensor: zero } },
  });
}

type TableShape = readonly [rows: number, width: number];

/** The rows that each run is handed, which its ids then count; nothing where the session has the table itself. */
function fedRows(context: Context, weights: Weights, shape: TableShape): Value | undefined {
  const table = context.feedTokenEmbeddings ? weights.rowsOf('weight', shape) : undefined;
  return table && context.layout.tokenEmbeddings(table);
}

/** The table of token types; every token is of type 0. Without a table that term is left out. */
export const typeTable = (weights: Weights, config: Config, width: number): Value | undefined =>
  weights.optional('token_type_embeddings.weight', [integerOf(config, ['type_vocab_size'], 2), width]);

/** `types` stands for the table of token types where a model adds more to it. */
type PositionedShape = NormShape & { readonly types?: Value | undefined };

/** LayerNorm(token + token type 0 + position), as BERT's. */
export function positionedEmbeddings(
  context: Context,
  weights: Weights,
  config: Config,
  shape: PositionedShape,
): Value {
  const { graph, layout } = context;
  const { types = typeTable(weights, config, shape.width) } = shape;
  const positions = layout.positions();
  const table = (name: string, rows: number) => weights.tensor(name, [rows, shape.width]);
  const vocabulary = integerOf(config, ['vocab_size']);
  const [scale, bias = ''] = normParameters(weights.below('LayerNorm.'), { width: shape.width, bias: true });
  const inputs = [
    layout.ids,
    types === undefined ? '' : zeroIds(context),
    fedRows(context, weights.below('word_embeddings.'), [vocabulary, shape.width]) ??
      table('word_embeddings.weight', vocabulary),
    table('position_embeddings.weight', integerOf(config, ['max_position_embeddings'])),
    types ?? '',
    scale,
    bias,
    '',
    positions,
  ];
  const [embedded = ''] = graph.nodes('EmbedLayerNormalization', inputs, {
    domain: MICROSOFT,
    attributes: { epsilon: { float: shape.epsilon } },
    outputs: 2,
  });
  return toRows(graph, embedded, shape.width);
}

/** The embedding of each token, cast after the look-up: a cast table of 250,000 tokens would cost a gigabyte. */
export function tokenEmbeddings(context: Context, weights: Weights, config: Config, width: number): Value {
  const { graph, layout, compute } = context;
  const shape: TableShape = [integerOf(config, ['vocab_size']), width];
  const look = (table: Value): Value => toRows(graph, graph.node('Gather', [table, layout.ids]), width);
  const fed = fedRows(context, weights, shape);
  if (fed !== undefined) return look(fed);
  // Of what is fed on a CPU, or would be if it were float32, only rows are read.
  const table = weights.stored('weight', shape, context.feedTokenEmbeddings);
  const rows = look(table.value);
  return table.element === compute ? rows : graph.cast(rows, compute);
}

/** LayerNorm(token + token type 0) for models that learn no positions. */
export function unpositionedEmbeddings(
  context: Context,
  weights: Weights,
  config: Config,
  norms: { readonly weights: Weights; readonly shape: NormShape; readonly defaultTypes?: number },
): Value {
  const { width } = norms.shape;
  const tokens = tokenEmbeddings(context, weights.below('word_embeddings.'), config, width);
  const types = integerOf(config, ['type_vocab_size'], norms.defaultTypes ?? 0);
  if (types === 0) return normalize(context, tokens, norms.weights, norms.shape);
  const table = weights.tensor('token_type_embeddings.weight', [types, width]);
  const first = context.graph.node('Gather', [table, context.graph.int64([0])]);
  return normalize(context, context.graph.node('Add', [tokens, first]), norms.weights, norms.shape);
}

export interface SumShape {
  readonly width: number;
  /** Rows of the table of token types; 0 where there is none. */
  readonly types: number;
  /** Whether each position has an embedding. */
  readonly positions: boolean;
}

/** Token + token type 0 + position, for models that norm it later or never. */
export function summedEmbeddings(context: Context, weights: Weights, config: Config, shape: SumShape): Value {
  const { graph, layout } = context;
  const { width, types, positions } = shape;
  let sum = tokenEmbeddings(context, weights.below('word_embeddings.'), config, width);
  if (types > 0) {
    const table = weights.tensor('token_type_embeddings.weight', [types, width]);
    sum = add(context, sum, graph.node('Gather', [table, graph.int64([0])]));
  }
  if (!positions) return sum;
  const table = weights.tensor('position_embeddings.weight', [integerOf(config, ['max_position_embeddings']), width]);
  return add(context, sum, toRows(graph, graph.node('Gather', [table, layout.positions()]), width));
}
