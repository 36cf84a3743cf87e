// Moves batches from the scheduler to the workers and their results back to the requests; keeps the counters.
import type { Scheduler, Batch } from '../scheduler/types.ts';
import type { Pool } from './pool.ts';
import type { RunMessage, RunReply } from './protocol.ts';
import type { OpenRequest } from './requests.ts';

export interface Counters {
  computedTokens: number;
  paddedTokens: number;
  batches: number;
}

export interface Dispatcher {
  /** Gives idle workers what waits, once this turn of the event loop has brought in all it has. */
  readonly wake: () => void;
  counters(): Readonly<Counters>;
}

export interface DispatcherParts {
  readonly scheduler: Scheduler;
  readonly pool: Pick<Pool, 'idle' | 'run'>;
  readonly requests: ReadonlyMap<number, OpenRequest>;
  readonly now: () => number;
  /** A run has ended; its worker is idle, and has not been given another. */
  readonly onEnd: (batch: Batch) => void;
  readonly onBatch: (batch: Batch, durationMs: number) => void;
}

interface Prepared {
  readonly message: RunMessage;
  readonly targets: readonly (OpenRequest | undefined)[];
}

function prepare(id: number, batch: Batch, requests: ReadonlyMap<number, OpenRequest>): Prepared {
  const ids = new Int32Array(batch.tokens);
  const targets = batch.pieces.map(({ request }) => requests.get(request));
  let start = 0;
  for (const [order, piece] of batch.pieces.entries()) {
    const tokens = targets[order]?.tokensOf(piece.index);
    if (tokens) ids.set(tokens, start);
    start += piece.length;
  }
  return {
    targets,
    message: {
      id,
      wide: batch.wide,
      ids,
      lengths: Int32Array.from(batch.pieces, ({ length }) => length),
      encodings: targets.map((target) => target?.encoding ?? 'base64'),
      dimensions: Int32Array.from(targets, (target) => target?.dimensions ?? 0),
    },
  };
}

export function createDispatcher(parts: DispatcherParts): Dispatcher {
  const { scheduler, pool, requests, now } = parts;
  const counters: Counters = { computedTokens: 0, paddedTokens: 0, batches: 0 };
  let batchId = 0;
  let waking = false;
  let later: NodeJS.Timeout | undefined;

  function deliver(batch: Batch, { targets }: Prepared, startedMs: number, reply: RunReply): void {
    const { bytes, ends, inferMs, serializeMs } = reply;
    let start = 0;
    for (const [order, piece] of batch.pieces.entries()) {
      const end = ends[order] ?? start;
      targets[order]?.complete(piece.index, {
        bytes: bytes.subarray(start, end),
        startedMs,
        inferMs,
        serializeMs,
      });
      start = end;
    }
    counters.computedTokens += batch.tokens;
    counters.paddedTokens += reply.paddedTokens;
    counters.batches++;
    parts.onBatch(batch, inferMs + serializeMs);
  }

  async function run(batch: Batch): Promise<void> {
    const startedMs = now();
    const prepared = prepare(batchId++, batch, requests);
    const ended = (): void => {
      scheduler.finished(batch);
      parts.onEnd(batch);
      // To answer the clients of a run takes milliseconds, in which its worker would rest. Where little waits, what they ask next is worth waiting for.
      if (scheduler.isDeep()) dispatch();
    };
    try {
      deliver(batch, prepared, startedMs, await pool.run(prepared.message).finally(ended));
    } catch (error) {
      for (const target of new Set(prepared.targets)) target?.fail(error);
    } finally {
      dispatcher.wake();
    }
  }

  function dispatch(): void {
    waking = false;
    clearTimeout(later);
    for (let idle = pool.idle(); idle > 0; idle--) {
      const batch = scheduler.next(idle, now());
      if (!batch) break;
      void run(batch);
    }
    // Without an idle worker there was no look at what waits, and the last answer is of the past.
    const until = pool.idle() > 0 ? scheduler.waitUntil() : undefined;
    if (until !== undefined) later = setTimeout(dispatcher.wake, Math.max(0, Math.ceil(until - now())));
  }

  const dispatcher: Dispatcher = {
    wake() {
      if (waking) return;
      waking = true;
      setImmediate(dispatch);
    },
    counters: () => counters,
  };
  return dispatcher;
}
