// Requests between a front thread and the thread of the workers: each side's half, over messages that hold all of a turn.
import { errorText } from '../../common/util/text.ts';
import type { Compute, RunTarget } from '../engine/compute.ts';
import { EngineError } from '../engine/contract.ts';
import type { EngineErrorCode, EngineErrorDetails, EngineStats } from '../engine/contract.ts';
import { createTape, readTape } from './tape.ts';
import type { AddedText, OpenedRequest } from './tape.ts';

/** What came of requests since the last message. */
export interface Results {
  /** JSON values, one after the other. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** `NUMBERS` of each value: request, input, bytes, and when and how long it ran. */
  readonly numbers: Float64Array<ArrayBuffer>;
  readonly failures: readonly Failure[];
  readonly stats: EngineStats;
}

interface Failure {
  readonly id: number;
  readonly code: EngineErrorCode;
  readonly message: string;
  readonly details: EngineErrorDetails;
  /** In words: for the log. */
  readonly cause: string | undefined;
}

const NUMBERS = 6;

/** Each thread's clock starts with the thread; this is where its zero lies on the machine's. */
const ORIGIN_MS = Number(process.hrtime.bigint()) / 1e6 - performance.now();

const MAX_ID = 2 ** 31 - 1;

export interface RemoteCompute extends Compute {
  deliver(results: Results): void;
  /** As the last results said. */
  readonly stats: () => EngineStats;
}

const NO_STATS: EngineStats = {
  queuedInputs: 0,
  queuedTokens: 0,
  runningTokens: 0,
  capacityTokensPerSecond: 0,
  computedTokens: 0,
  paddedTokens: 0,
  batches: 0,
  workerRestarts: 0,
};

/** The half of a front thread. `send` gets what the turn has brought, once. */
export function createRemoteCompute(send: (tape: Int32Array<ArrayBuffer>) => void): RemoteCompute {
  const tape = createTape();
  const targets = new Map<number, RunTarget>();
  let lastId = 0;
  let stats = NO_STATS;
  let sending = false;

  function flush(): void {
    sending = false;
    const written = tape.take();
    if (written !== undefined) send(written);
  }
  function sendSoon(): void {
    if (sending) return;
    sending = true;
    setImmediate(flush);
  }

  return {
    nextId: () => (lastId = (lastId + 1) % MAX_ID),
    admit(target, offer) {
      const { id, encoding, dimensions } = target;
      targets.set(id, target);
      tape.open({ ...offer, id, encoding, dimensions });
      sendSoon();
      return undefined;
    },
    add(id, sequences, last) {
      const target = targets.get(id);
      if (target === undefined) return;
      tape.add(id, sequences, target, last);
      sendSoon();
    },
    leave(id) {
      targets.delete(id);
      tape.leave(id);
      sendSoon();
    },
    deliver(results) {
      ({ stats } = results);
      const { bytes, numbers } = results;
      let start = 0;
      for (let at = 0; at < numbers.length; at += NUMBERS) {
        const [id = 0, index = 0, size = 0, ran = 0, inferMs = 0, serializeMs = 0] = numbers.subarray(at, at + NUMBERS);
        const end = start + size;
        targets.get(id)?.complete(index, bytes.subarray(start, end), ran - ORIGIN_MS, { inferMs, serializeMs });
        start = end;
      }
      for (const { id, code, message, details, cause } of results.failures) {
        targets.get(id)?.fail(new EngineError(code, message, { ...details, ...(cause !== undefined && { cause }) }));
      }
    },
    stats: () => stats,
  };
}

export interface FrontRequests {
  /** What the front has told. */
  read(tape: Int32Array): void;
}

export interface FrontRequestsDeps {
  readonly compute: Compute & { stats(): EngineStats };
  readonly send: (results: Results) => void;
}

/** The half of the workers' thread, for one front. */
export function createFrontRequests({ compute, send }: FrontRequestsDeps): FrontRequests {
  /** By the front's own ids. */
  const open = new Map<number, RemoteRequest>();
  let pieces: Uint8Array[] = [];
  let numbers: number[] = [];
  let failures: Failure[] = [];
  let sending = false;

  function flush(): void {
    sending = false;
    const results = { bytes: join(pieces), numbers: Float64Array.from(numbers), failures, stats: compute.stats() };
    pieces = [];
    numbers = [];
    failures = [];
    send(results);
  }
  // The results of a run come in one go.
  function sendSoon(): void {
    if (sending) return;
    sending = true;
    queueMicrotask(flush);
  }

  const events: RemoteEvents = {
    completed(id, index, bytes, [startedMs, inferMs, serializeMs]) {
      pieces.push(bytes);
      numbers.push(id, index, bytes.byteLength, startedMs + ORIGIN_MS, inferMs, serializeMs);
      sendSoon();
    },
    failed(id, thrown) {
      const error = thrown instanceof EngineError ? thrown : new EngineError('worker_failed', String(thrown));
      const { code, message, details, cause } = error;
      failures.push({ id, code, message, details, cause: cause === undefined ? undefined : errorText(cause) });
      sendSoon();
    },
  };

  return {
    read: (tape) =>
      readTape(tape, {
        open(request) {
          const { priority, inputs, tokens } = request;
          const remote = new RemoteRequest(compute.nextId(), request, events);
          const refusal = compute.admit(remote, { priority, inputs, tokens });
          if (refusal === undefined) open.set(request.id, remote);
          else remote.fail(refusal);
        },
        add(id, texts, last) {
          const request = open.get(id);
          if (request === undefined) return;
          request.take(texts);
          const sequences = texts.map(({ index, ids }) => ({ request: request.id, index, length: ids.length }));
          compute.add(request.id, sequences, last);
        },
        leave(id) {
          const request = open.get(id);
          if (request === undefined) return;
          open.delete(id);
          compute.leave(request.id);
        },
      }),
  };
}

interface RemoteEvents {
  completed(id: number, index: number, bytes: Uint8Array, times: readonly [number, number, number]): void;
  failed(id: number, error: unknown): void;
}

const NO_TOKENS = new Int32Array(0);

/** A front's request as the runs see it. */
class RemoteRequest implements RunTarget {
  readonly id: number;
  readonly encoding: OpenedRequest['encoding'];
  readonly dimensions: number;
  readonly #remoteId: number;
  readonly #events: RemoteEvents;
  /** By index, until they have run. */
  readonly #texts = new Map<number, AddedText>();

  constructor(id: number, { id: remoteId, encoding, dimensions }: OpenedRequest, events: RemoteEvents) {
    this.id = id;
    this.encoding = encoding;
    this.dimensions = dimensions;
    this.#remoteId = remoteId;
    this.#events = events;
  }

  take(texts: readonly AddedText[]): void {
    for (const text of texts) this.#texts.set(text.index, text);
  }

  tokensOf(index: number): Int32Array {
    return this.#texts.get(index)?.ids ?? NO_TOKENS;
  }

  skipOf(index: number): number {
    return this.#texts.get(index)?.skip ?? 0;
  }

  complete(...[index, bytes, startedMs, { inferMs, serializeMs }]: Parameters<RunTarget['complete']>): void {
    this.#texts.delete(index);
    this.#events.completed(this.#remoteId, index, bytes, [startedMs, inferMs, serializeMs]);
  }

  fail = (error: unknown): void => this.#events.failed(this.#remoteId, error);
}

/** In memory of its own, which is moved: what a run wrote may hold values for several threads. */
function join(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(pieces.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.byteLength;
  }
  return bytes;
}
