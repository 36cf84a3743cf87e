// One attempt at one endpoint, as a function from a request to a typed outcome. Nothing is thrown: failures are values.
import type { IncomingHttpHeaders } from 'node:http';
import { performance } from 'node:perf_hooks';
import { shortLived } from '../../common/util/slab.ts';
import type { Failure } from '../routing/retry.ts';
import type { Connection, ConnectionRequest, ResponseHandler } from './connection.ts';

/** Where a body goes whose end is not known yet. */
export interface Sink {
  /** False: wait for `drain`. */
  write(bytes: Uint8Array): boolean;
  end(): unknown;
  destroy(): unknown;
  on(event: 'drain', listener: () => void): unknown;
  once(event: 'close', listener: () => void): unknown;
}

export interface AttemptRequest extends ConnectionRequest {
  /** A larger answer is not gathered: it is handed over as a stream, and can then no longer be retried. */
  readonly gatherBytes: number;
}

export interface Answer {
  readonly kind: 'answer';
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly chunks: readonly Buffer[];
  /** When its first bytes came, by `performance.now()`; absent from what no endpoint said as it is. */
  readonly headAtMs?: number;
}

export interface StreamedAnswer {
  readonly kind: 'stream';
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly headAtMs: number;
  /** Writes what was gathered and what follows, at the sink's pace. Resolves to the last bytes, or to nothing if cut. */
  readonly pipe: (sink: Sink) => Promise<Buffer | undefined>;
}

export interface Failed {
  readonly kind: 'failed';
  readonly failure: Failure;
  readonly cause?: unknown;
}

export type Outcome = Answer | StreamedAnswer | Failed;

export interface Attempt {
  readonly outcome: Promise<Outcome>;
  /** Ends it now, upstream included. Later ends of other kinds are ignored. */
  readonly abort: (failure: Failure) => void;
}

type State = 'connecting' | 'sent' | 'answering' | 'streaming' | 'over';

class AbortedAttempt extends Error {
  override readonly name = 'AbortedAttempt';
}

/** A length is only a promise: beyond this, room is made as the bytes come. */
const MAX_ROOM = 16 * 1024 * 1024;

/** One attempt: a state machine from `connecting` to `over`. */
class ConnectionAttempt implements ResponseHandler, Attempt {
  readonly outcome: Promise<Outcome>;
  readonly #settle: (outcome: Outcome) => void;
  readonly #gatherBytes: number;
  readonly #connection: Connection;
  #state: State = 'connecting';
  #status = 0;
  #headers: IncomingHttpHeaders = {};
  #headAtMs = 0;
  /** Made for the whole body when its length is known. */
  #room: Buffer | undefined;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #isWhole = false;
  #sink: Sink | undefined;
  #last: Buffer | undefined;
  #piped: ((last: Buffer | undefined) => void) | undefined;

  constructor(connection: Connection, gatherBytes: number) {
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    this.outcome = promise;
    this.#settle = resolve;
    this.#connection = connection;
    this.#gatherBytes = gatherBytes;
  }

  readonly abort = (failure: Failure): void => {
    if (this.#state === 'over') return;
    this.#fail(failure, undefined);
    this.#connection.destroy(new AbortedAttempt(failure));
  };

  onSent(): void {
    if (this.#state === 'connecting') this.#state = 'sent';
  }

  onHead(status: number, headers: IncomingHttpHeaders, length: number | undefined): void {
    if (this.#state === 'over') return;
    this.#state = 'answering';
    this.#status = status;
    this.#headers = headers;
    this.#headAtMs = performance.now();
    if (length !== undefined && length <= Math.min(MAX_ROOM, this.#gatherBytes)) {
      this.#room = shortLived(length);
    }
  }

  onBody(view: Buffer): void {
    if (this.#state === 'over') return;
    if (this.#room !== undefined) {
      this.#bytes += view.copy(this.#room, this.#bytes);
      return;
    }
    const chunk = Buffer.from(view);
    this.#last = chunk;
    if (this.#sink !== undefined) {
      if (!this.#sink.write(chunk)) this.#connection.pause();
      return;
    }
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    if (this.#bytes > this.#gatherBytes && this.#state === 'answering') this.#handOver();
  }

  onEnd(): void {
    if (this.#state === 'over') return;
    const isStreamed = this.#state === 'streaming';
    this.#state = 'over';
    this.#isWhole = true;
    if (isStreamed) this.#finishSink();
    else {
      const chunks = this.#room === undefined ? this.#chunks : [this.#room];
      this.#settle({ ...this.#head(), kind: 'answer', chunks });
    }
  }

  onError(cause: Error): void {
    this.#fail(this.#state === 'connecting' ? 'connect' : 'reset', cause);
  }

  #fail(failure: Failure, cause: unknown): void {
    if (this.#state === 'over') return;
    const isStreamed = this.#state === 'streaming';
    this.#state = 'over';
    this.#chunks = [];
    this.#room = undefined;
    if (isStreamed) this.#finishSink();
    else this.#settle({ kind: 'failed', failure, cause });
  }

  /** After a failure a cut connection is the only honest end: the head is out. */
  #finishSink(): void {
    if (this.#sink === undefined) return;
    if (this.#isWhole) this.#sink.end();
    else this.#sink.destroy();
    this.#piped?.(this.#isWhole ? this.#last : undefined);
  }

  #handOver(): void {
    this.#state = 'streaming';
    this.#connection.pause();
    this.#settle({ ...this.#head(), kind: 'stream', pipe: (sink) => this.#pipe(sink) });
  }

  #head(): Pick<StreamedAnswer, 'status' | 'headers' | 'headAtMs'> {
    return { status: this.#status, headers: this.#headers, headAtMs: this.#headAtMs };
  }

  #pipe(sink: Sink): Promise<Buffer | undefined> {
    const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
    this.#piped = resolve;
    this.#sink = sink;
    sink.on('drain', () => {
      // By then the connection may be at work for another.
      if (this.#state === 'streaming') this.#connection.resume();
    });
    sink.once('close', () => this.abort('aborted'));
    let flows = true;
    for (const chunk of this.#chunks) flows = sink.write(chunk);
    this.#chunks = [];
    if (this.#state === 'over') this.#finishSink();
    else if (flows) this.#connection.resume();
    return promise;
  }
}

export const startAttempt = (connection: Connection, request: AttemptRequest): Attempt => {
  const attempt = new ConnectionAttempt(connection, request.gatherBytes);
  connection.send(request, attempt);
  return attempt;
};
