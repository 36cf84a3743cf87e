// Decides what runs next: a state machine without clock or timers. Work-conserving, bounded in tokens, fair.
import type { Priority } from '../../common/http/headers.ts';
import { formBatch, createQueue } from './batching.ts';
import type { CostModel, Queue, Sequence } from './batching.ts';
import { createReturnPredictor } from './gathering.ts';
import type { GatherTimes } from './gathering.ts';

export interface Batch {
  /** One text that nothing else is open beside. */
  readonly alone: boolean;
  /** To be run by the first worker on all cores, while every other worker rests. */
  readonly solo: boolean;
  readonly sequences: readonly Sequence[];
  readonly tokens: number;
}

export interface RequestOffer {
  readonly id: number;
  readonly priority: Priority;
  /** Distinct inputs. */
  readonly inputs: number;
  /** Tokens expected before tokenising; corrected when the sequences come. */
  readonly tokens: number;
}

export type Admission = 'admitted' | 'queue_full' | 'too_large';

export interface SchedulerLimits {
  readonly workers: number;
  /** Tokens waiting, at most; a request beyond it can never be taken. */
  readonly maxQueueTokens: number;
  /** Share of that which small requests have beside it: bulk may fill the queue, and they are still taken. */
  readonly smallShare: number;
  /** Tokens of one run with a deep backlog. */
  readonly runTokens: number;
  /** The last runs of a backlog shrink to this, so that the workers end together. */
  readonly minRunTokens: number;
  /** Requests of at most this many inputs go ahead of bulk. */
  readonly smallRequestInputs: number;
  /** Tokens that bulk is owed for each token of small requests that went ahead of it. */
  readonly bulkShare: number;
  /** Whether a text of so many tokens that is alone runs on all cores now. */
  readonly takesSolo: (tokens: number, nowMs: number) => boolean;
  /** A request is alone when no other was open for this long. */
  readonly aloneMs: number;
  /** A small request waits this long at most for others that are being tokenised at the same moment. */
  readonly gatherMs: number;
  /** As of now. */
  readonly gatherTimes: () => GatherTimes;
  /** Texts share a run where this says the same of their lengths. */
  readonly companyOf: (length: number) => number;
  readonly cost: CostModel;
}

export interface QueueStats {
  readonly queuedInputs: number;
  /** Tokens waiting, those still to be tokenised by estimate. */
  readonly queuedTokens: number;
  readonly runningTokens: number;
}

/** Time comes in as milliseconds of any monotonic clock. */
export interface Scheduler {
  /** Takes a request in, or says why not. */
  admit(offer: RequestOffer, nowMs: number): Admission;
  /** Queues tokenised sequences of an admitted request; `last` says that no more will come. */
  add(request: number, sequences: readonly Sequence[], last: boolean): void;
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
  stats(): QueueStats;
}

interface QueuedRequest {
  readonly queue: Queue;
  /** Estimated tokens of what is not tokenised yet. */
  reserved: number;
  /** Bulk only: virtual time at which its sequences so far will have been served. */
  virtualEnd: number;
}

const longestFirst = (sequences: readonly Sequence[]): Sequence[] => sequences.toSorted((a, b) => b.length - a.length);

/** Tokens of the next run: an even share while several workers rest or the backlog ends, else a full run. */
function runBudget(limits: SchedulerLimits, queuedTokens: number, idleWorkers: number): number {
  if (idleWorkers > 1) return Math.min(limits.runTokens, Math.ceil(queuedTokens / idleWorkers));
  const share = Math.ceil(queuedTokens / limits.workers);
  return Math.min(limits.runTokens, Math.max(limits.minRunTokens, share));
}

export function createScheduler(limits: SchedulerLimits): Scheduler {
  /** Small requests, in order of arrival. */
  const small = createQueue();
  /** Everything else, by virtual time: requests advance evenly, whatever their size. */
  const bulk = createQueue();
  const open = new Map<number, QueuedRequest>();
  const returns = createReturnPredictor(() => limits.gatherTimes().returnMs);
  let arrivals = 0;
  let virtualTime = 0;
  let bulkCredit = 0;
  let reservedTokens = 0;
  let smallReservedTokens = 0;
  let runningTokens = 0;
  let soloRuns = 0;
  let lastCrowdedMs = -Infinity;
  let waitUntil: number | undefined;
  let gatheringSince: number | undefined;

  const queuedTokens = (): number => small.tokens() + bulk.tokens();

  const reserve = (request: QueuedRequest, tokens: number): void => {
    reservedTokens += tokens - request.reserved;
    if (request.queue === small) smallReservedTokens += tokens - request.reserved;
    request.reserved = tokens;
  };

  function put(request: QueuedRequest, sequences: readonly Sequence[]): void {
    if (request.queue === small) {
      for (const sequence of sequences) small.put(sequence, arrivals++);
      return;
    }
    // Long ones first: the short ones left for the end let the workers finish together.
    for (const sequence of longestFirst(sequences)) {
      request.virtualEnd = Math.max(request.virtualEnd, virtualTime);
      bulk.put(sequence, request.virtualEnd);
      request.virtualEnd += sequence.length;
    }
  }

  function chooseQueues(): [Queue, Queue] {
    const owed = bulk.head();
    if (owed && (small.size() === 0 || bulkCredit >= owed.sequence.length)) return [bulk, small];
    return [small, bulk];
  }

  function account(batch: Batch, bulkBefore: number): void {
    const bulkTokens = bulkBefore - bulk.tokens();
    const owed = bulk.size() > 0 ? (batch.tokens - bulkTokens) * limits.bulkShare : 0;
    bulkCredit = bulk.size() > 0 ? Math.max(0, bulkCredit + owed - bulkTokens) : 0;
    runningTokens += batch.tokens;
    if (batch.solo) soloRuns++;
  }

  const isAlone = (idleWorkers: number, nowMs: number): boolean =>
    idleWorkers === limits.workers &&
    open.size === 1 &&
    reservedTokens === 0 &&
    small.size() + bulk.size() === 1 &&
    nowMs - lastCrowdedMs >= limits.aloneMs;

  /**
   * Until when the small requests at hand should wait for company; undefined: not at all. Clients that were answered by one
   * batch ask again at once: the first of them would run alone while the others are on their way or being tokenised. It
   * counts from when a worker could have taken them: what has waited longer for a worker loses nothing by it.
   */
  function gatheringUntil(head: Sequence, nowMs: number): number | undefined {
    const isSmall = open.get(head.request)?.queue === small;
    if (!isSmall || bulk.size() > 0 || small.tokens() >= limits.minRunTokens) return undefined;
    const since = gatheringSince ?? nowMs;
    const tokenized = smallReservedTokens > 0 ? since + limits.gatherMs : -Infinity;
    const returned = returns.expectedUntil(nowMs) ?? -Infinity;
    const until = Math.min(Math.max(tokenized, returned), since + limits.gatherTimes().maxGatherMs);
    if (until <= nowMs) return undefined;
    gatheringSince = since;
    return until;
  }

  function hasRoom(isSmall: boolean, tokens: number): boolean {
    const { maxQueueTokens, smallShare } = limits;
    if (queuedTokens() + reservedTokens + tokens <= maxQueueTokens) return true;
    return isSmall && small.tokens() + smallReservedTokens + tokens <= maxQueueTokens * smallShare;
  }

  const noteCrowd = (nowMs: number): void => {
    if (open.size > 1) lastCrowdedMs = nowMs;
  };

  return {
    admit({ id, priority, inputs, tokens }, nowMs) {
      if (tokens > limits.maxQueueTokens) return 'too_large';
      const isSmall = priority === 'interactive' && inputs <= limits.smallRequestInputs;
      if (!hasRoom(isSmall, tokens)) return 'queue_full';
      const request = { queue: isSmall ? small : bulk, reserved: 0, virtualEnd: virtualTime };
      open.set(id, request);
      reserve(request, tokens);
      if (isSmall) returns.asked(nowMs);
      noteCrowd(nowMs);
      return 'admitted';
    },
    add(id, sequences, last) {
      const request = open.get(id);
      if (!request) return;
      const arrived = sequences.reduce((sum, { length }) => sum + length, 0);
      reserve(request, last ? 0 : Math.max(0, request.reserved - arrived));
      put(request, sequences);
    },
    next(idleWorkers, nowMs) {
      waitUntil = undefined;
      if (idleWorkers === 0 || soloRuns > 0) return undefined;
      const [first, second] = chooseQueues();
      const head = first.head();
      waitUntil = head && gatheringUntil(head.sequence, nowMs);
      if (!head || waitUntil !== undefined) return undefined;
      gatheringSince = undefined;
      const alone = isAlone(idleWorkers, nowMs);
      const solo = alone && limits.takesSolo(head.sequence.length, nowMs);
      if (first === bulk) virtualTime = Math.max(virtualTime, head.key);
      const bulkBefore = bulk.tokens();
      const budget = runBudget(limits, queuedTokens(), idleWorkers);
      // Bulk rides along with small requests as far as that makes a run worth its cost, not until it is full.
      const fillBudget = first === small ? Math.min(budget, limits.minRunTokens) : budget;
      const formed = formBatch({
        queues: [
          { queue: first, budget },
          { queue: second, budget: fillBudget },
        ],
        first: head.sequence,
        companyOf: limits.companyOf,
        cost: limits.cost,
      });
      const batch = { ...formed, alone, solo };
      account(batch, bulkBefore);
      return batch;
    },
    finished(batch) {
      runningTokens -= batch.tokens;
      if (batch.solo) soloRuns--;
    },
    leave(id, nowMs) {
      const request = open.get(id);
      if (!request) return;
      noteCrowd(nowMs);
      if (request.queue === small) returns.answered(nowMs);
      reserve(request, 0);
      open.delete(id);
      request.queue.drop(id);
    },
    isDeep: () => queuedTokens() >= limits.minRunTokens,
    waitUntil: () => waitUntil,
    stats: () => ({
      queuedInputs: small.size() + bulk.size(),
      queuedTokens: queuedTokens() + reservedTokens,
      runningTokens,
    }),
  };
}
