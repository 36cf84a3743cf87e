// Token ids → the first hidden states.
import { integerOf } from './config.ts';
import type { Config } from './config.ts';
import { toRows } from './layout.ts';
import { MICROSOFT } from './onnx.ts';
import type { Value } from './onnx.ts';
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

/** The rows that each run is handed, which its ids then count; nothing where the session has the table itself. */
function fedRows(context: Context, weights: Weights, shape: TableShape): Value | undefined {
  const table = context.feedTokenEmbeddings ? weights.rowsOf('weight', shape) : undefined;
  return table && context.layout.tokenEmbeddings(table);
}

/** LayerNorm(token + token type 0 + position), as BERT's. Without a table of token types that term is left out. */
export function positionedEmbeddings(context: Context, weights: Weights, config: Config, shape: NormShape): Value {
  const { graph, layout } = context;
  const positions = layout.positions();
  const table = (name: string, rows: number) => weights.tensor(name, [rows, shape.width]);
  const vocabulary = integerOf(config, ['vocab_size']);
  const typed = weights.has('token_type_embeddings.weight');
  const [scale, bias = ''] = normParameters(weights.below('LayerNorm.'), shape.width);
  const inputs = [
    layout.ids,
    typed ? zeroIds(context) : '',
    fedRows(context, weights.below('word_embeddings.'), [vocabulary, shape.width]) ??
      table('word_embeddings.weight', vocabulary),
    table('position_embeddings.weight', integerOf(config, ['max_position_embeddings'])),
    typed ? table('token_type_embeddings.weight', integerOf(config, ['type_vocab_size'], 2)) : '',
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
  const table = weights.stored('weight', shape);
  const rows = look(table.value);
  return table.element === compute ? rows : cast(context, rows, compute);
}

/** LayerNorm(token + token type 0) for models that learn no positions. */
export function unpositionedEmbeddings(
  context: Context,
  weights: Weights,
  config: Config,
  norms: { readonly weights: Weights; readonly shape: NormShape },
): Value {
  const { width } = norms.shape;
  const tokens = tokenEmbeddings(context, weights.below('word_embeddings.'), config, width);
  const types = integerOf(config, ['type_vocab_size'], 0);
  if (types === 0) return normalize(context, tokens, norms.weights, norms.shape);
  const table = weights.tensor('token_type_embeddings.weight', [types, width]);
  const first = context.graph.node('Gather', [table, context.graph.int64([0])]);
  return normalize(context, context.graph.node('Add', [tokens, first]), norms.weights, norms.shape);
}
