// One attempt at one endpoint, as a function from a request to a typed outcome. Nothing is thrown: failures are values.
import type { IncomingHttpHeaders } from 'node:http';
import type { Writable } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { Failure } from '../routing/retry.ts';

export interface AttemptRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** A larger answer is not gathered: it is handed over as a stream, and can then no longer be retried. */
  readonly gatherBytes: number;
}

export interface Answer {
  readonly kind: 'answer';
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly chunks: readonly Buffer[];
}

export interface StreamedAnswer {
  readonly kind: 'stream';
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Writes what was gathered and what follows, at the sink's pace. Resolves to the last bytes, or to nothing if cut. */
  readonly pipe: (sink: Writable) => Promise<Buffer | undefined>;
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

/** The undici handler of one attempt: a state machine from `connecting` to `over`. */
class AttemptHandler implements Dispatcher.DispatchHandler, Attempt {
  readonly outcome: Promise<Outcome>;
  readonly #settle: (outcome: Outcome) => void;
  readonly #gatherBytes: number;
  #state: State = 'connecting';
  #controller: Dispatcher.DispatchController | undefined;
  #aborted: Failure | undefined;
  #status = 0;
  #headers: IncomingHttpHeaders = {};
  #chunks: Buffer[] = [];
  #bytes = 0;
  #sink: Writable | undefined;
  #last: Buffer | undefined;
  #piped: ((last: Buffer | undefined) => void) | undefined;

  constructor(gatherBytes: number) {
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    this.outcome = promise;
    this.#settle = resolve;
    this.#gatherBytes = gatherBytes;
  }

  readonly abort = (failure: Failure): void => {
    if (this.#state === 'over' || this.#aborted !== undefined) return;
    this.#aborted = failure;
    this.#controller?.abort(new AbortedAttempt(failure));
    this.#fail(failure, undefined);
  };

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#aborted !== undefined) controller.abort(new AbortedAttempt(this.#aborted));
    else this.#state = 'sent';
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    // A 1xx is not the answer.
    if (status < 200) return;
    this.#state = 'answering';
    this.#status = status;
    this.#headers = headers;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#last = chunk;
    if (this.#sink !== undefined) {
      if (!this.#sink.write(chunk)) controller.pause();
      return;
    }
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    if (this.#bytes > this.#gatherBytes && this.#state === 'answering') this.#handOver(controller);
  }

  onResponseEnd(): void {
    if (this.#state === 'over') return;
    const streaming = this.#state === 'streaming';
    this.#state = 'over';
    if (!streaming) {
      this.#settle({ kind: 'answer', status: this.#status, headers: this.#headers, chunks: this.#chunks });
      return;
    }
    this.#sink?.end();
    this.#piped?.(this.#last);
  }

  onResponseError(_controller: Dispatcher.DispatchController, cause: Error): void {
    this.#fail(this.#state === 'connecting' ? 'connect' : 'reset', cause);
  }

  #fail(failure: Failure, cause: unknown): void {
    if (this.#state === 'over') return;
    const streaming = this.#state === 'streaming';
    this.#state = 'over';
    this.#chunks = [];
    if (!streaming) {
      this.#settle({ kind: 'failed', failure, cause });
      return;
    }
    // The head is out: a cut connection is the only honest end.
    this.#sink?.destroy();
    this.#piped?.(undefined);
  }

  #handOver(controller: Dispatcher.DispatchController): void {
    this.#state = 'streaming';
    controller.pause();
    this.#settle({ kind: 'stream', status: this.#status, headers: this.#headers, pipe: (sink) => this.#pipe(sink) });
  }

  #pipe(sink: Writable): Promise<Buffer | undefined> {
    const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
    this.#piped = resolve;
    if (this.#state === 'over') {
      sink.destroy();
      resolve(undefined);
      return promise;
    }
    const controller = this.#controller;
    sink.on('drain', () => controller?.resume());
    sink.once('close', () => this.abort('aborted'));
    let flows = true;
    for (const chunk of this.#chunks) flows = sink.write(chunk);
    this.#chunks = [];
    this.#sink = sink;
    if (flows) controller?.resume();
    return promise;
  }
}

export const startAttempt = (dispatcher: Dispatcher, request: AttemptRequest): Attempt => {
  const { method, path, headers, body, gatherBytes } = request;
  const handler = new AttemptHandler(gatherBytes);
  dispatcher.dispatch({ method, path, headers, body: body ?? null }, handler);
  return handler;
};
