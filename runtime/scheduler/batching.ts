// Which waiting sequences run together: the queue by key and length, the ways to fill a run, and what runs cost. Pure.

// What waits: ordered by key, found by length

/** The tokens of one text: the smallest thing that is scheduled. */
export interface Sequence {
  readonly request: number;
  /** Position among the request's distinct inputs. */
  readonly index: number;
  /** Tokens, at least 1. */
  readonly length: number;
}

interface Waiting {
  readonly sequence: Sequence;
  readonly key: number;
  /** Of its arrival: those of equal keys go in that order. */
  readonly order: number;
  /** Neither taken nor dropped. */
  live: boolean;
}

export interface Queue {
  put(sequence: Sequence, key: number): void;
  /** The sequence with the smallest key, left in place. */
  head(): Waiting | undefined;
  /** Takes the sequence of this length with the smallest key. */
  take(length: number): Sequence | undefined;
  /** Lengths that wait, nearest to `length` first; those equally near, longest first. */
  nearest(length: number): number[];
  count(length: number): number;
  /** Takes out all that a request has here. Costs what that is, and not what others have. */
  drop(request: number): void;
  size(): number;
  tokens(): number;
}

const isBefore = (a: Waiting, b: Waiting): boolean => a.key < b.key || (a.key === b.key && a.order < b.order);

/** Those of one length: a heap by key, in which dropped ones stay until they come up or are the most of it. */
class Bucket {
  live = 0;
  #heap: Waiting[] = [];

  put(added: Waiting): void {
    this.live++;
    this.#heap.push(added);
    this.#rise(this.#heap.length - 1, added);
  }

  first(): Waiting | undefined {
    while (this.#heap[0]?.live === false) this.#removeFirst();
    return this.#heap[0];
  }

  take(): Waiting | undefined {
    const first = this.first();
    if (first === undefined) return undefined;
    this.#removeFirst();
    first.live = false;
    this.live--;
    return first;
  }

  drop(one: Waiting): void {
    one.live = false;
    this.live--;
    if (this.#heap.length <= 2 * this.live + 16) return;
    this.#heap = this.#heap.filter(({ live }) => live);
    for (let at = (this.#heap.length >>> 1) - 1; at >= 0; at--) this.#sink(at, this.#heap[at]);
  }

  #removeFirst(): void {
    const last = this.#heap.pop();
    if (this.#heap.length > 0) this.#sink(0, last);
  }

  #rise(from: number, one: Waiting): void {
    let at = from;
    while (at > 0) {
      const above = (at - 1) >>> 1;
      const other = this.#heap[above];
      if (other === undefined || !isBefore(one, other)) break;
      this.#heap[at] = other;
      at = above;
    }
    this.#heap[at] = one;
  }

  #sink(from: number, one: Waiting | undefined): void {
    if (one === undefined) return;
    let at = from;
    for (;;) {
      let below = 2 * at + 1;
      let least = this.#heap[below];
      const right = this.#heap[below + 1];
      if (least !== undefined && right !== undefined && isBefore(right, least)) {
        least = right;
        below++;
      }
      if (least === undefined || !isBefore(least, one)) break;
      this.#heap[at] = least;
      at = below;
    }
    this.#heap[at] = one;
  }
}

export function createQueue(): Queue {
  const buckets = new Map<number, Bucket>();
  const byRequest = new Map<number, Waiting[]>();
  let order = 0;
  let size = 0;
  let tokens = 0;
  const removed = (length: number, bucket: Bucket): void => {
    size--;
    tokens -= length;
    if (bucket.live === 0) buckets.delete(length);
  };
  return {
    put(sequence, key) {
      const { length, request } = sequence;
      const waiting = { sequence, key, order: order++, live: true };
      let bucket = buckets.get(length);
      if (!bucket) buckets.set(length, (bucket = new Bucket()));
      bucket.put(waiting);
      const own = byRequest.get(request);
      if (own) own.push(waiting);
      else byRequest.set(request, [waiting]);
      size++;
      tokens += length;
    },
    head() {
      let first: Waiting | undefined;
      for (const bucket of buckets.values()) {
        const candidate = bucket.first();
        if (candidate && (!first || candidate.key < first.key)) first = candidate;
      }
      return first;
    },
    take(length) {
      const bucket = buckets.get(length);
      const taken = bucket?.take();
      if (bucket && taken) removed(length, bucket);
      return taken?.sequence;
    },
    nearest: (length) => [...buckets.keys()].sort((a, b) => Math.abs(a - length) - Math.abs(b - length) || b - a),
    count: (length) => buckets.get(length)?.live ?? 0,
    drop(request) {
      for (const waiting of byRequest.get(request) ?? []) {
        const { length } = waiting.sequence;
        const bucket = buckets.get(length);
        if (!bucket || !waiting.live) continue;
        bucket.drop(waiting);
        removed(length, bucket);
      }
      byRequest.delete(request);
    },
    size: () => size,
    tokens: () => tokens,
  };
}

// How a batch forms around the sequence that must go first: equal lengths, or a pack of similar ones, whichever wastes less

// What a run costs, in tokens' worth of work.

export interface CostModel {
  /** Cost of one run beside its tokens, in tokens. */
  readonly perRun: number;
  /** Cost of one attention cell (a pair of tokens of one text), in tokens. */
  readonly perCell: number;
  /** The same in a packed run, where attention is masked. */
  readonly perPackedCell: number;
  /** Cost of one token of a packed run: the gathers around attention. */
  readonly perPackedToken: number;
}

/**
 * Measured for all-MiniLM-L6-v2 (hidden size 384) on AVX2; attention's part falls as the linear layers widen. Only the
 * order of the costs matters: a wrong constant costs a few per cent of speed and never changes a vector.
 */
export const cpuCosts = (hiddenSize: number): CostModel => ({
  perRun: 10,
  perCell: 0.165 / hiddenSize,
  perPackedCell: 0.29 / hiddenSize,
  perPackedToken: 1.03,
});

/**
 * In int8 on AVX-512 with VNNI, for models of 384 and 768: what a run takes beside its tokens weighs three times as much, attention too,
 * and short texts go the same way whether they are of one length or not.
 */
export const int8Costs = (hiddenSize: number): CostModel => ({
  perRun: 35,
  perCell: 0.5 / hiddenSize,
  perPackedCell: 0.5 / hiddenSize,
  perPackedToken: 1,
});

/**
 * From runs of the same model on an H200: up to 2,000 tokens every run takes the same 1.3 ms, each further thousand 0.2 ms. So
 * nothing costs as much as one run more, and texts of any lengths share one.
 */
export const gpuCosts = (hiddenSize: number): CostModel => ({
  perRun: 2048,
  perCell: 0.1 / hiddenSize,
  perPackedCell: 0.6 / hiddenSize,
  perPackedToken: 1.1,
});

/** A run of some texts: how many, how many tokens, and the longest. */
interface RunShape {
  readonly texts: number;
  readonly tokens: number;
  readonly longest: number;
}

const groupedCost = (model: CostModel, { texts, tokens, longest }: RunShape): number =>
  tokens + model.perCell * texts * longest * longest + model.perRun;

const packedCost = (model: CostModel, { texts, tokens, longest }: RunShape): number =>
  model.perPackedToken * tokens + model.perPackedCell * texts * longest * longest + model.perRun;

const withText = (shape: RunShape, length: number): RunShape => ({
  texts: shape.texts + 1,
  tokens: shape.tokens + length,
  longest: Math.max(shape.longest, length),
});

/**
 * Whether a text is cheaper in the pack than it would be elsewhere. Elsewhere it would share a run as well, hence half of
 * a run's fixed cost.
 */
function worthPacking(model: CostModel, shape: RunShape, length: number): boolean {
  const added = packedCost(model, withText(shape, length)) - packedCost(model, shape);
  return added <= length + model.perCell * length * length + model.perRun / 2;
}

// The two ways to fill a run, and the choice between them.

export interface Formation {
  /** The queue of the first sequence comes first. Each may fill the run up to its own number of tokens. */
  readonly queues: readonly { readonly queue: Queue; readonly budget: number }[];
  readonly first: Sequence;
  /** Lengths of which this says the same may be mixed. */
  readonly companyOf: (length: number) => number;
  readonly cost: CostModel;
}

interface Plan {
  readonly shape: RunShape;
  /** How many sequences to take of which queue and length. */
  readonly takes: readonly { readonly queue: Queue; readonly length: number; readonly count: number }[];
}

/** As many of the first one's length as there are. */
function planGroup({ queues, first: { length } }: Formation): Plan {
  let texts = 0;
  const takes = queues.map(({ queue, budget }) => {
    const room = Math.max(texts === 0 ? 1 : 0, Math.floor(budget / length) - texts);
    const count = Math.min(room, queue.count(length));
    texts += count;
    return { queue, length, count };
  });
  return { shape: { texts, tokens: texts * length, longest: length }, takes };
}

/** Adds texts of one length for as long as they fit and pay. */
function grow(cost: CostModel, from: RunShape, length: number, most: { texts: number; tokens: number }): RunShape {
  let shape = from;
  while (
    shape.texts - from.texts < most.texts &&
    shape.tokens + length <= most.tokens &&
    worthPacking(cost, shape, length)
  ) {
    shape = withText(shape, length);
  }
  return shape;
}

/** Similar lengths around the first one's. */
function planPack({ queues, first, companyOf, cost }: Formation): Plan {
  const company = companyOf(first.length);
  let shape: RunShape = { texts: 1, tokens: first.length, longest: first.length };
  const takes = [];
  for (const [order, { queue, budget }] of queues.entries()) {
    for (const length of queue.nearest(first.length)) {
      if (companyOf(length) !== company) continue;
      const own = order === 0 && length === first.length ? 1 : 0;
      const grown = grow(cost, shape, length, { texts: queue.count(length) - own, tokens: budget });
      const count = own + grown.texts - shape.texts;
      if (count > 0) takes.push({ queue, length, count });
      shape = grown;
    }
  }
  return { shape, takes };
}

function choose(formation: Formation): Plan {
  const group = planGroup(formation);
  const { cost } = formation;
  const perToken = ({ shape }: Plan, of: typeof groupedCost) => of(cost, shape) / shape.tokens;
  const grouped = perToken(group, groupedCost);
  // No pack costs less per token than its gathers.
  if (grouped <= cost.perPackedToken) return group;
  const pack = planPack(formation);
  return pack.shape.texts > group.shape.texts && perToken(pack, packedCost) < grouped ? pack : group;
}

/** Takes the sequences out of their queues. */
export function formBatch(formation: Formation): { sequences: Sequence[]; tokens: number } {
  const plan = choose(formation);
  const sequences: Sequence[] = [];
  for (const { queue, length, count } of plan.takes) {
    for (let taken = 0; taken < count; taken++) {
      const sequence = queue.take(length);
      if (sequence) sequences.push(sequence);
    }
  }
  return { sequences, tokens: plan.shape.tokens };
}

// What runs cost in truth: how many tokens a second all workers do together when busy.

export interface CapacityMeter {
  readonly ran: (tokens: number, durationMs: number) => void;
  /** 0 until something ran. */
  tokensPerSecond(): number;
  /** Of one worker; 0 before the first run. */
  msPerToken(): number;
}

/** A run counts by its tokens; what is this many tokens ago counts for a third. */
const MEMORY_TOKENS = 20_000;
/** Small runs waste a worker's time because nothing more waits: only runs of this size show what it can do. */
const TELLING_TOKENS = 64;

export function createCapacityMeter(workers: number): CapacityMeter {
  let tokens = 0;
  let ms = 0;
  return {
    ran(added, durationMs) {
      // A first small run is better than nothing.
      if (added < TELLING_TOKENS && tokens >= TELLING_TOKENS) return;
      const keep = Math.exp(-added / MEMORY_TOKENS);
      tokens = tokens * keep + added;
      ms = ms * keep + durationMs;
    },
    tokensPerSecond: () => (ms === 0 ? 0 : (workers * tokens * 1000) / ms),
    msPerToken: () => (tokens === 0 ? 0 : ms / tokens),
  };
}
