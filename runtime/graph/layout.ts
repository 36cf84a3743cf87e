// How the sequences of a run lie side by side: the graph's inputs, and the feeds of each run. Pure.
// Workers load it for the feeds: whatever builds graphs is imported as types alone.
import type { Pooling } from '../model/modules.ts';
import type { GraphBuilder, OnnxValue, Value } from './onnx.ts';
import { poolingFeeds, poolingInputs, poolRows } from './pooling.ts';
import type { Feed } from './pooling.ts';
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
  /** Rows → `[texts, width × modes of the pooling]`. */
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
    ...poolingInputs(pooling),
  ];
  if (layout === 'flexible') inputs.push({ name: 'uniform', element: 'bool', dims: [] });
  let fed: TokenEmbeddings | undefined;
  const toBlocks = (rows: Value): Value => graph.node('Gather', [rows, 'block_rows']);
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
    pool: (rows) => poolRows({ graph, compute, toBlocks }, rows, pooling),
  };
}

// Token ids → the inputs of a run. Pure; all that a worker needs of the graphs.

/**
 * `packed`: texts of any lengths, flat, no padding outside attention. `flexible`: as packed, but runs whose texts have one length
 * skip the gathers and the mask, so that one session does for both.
 */
export type LayoutName = 'packed' | 'flexible';

/**
 * The two ways of attention in one graph are branches of an `If`, which ONNX Runtime puts on the CPU whatever the device: each layer
 * would copy its queries, keys and values off the GPU and the result back.
 */
export const layoutFor = (device: 'cpu' | 'gpu'): LayoutName => (device === 'gpu' ? 'packed' : 'flexible');

/**
 * How long blocks are. `longest`: as the longest text of the run, so that what a text adds up hangs on its company, in the last bits.
 * `own`: as each text has it alone.
 */
export type BlockRule = 'longest' | 'own';

const SHORT_BLOCKS = [16, 32, 48, 64];

/**
 * The length of a text's own block. Short texts share runs with others of their block; for long ones a run of their own is as good, and
 * their block has no padding.
 */
export const ownBlock = (length: number): number => SHORT_BLOCKS.find((block) => length <= block) ?? length;

const isShort = (length: number): boolean => length <= (SHORT_BLOCKS.at(-1) ?? 0);

/** What the feed makers must know of a graph. */
export interface FeedPlan {
  readonly layout: LayoutName;
  /** Default: `longest`. */
  readonly blocks?: BlockRule | undefined;
  readonly pooling: Pooling;
  /** Set when the model looks positions up in a table whose first row for text is `start`. */
  readonly positions?: Positions | undefined;
}

export interface Positions {
  readonly start: number;
  /** RoBERTa numbers only tokens other than this one; this one itself gets the position `start - 1`. */
  readonly paddingId?: number;
}

export type Feeds = Readonly<Record<string, Feed>>;

export type TokenList = readonly number[] | Int32Array;

const int32 = (data: Int32Array, dims: readonly number[]): Feed => ({ type: 'int32', data, dims });

function concatenate(texts: readonly TokenList[], tokens: number): Int32Array {
  const ids = new Int32Array(tokens);
  let start = 0;
  for (const text of texts) {
    ids.set(text, start);
    start += text.length;
  }
  return ids;
}

function positionsOf(texts: readonly TokenList[], tokens: number, plan: Positions) {
  const positions = new Int32Array(tokens);
  let row = 0;
  for (const text of texts) {
    let next = plan.start;
    for (const id of text) positions[row++] = id === plan.paddingId ? plan.start - 1 : next++;
  }
  return positions;
}

/** Whether all texts have one length. A short one goes the masked way where its block is its own, even if it fills it: others of the block do not. */
function uniformFeed(lengths: Int32Array, blocks: BlockRule): Feed {
  const isUniform = lengths.every((length) => length === lengths[0] && (blocks === 'longest' || !isShort(length)));
  return { type: 'bool', data: Uint8Array.of(isUniform ? 1 : 0), dims: [] };
}

/** @throws RangeError: texts whose blocks are not alike */
function blockLengthOf(lengths: Int32Array, blocks: BlockRule): number {
  if (blocks === 'longest') return lengths.reduce((most, length) => Math.max(most, length), 0);
  const [block = 0, ...others] = new Set(Array.from(lengths, ownBlock));
  if (others.length > 0) throw new RangeError('Texts of this graph share a run only with texts of the same block.');
  return block;
}

/**
 * Texts of any lengths, at least one token each.
 * @param skips tokens at the beginning of each text that the pooling leaves out where it leaves prompts out; never all of them
 */
export function feedsFor(texts: readonly TokenList[], plan: FeedPlan, skips?: Int32Array): Feeds {
  const lengths = Int32Array.from(texts, (text) => text.length);
  if (lengths.length === 0 || lengths.includes(0)) {
    throw new RangeError('A pack holds one or more texts, without empty ones.');
  }
  const { blocks = 'longest' } = plan;
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const longest = blockLengthOf(lengths, blocks);
  // Padding of a block reads row 0: any finite row will do, the attention mask drops it.
  const blockRows = new Int32Array(texts.length * longest);
  const rowBlocks = new Int32Array(tokens);
  let row = 0;
  for (const [text, length] of lengths.entries()) {
    for (let position = 0; position < length; position++) {
      blockRows[text * longest + position] = row;
      rowBlocks[row++] = text * longest + position;
    }
  }
  return {
    input_ids: int32(concatenate(texts, tokens), [1, tokens]),
    block_rows: int32(blockRows, [texts.length, longest]),
    row_blocks: int32(rowBlocks, [tokens]),
    lengths: int32(lengths, [texts.length]),
    ...poolingFeeds({ lengths, longest, skips }, plan.pooling),
    ...(plan.positions && { position_ids: int32(positionsOf(texts, tokens, plan.positions), [1, tokens]) }),
    ...(plan.layout === 'flexible' && { uniform: uniformFeed(lengths, blocks) }),
  };
}

/** Ids of a vocabulary → places among the distinct ones, in the order in which they first come. */
export function distinctTokens(ids: Int32Array): { readonly places: Int32Array; readonly tokens: Int32Array } {
  const placeOf = new Map<number, number>();
  const places = ids.map((id) => {
    const known = placeOf.get(id);
    if (known !== undefined) return known;
    placeOf.set(id, placeOf.size);
    return placeOf.size - 1;
  });
  return { places, tokens: Int32Array.from(placeOf.keys()) };
}
