// Decides what runs next: a state machine without clock or timers. Work-conserving, bounded in tokens, fair.
import { formBatch } from './batching.ts';
import { createLane } from './lane.ts';
import type { Lane } from './lane.ts';
import { createReturns } from './returns.ts';
import type { Batch, Piece, Scheduler, SchedulerLimits, Tuning } from './types.ts';

interface OpenRequest {
  readonly lane: Lane;
  readonly admittedMs: number;
  /** Estimated tokens of what is not tokenised yet. */
  reserved: number;
  /** Its pieces in the lane. */
  waiting: number;
  /** Bulk only: virtual time at which its pieces so far will have been served. */
  virtualEnd: number;
}

const longestFirst = (pieces: readonly Piece[]): Piece[] => [...pieces].sort((a, b) => b.length - a.length);

/** Tokens of the next run: an even share while several workers rest or the backlog ends, else a full run. */
function runBudget(limits: SchedulerLimits, queuedTokens: number, idleWorkers: number): number {
  if (idleWorkers > 1) return Math.min(limits.runTokens, Math.ceil(queuedTokens / idleWorkers));
  const share = Math.ceil(queuedTokens / limits.workers);
  return Math.min(limits.runTokens, Math.max(limits.minRunTokens, share));
}

export function createScheduler(initial: SchedulerLimits): Scheduler {
  let limits = initial;
  /** Small requests, in order of arrival. */
  const small = createLane();
  /** Everything else, by virtual time: requests advance evenly, whatever their size. */
  const bulk = createLane();
  const open = new Map<number, OpenRequest>();
  let arrivals = 0;
  let virtualTime = 0;
  let bulkCredit = 0;
  let reservedTokens = 0;
  let smallReservedTokens = 0;
  let runningTokens = 0;
  let wideRuns = 0;
  let lastCrowdedMs = -Infinity;
  let waitUntil: number | undefined;
  let gatheringSince: number | undefined;
  const returns = createReturns(limits.returnMs);

  const reserve = (request: OpenRequest, tokens: number): void => {
    reservedTokens += tokens - request.reserved;
    if (request.lane === small) smallReservedTokens += tokens - request.reserved;
    request.reserved = tokens;
  };

  function put(request: OpenRequest, pieces: readonly Piece[]): void {
    if (request.lane === small) {
      for (const piece of pieces) small.put(piece, arrivals++);
      return;
    }
    // Long ones first: the short ones left for the end let the workers finish together.
    for (const piece of longestFirst(pieces)) {
      request.virtualEnd = Math.max(request.virtualEnd, virtualTime);
      bulk.put(piece, request.virtualEnd);
      request.virtualEnd += piece.length;
    }
  }

  function chooseLanes(): [Lane, Lane] {
    const owed = bulk.head();
    if (owed && (small.pieces === 0 || bulkCredit >= owed.piece.length)) return [bulk, small];
    return [small, bulk];
  }

  function account(batch: Batch, bulkBefore: number): void {
    const bulkTokens = bulkBefore - bulk.tokens;
    const owed = bulk.pieces > 0 ? (batch.tokens - bulkTokens) * limits.bulkShare : 0;
    bulkCredit = bulk.pieces > 0 ? Math.max(0, bulkCredit + owed - bulkTokens) : 0;
    runningTokens += batch.tokens;
    for (const piece of batch.pieces) {
      const request = open.get(piece.request);
      if (request) request.waiting--;
    }
    if (batch.wide) wideRuns++;
  }

  const isAlone = ({ length }: Piece, idleWorkers: number, nowMs: number): boolean =>
    limits.wideFrom !== undefined &&
    length >= limits.wideFrom &&
    idleWorkers === limits.workers &&
    open.size === 1 &&
    reservedTokens === 0 &&
    small.pieces + bulk.pieces === 1 &&
    nowMs - lastCrowdedMs >= limits.aloneMs;

  /**
   * Until when the small requests at hand should wait for company; undefined: not at all. Clients that were answered by one
   * batch ask again at once: the first of them would run alone while the others are on their way or being tokenised. It
   * counts from when a worker could have taken them: what has waited longer for a worker loses nothing by it.
   */
  function gatheringUntil(head: Piece, nowMs: number): number | undefined {
    const isSmall = open.get(head.request)?.lane === small;
    if (!isSmall || bulk.pieces > 0 || small.tokens >= limits.minRunTokens) return undefined;
    const since = gatheringSince ?? nowMs;
    const tokenized = smallReservedTokens > 0 ? since + limits.gatherMs : -Infinity;
    const returned = returns.expectedUntil(nowMs) ?? -Infinity;
    const until = Math.min(Math.max(tokenized, returned), since + limits.longestGatherMs);
    if (until <= nowMs) return undefined;
    gatheringSince = since;
    return until;
  }

  const noteCrowd = (nowMs: number): void => {
    if (open.size > 1) lastCrowdedMs = nowMs;
  };

  return {
    admit({ id, lane, inputs, tokens }, nowMs) {
      if (tokens > limits.maxQueueTokens) return 'too_large';
      if (small.tokens + bulk.tokens + reservedTokens + tokens > limits.maxQueueTokens) return 'queue_full';
      const isSmall = lane === 'interactive' && inputs <= limits.smallRequestInputs;
      const request = {
        lane: isSmall ? small : bulk,
        admittedMs: nowMs,
        reserved: 0,
        waiting: 0,
        virtualEnd: virtualTime,
      };
      open.set(id, request);
      reserve(request, tokens);
      if (isSmall) returns.asked(nowMs);
      noteCrowd(nowMs);
      return 'admitted';
    },
    add(id, pieces, last) {
      const request = open.get(id);
      if (!request) return;
      const arrived = pieces.reduce((sum, { length }) => sum + length, 0);
      reserve(request, last ? 0 : Math.max(0, request.reserved - arrived));
      request.waiting += pieces.length;
      put(request, pieces);
    },
    next(idleWorkers, nowMs) {
      waitUntil = undefined;
      if (idleWorkers === 0 || wideRuns > 0) return undefined;
      const lanes = chooseLanes();
      const head = lanes[0].head();
      waitUntil = head && gatheringUntil(head.piece, nowMs);
      if (!head || waitUntil !== undefined) return undefined;
      gatheringSince = undefined;
      const alone = isAlone(head.piece, idleWorkers, nowMs);
      if (lanes[0] === bulk) virtualTime = Math.max(virtualTime, head.key);
      const bulkBefore = bulk.tokens;
      const budget = runBudget(limits, small.tokens + bulk.tokens, idleWorkers);
      // Bulk rides along with small requests as far as that makes a run worth its cost, not until it is full.
      const fillBudget = lanes[0] === small ? Math.min(budget, limits.minRunTokens) : budget;
      const { packing, cost } = limits;
      const formation = {
        lanes: [
          { lane: lanes[0], budget },
          { lane: lanes[1], budget: fillBudget },
        ],
        first: head.piece,
        packing,
        cost,
      };
      const batch = { ...formBatch(formation), alone, wide: alone && limits.isWide };
      account(batch, bulkBefore);
      return batch;
    },
    finished(batch) {
      runningTokens -= batch.tokens;
      if (batch.wide) wideRuns--;
    },
    leave(id, nowMs) {
      const request = open.get(id);
      if (!request) return;
      noteCrowd(nowMs);
      if (request.lane === small) returns.answered(nowMs);
      reserve(request, 0);
      open.delete(id);
      // Looks at everything that waits; what was answered has nothing left there.
      if (request.waiting > 0) request.lane.drop(id);
    },
    isDeep: () => small.tokens + bulk.tokens >= limits.minRunTokens,
    waitUntil: () => waitUntil,
    retune: (tuning: Tuning) => {
      limits = { ...limits, ...tuning };
    },
    reading: () => ({
      queuedInputs: small.pieces + bulk.pieces,
      queuedTokens: small.tokens + bulk.tokens + reservedTokens,
      runningTokens,
    }),
  };
}
