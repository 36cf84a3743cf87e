// How texts lie in a run: the inputs of a graph, and the ways between them. All but attention and pooling sees rows `[tokens, width]`.
import type { FeedPlan } from './feeds.ts';
import { ELEMENT } from './onnx.ts';
import type { GraphBuilder, OnnxValue, Value } from './onnx.ts';
import type { ComputeElement, TokenEmbeddings } from './weights.ts';

export interface Layout {
  readonly inputs: readonly OnnxValue[];
  /** int32 token ids, `[1, tokens]`; where token embeddings are an input, places among those. */
  readonly ids: Value;
  /** float32 `[distinct tokens, width]`: the rows of the table which a run needs; an input of the graph only once asked for. */
  tokenEmbeddings(table: TokenEmbeddings): Value;
  /** The table whose rows are an input. */
  fedTable(): TokenEmbeddings | undefined;
  /** int32 positions of the same shape as `ids`; an input of the graph only once asked for. */
  positions(): Value;
  /** Rows → `[texts, longest, width]` for attention. */
  toBlocks(rows: Value, width: number): Value;
  /** `[texts, longest, width]` → rows. */
  fromBlocks(blocks: Value, width: number): Value;
  /** The other way between rows and blocks, taken when `condition` says that all texts have one length. */
  readonly uniform: (Pick<Layout, 'toBlocks' | 'fromBlocks'> & { readonly condition: Value }) | undefined;
  /** int32 `[texts]`: real length of each block, which may hold padding. */
  readonly lengths: Value;
  /** int64 scalar: tokens in a block. */
  blockLength(): Value;
  /** Rows → `[texts, width]`. */
  pool(rows: Value): Value;
}

/** Rows out of any leading dimensions. */
export const toRows = (graph: GraphBuilder, value: Value, width: number): Value =>
  graph.node('Reshape', [value, graph.int64([-1, width])]);

const once = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
};

/** Texts that happen to be of one length skip the gathers and the mask. */
function uniformBlocks(graph: GraphBuilder): Layout['uniform'] {
  const blockShape = graph.node('Shape', ['block_rows']);
  return {
    condition: 'uniform',
    toBlocks: (rows, width) => {
      const shape = graph.node('Concat', [blockShape, graph.int64([width])], { attributes: { axis: { int: 0 } } });
      return graph.node('Reshape', [rows, shape]);
    },
    fromBlocks: (blocks, width) => toRows(graph, blocks, width),
  };
}

export function createLayout(
  graph: GraphBuilder,
  { layout, pooling }: Pick<FeedPlan, 'layout' | 'pooling'>,
  compute: ComputeElement,
): Layout {
  const inputs: OnnxValue[] = [
    { name: 'input_ids', element: 'int32', dims: [1, 'tokens'] },
    { name: 'block_rows', element: 'int32', dims: ['texts', 'longest'] },
    { name: 'row_blocks', element: 'int32', dims: ['tokens'] },
    { name: 'lengths', element: 'int32', dims: ['texts'] },
    pooling === 'mean'
      ? { name: 'mean_weights', element: 'float32', dims: ['texts', 1, 'longest'] }
      : { name: 'first_rows', element: 'int32', dims: ['texts'] },
  ];
  if (layout === 'flexible') inputs.push({ name: 'uniform', element: 'bool', dims: [] });
  let fed: TokenEmbeddings | undefined;
  const toBlocks = (rows: Value): Value => graph.node('Gather', [rows, 'block_rows']);
  const meanWeights = (): Value =>
    compute === 'float32'
      ? 'mean_weights'
      : graph.node('Cast', ['mean_weights'], { attributes: { to: { int: ELEMENT[compute] } } });
  return {
    inputs,
    ids: 'input_ids',
    tokenEmbeddings: (table) => {
      fed = table;
      inputs.push({ name: 'token_embeddings', element: 'float32', dims: ['distinct_tokens', table.width] });
      return 'token_embeddings';
    },
    fedTable: () => fed,
    positions: once(() => {
      inputs.push({ name: 'position_ids', element: 'int32', dims: [1, 'tokens'] });
      return 'position_ids';
    }),
    toBlocks,
    fromBlocks: (blocks, width) => graph.node('Gather', [toRows(graph, blocks, width), 'row_blocks']),
    uniform: layout === 'flexible' ? uniformBlocks(graph) : undefined,
    lengths: 'lengths',
    blockLength: once(() => graph.node('Gather', [graph.node('Shape', ['block_rows']), graph.int64([1], [])])),
    pool: (rows) =>
      pooling === 'mean'
        ? graph.node('Squeeze', [graph.node('MatMul', [meanWeights(), toBlocks(rows)]), graph.int64([1])])
        : graph.node('Gather', [rows, 'first_rows']),
  };
}
