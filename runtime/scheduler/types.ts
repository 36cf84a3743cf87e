// The scheduler's vocabulary: requests, their pieces, the batches handed to workers, the limits it keeps. Types only.

/** One text to run: the smallest thing that is scheduled. */
export interface Piece {
  readonly request: number;
  /** Position among the request's distinct inputs. */
  readonly index: number;
  /** Tokens, at least 1. */
  readonly length: number;
}

/** `grouped`: equal lengths, no padding anywhere. `packed`: any lengths, flat, padding in attention alone. */
export type BatchLayout = 'grouped' | 'packed';

export interface Batch {
  readonly layout: BatchLayout;
  /** A text that nothing else is open beside, and long enough to gain by all cores. */
  readonly alone: boolean;
  /** To be run by the first worker on all cores, while every other worker rests. */
  readonly wide: boolean;
  readonly pieces: readonly Piece[];
  readonly tokens: number;
}

export interface RequestOffer {
  readonly id: number;
  readonly lane: 'interactive' | 'bulk';
  /** Distinct inputs. */
  readonly inputs: number;
  /** Tokens expected before tokenising; corrected when the pieces come. */
  readonly tokens: number;
}

export type Admission = 'admitted' | 'queue_full' | 'too_large';

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

export interface SchedulerLimits {
  readonly workers: number;
  /** Tokens waiting, at most; a request beyond it can never be taken. */
  readonly maxQueueTokens: number;
  /** Tokens of one run with a deep backlog. */
  readonly runTokens: number;
  /** The last runs of a backlog shrink to this, so that the workers end together. */
  readonly minRunTokens: number;
  /** Requests of at most this many inputs go ahead of bulk. */
  readonly smallRequestInputs: number;
  /** Tokens that bulk is owed for each token of small requests that went ahead of it. */
  readonly bulkShare: number;
  /** Tokens from which a text that is alone gains by all cores; undefined: it never does. */
  readonly wideFrom: number | undefined;
  /** Whether the first worker has all cores now. */
  readonly isWide: boolean;
  /** A request is alone when no other was open for this long. */
  readonly aloneMs: number;
  /** A small request waits this long at most for others that are being tokenised at the same moment. */
  readonly gatherMs: number;
  /** Clients that were answered are expected again within this time, when they have made it a habit. */
  readonly returnMs: number;
  /** No small request waits longer than this for others. */
  readonly longestGatherMs: number;
  readonly packing: boolean;
  readonly cost: CostModel;
}

export interface QueueReading {
  readonly queuedInputs: number;
  /** Tokens waiting, those still to be tokenised by estimate. */
  readonly queuedTokens: number;
  readonly runningTokens: number;
}

/** What changes while it runs. */
export type Tuning = Partial<Pick<SchedulerLimits, 'wideFrom' | 'isWide'>>;

/** Time comes in as milliseconds of any monotonic clock. */
export interface Scheduler {
  /** Takes a request in, or says why not. */
  admit(offer: RequestOffer, nowMs: number): Admission;
  /** Queues tokenised pieces of an admitted request; `last` says that no more will come. */
  add(request: number, pieces: readonly Piece[], last: boolean): void;
  /** What an idle worker should run now; undefined when there is nothing. */
  next(idleWorkers: number, nowMs: number): Batch | undefined;
  /** Whether a run worth its cost waits, whatever is about to come. */
  isDeep(): boolean;
  /** When the last `next` gave nothing because small requests wait for company: when to ask again at the latest. */
  waitUntil(): number | undefined;
  /** The batch is off its worker, done or failed. */
  finished(batch: Batch): void;
  /** The request is answered or dead: what it still has waiting is dropped. */
  leave(request: number, nowMs: number): void;
  reading(): QueueReading;
  retune(tuning: Tuning): void;
}
