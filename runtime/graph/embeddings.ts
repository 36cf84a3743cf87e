// Token ids → the first hidden states.
import { MICROSOFT } from './builder.ts';
import type { Value } from './builder.ts';
import { integerOf } from './config.ts';
import type { Config } from './config.ts';
import { toRows } from './layouts.ts';
import { cast, normalize, normParameters } from './ops.ts';
import type { Context, NormShape } from './ops.ts';
import type { Weights } from './weights.ts';

/** int32 zeros of the shape of the token ids: the token type of every token. */
function zeroIds({ graph, layout }: Context): Value {
  const zero = { name: 'zero', element: 'int32', dims: [1], data: new Uint8Array(4) } as const;
  return graph.node('ConstantOfShape', [graph.node('Shape', [layout.ids])], {
    attributes: { value: { tensor: zero } },
  });
}

type TableShape = readonly [rows: number, width: number];

/** The rows of the word table that each run is handed and its ids then count; nothing where the session has the table itself. */
function fedWords({ feedWords, layout }: Context, weights: Weights, shape: TableShape): Value | undefined {
  const table = feedWords ? weights.rowsOf('weight', shape) : undefined;
  return table && layout.words(table);
}

export interface PositionedEmbeddings extends NormShape {
  /** int32 like the ids; omitted where positions are 0, 1, 2 … of each text. */
  readonly positions: Value | undefined;
}

/** LayerNorm(word + token type 0 + position), as BERT's. Without a table of token types that term is left out. */
export function positionedEmbeddings(
  context: Context,
  weights: Weights,
  config: Config,
  shape: PositionedEmbeddings,
): Value {
  const { graph, layout } = context;
  const table = (name: string, rows: number) => weights.tensor(name, [rows, shape.width]);
  const words = integerOf(config, ['vocab_size']);
  const typed = weights.has('token_type_embeddings.weight');
  const [scale, bias = ''] = normParameters(weights.below('LayerNorm.'), shape.width);
  const inputs = [
    layout.ids,
    typed ? zeroIds(context) : '',
    fedWords(context, weights.below('word_embeddings.'), [words, shape.width]) ??
      table('word_embeddings.weight', words),
    table('position_embeddings.weight', integerOf(config, ['max_position_embeddings'])),
    typed ? table('token_type_embeddings.weight', integerOf(config, ['type_vocab_size'], 2)) : '',
    scale,
    bias,
    '',
    ...(shape.positions === undefined ? [] : [shape.positions]),
  ];
  const [embedded = ''] = graph.nodes('EmbedLayerNormalization', inputs, {
    domain: MICROSOFT,
    attributes: { epsilon: { float: shape.epsilon } },
    outputs: 2,
  });
  return toRows(graph, embedded, shape.width);
}

/** The rows of a word table, cast after the look-up: a cast table of 250,000 words would cost a gigabyte. */
export function wordEmbeddings(context: Context, weights: Weights, config: Config, width: number): Value {
  const { graph, layout, compute } = context;
  const shape: TableShape = [integerOf(config, ['vocab_size']), width];
  const look = (table: Value): Value => toRows(graph, graph.node('Gather', [table, layout.ids]), width);
  const fed = fedWords(context, weights, shape);
  if (fed !== undefined) return look(fed);
  const table = weights.stored('weight', shape);
  const rows = look(table.value);
  return table.element === compute ? rows : cast(context, rows, compute);
}

/** LayerNorm(word + token type 0) for models that learn no positions. */
export function unpositionedEmbeddings(
  context: Context,
  weights: Weights,
  config: Config,
  norms: { readonly weights: Weights; readonly shape: NormShape },
): Value {
  const { width } = norms.shape;
  const words = wordEmbeddings(context, weights.below('word_embeddings.'), config, width);
  const types = integerOf(config, ['type_vocab_size'], 0);
  if (types === 0) return normalize(context, words, norms.weights, norms.shape);
  const table = weights.tensor('token_type_embeddings.weight', [types, width]);
  const first = context.graph.node('Gather', [table, context.graph.int64([0])]);
  return normalize(context, context.graph.node('Add', [words, first]), norms.weights, norms.shape);
}
