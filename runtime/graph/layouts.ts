// The two ways texts lie in a run. Everything outside attention and pooling sees rows `[tokens, width]` in both.
import type { GraphBuilder, Value } from './builder.ts';
import { ELEMENT } from './onnx.ts';
import type { OnnxValue } from './onnx.ts';
import type { GraphOptions, Pooling, WordTable } from './types.ts';
import type { ComputeElement } from './weights.ts';

export interface Layout {
  readonly inputs: readonly OnnxValue[];
  /** int32 token ids, `[texts, length]` or `[1, tokens]`; where `words` are an input, rows of those. */
  readonly ids: Value;
  /** float32 `[words, width]`: the rows of that table which a run needs; an input of the graph only once asked for. */
  words(table: WordTable): Value;
  /** The table that `words` was asked for. */
  fedTable(): WordTable | undefined;
  /** Whether `ids` is a matrix whose columns are the positions 0, 1, 2 … of each text. */
  readonly implicitPositions: boolean;
  /** int32 positions of the same shape as `ids`; an input of the graph only once asked for. */
  positions(): Value;
  /** Rows → `[texts, longest, width]` for attention. */
  toBlocks(rows: Value, width: number): Value;
  /** `[texts, longest, width]` → rows. */
  fromBlocks(blocks: Value, width: number): Value;
  /** The other way between rows and blocks, taken when `condition` says that all texts have one length. */
  readonly uniform?: Pick<Layout, 'toBlocks' | 'fromBlocks'> & { readonly condition: Value };
  /** int32 `[texts]`: real length of each block, when blocks may hold padding. */
  readonly lengths: Value | undefined;
  /** int64 scalar: tokens in a block. */
  blockLength(): Value;
  /** Rows → `[texts, width]`. */
  pool(rows: Value, width: number): Value;
}

/** Rows out of any leading dimensions. */
export const toRows = (graph: GraphBuilder, value: Value, width: number): Value =>
  graph.node('Reshape', [value, graph.int64([-1, width])]);

const once = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
};

const dimension = (graph: GraphBuilder, value: Value, axis: number): Value =>
  graph.node('Gather', [graph.node('Shape', [value]), graph.int64([axis], [])]);

function fedWords(inputs: OnnxValue[]): Pick<Layout, 'words' | 'fedTable'> {
  let fed: WordTable | undefined;
  return {
    words: (table) => {
      fed = table;
      inputs.push({ name: 'words', element: 'float32', dims: ['words', table.width] });
      return 'words';
    },
    fedTable: () => fed,
  };
}

function grouped(graph: GraphBuilder, pooling: Pooling): Layout {
  const dims = ['texts', 'length'];
  const inputs: OnnxValue[] = [{ name: 'input_ids', element: 'int32', dims }];
  const blockShape = once(() => graph.node('Shape', ['input_ids']));
  const toBlocks = (rows: Value, width: number): Value => {
    const shape = graph.node('Concat', [blockShape(), graph.int64([width])], { attributes: { axis: { int: 0 } } });
    return graph.node('Reshape', [rows, shape]);
  };
  return {
    inputs,
    ids: 'input_ids',
    ...fedWords(inputs),
    implicitPositions: true,
    positions: once(() => {
      inputs.push({ name: 'position_ids', element: 'int32', dims });
      return 'position_ids';
    }),
    toBlocks,
    fromBlocks: (blocks, width) => toRows(graph, blocks, width),
    lengths: undefined,
    blockLength: once(() => dimension(graph, 'input_ids', 1)),
    pool: (rows, width) =>
      pooling === 'mean'
        ? graph.node('ReduceMean', [toBlocks(rows, width), graph.int64([1])], { attributes: { keepdims: { int: 0 } } })
        : graph.node('Gather', [toBlocks(rows, width), graph.int64([0], [])], { attributes: { axis: { int: 1 } } }),
  };
}

function packed(graph: GraphBuilder, pooling: Pooling, compute: ComputeElement): Layout {
  const inputs: OnnxValue[] = [
    { name: 'input_ids', element: 'int32', dims: [1, 'tokens'] },
    { name: 'block_rows', element: 'int32', dims: ['texts', 'longest'] },
    { name: 'row_blocks', element: 'int32', dims: ['tokens'] },
    { name: 'lengths', element: 'int32', dims: ['texts'] },
    pooling === 'mean'
      ? { name: 'mean_weights', element: 'float32', dims: ['texts', 1, 'longest'] }
      : { name: 'first_rows', element: 'int32', dims: ['texts'] },
  ];
  const meanWeights = (): Value =>
    compute === 'float32'
      ? 'mean_weights'
      : graph.node('Cast', ['mean_weights'], { attributes: { to: { int: ELEMENT[compute] } } });
  const toBlocks = (rows: Value): Value => graph.node('Gather', [rows, 'block_rows']);
  return {
    inputs,
    ids: 'input_ids',
    ...fedWords(inputs),
    implicitPositions: false,
    positions: once(() => {
      inputs.push({ name: 'position_ids', element: 'int32', dims: [1, 'tokens'] });
      return 'position_ids';
    }),
    toBlocks,
    fromBlocks: (blocks, width) => graph.node('Gather', [toRows(graph, blocks, width), 'row_blocks']),
    lengths: 'lengths',
    blockLength: once(() => dimension(graph, 'block_rows', 1)),
    pool: (rows) =>
      pooling === 'mean'
        ? graph.node('Squeeze', [graph.node('MatMul', [meanWeights(), toBlocks(rows)]), graph.int64([1])])
        : graph.node('Gather', [rows, 'first_rows']),
  };
}

/** Packed, but texts that happen to be of one length skip the gathers and the mask. */
function flexible(graph: GraphBuilder, pooling: Pooling, compute: ComputeElement): Layout {
  const base = packed(graph, pooling, compute);
  (base.inputs as OnnxValue[]).push({ name: 'uniform', element: 'bool', dims: [] });
  const blockShape = graph.node('Shape', ['block_rows']);
  return {
    ...base,
    uniform: {
      condition: 'uniform',
      toBlocks: (rows, width) => {
        const shape = graph.node('Concat', [blockShape, graph.int64([width])], { attributes: { axis: { int: 0 } } });
        return graph.node('Reshape', [rows, shape]);
      },
      fromBlocks: (blocks, width) => toRows(graph, blocks, width),
    },
  };
}

const LAYOUTS = { grouped, packed, flexible };

export const createLayout = (graph: GraphBuilder, options: GraphOptions, compute: ComputeElement): Layout =>
  LAYOUTS[options.layout](graph, options.pooling, compute);
