// Token ids → the inputs of a run. Pure; all that a worker needs of the graphs.

export type Pooling = 'mean' | 'cls';

/**
 * `packed`: texts of any lengths, flat, no padding outside attention. `flexible`: as packed, but runs whose texts have one length
 * skip the gathers and the mask, so that one session does for both.
 */
export type LayoutName = 'packed' | 'flexible';

/** What the feed makers must know of a graph. */
export interface FeedPlan {
  readonly layout: LayoutName;
  readonly pooling: Pooling;
  /** Set when the model looks positions up in a table whose first row for text is `start`. */
  readonly positions?: Positions | undefined;
}

export interface Positions {
  readonly start: number;
  /** RoBERTa numbers only tokens other than this one; this one itself gets the position `start - 1`. */
  readonly paddingId?: number;
}

export type Feed =
  | { readonly type: 'int32'; readonly data: Int32Array; readonly dims: readonly number[] }
  | { readonly type: 'float32'; readonly data: Float32Array; readonly dims: readonly number[] }
  | { readonly type: 'bool'; readonly data: Uint8Array; readonly dims: readonly number[] };

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

function firstRowsOf(texts: readonly TokenList[]): Int32Array {
  const firstRows = new Int32Array(texts.length);
  let row = 0;
  for (const [text, { length }] of texts.entries()) {
    firstRows[text] = row;
    row += length;
  }
  return firstRows;
}

/** Weights per block: per run they would grow with its square, 50 MB for what a GPU takes at once. */
function poolingFeed(texts: readonly TokenList[], longest: number, plan: FeedPlan): Feeds {
  if (plan.pooling === 'cls') return { first_rows: int32(firstRowsOf(texts), [texts.length]) };
  const weights = new Float32Array(texts.length * longest);
  for (const [text, { length }] of texts.entries()) {
    weights.fill(1 / length, text * longest, text * longest + length);
  }
  return { mean_weights: { type: 'float32', data: weights, dims: [texts.length, 1, longest] } };
}

/** Whether all texts have one length. */
const uniformFeed = (lengths: Int32Array): Feed => ({
  type: 'bool',
  data: Uint8Array.of(lengths.every((length) => length === lengths[0]) ? 1 : 0),
  dims: [],
});

/** Texts of any lengths, at least one token each. */
export function feedsFor(texts: readonly TokenList[], plan: FeedPlan): Feeds {
  const lengths = Int32Array.from(texts, (text) => text.length);
  if (lengths.length === 0 || lengths.includes(0)) {
    throw new RangeError('A pack holds one or more texts, without empty ones.');
  }
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
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
    ...poolingFeed(texts, longest, plan),
    ...(plan.positions && { position_ids: int32(positionsOf(texts, tokens, plan.positions), [1, tokens]) }),
    ...(plan.layout === 'flexible' && { uniform: uniformFeed(lengths) }),
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
