// One endpoint's HTTP client: a pool of connections, attempts on it as typed outcomes, and probes.
// Nothing of the network is thrown: failures are values.
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { Pool } from 'undici';
import type { Dispatcher } from 'undici';
import type { Reservation as Held } from '../../common/http/memory.ts';

/** How an attempt that produced no answer ended. */
export type Failure =
  /** No connection was made: the request was never sent. */
  | 'connect'
  /** The connection broke after sending, before the whole answer was here. */
  | 'reset'
  /** The endpoint stopped answering anything. */
  | 'stalled'
  /** The request's own end: its client is gone, its time is up, or its answer found no room. */
  | 'aborted';

export interface AttemptRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** Name, value, name, value. */
  readonly headers: string[];
  readonly body: Buffer | undefined;
  /** A larger answer is not gathered: it is handed over as a stream, and can then no longer be retried. */
  readonly gatherBytes: number;
  readonly signal: AbortSignal | undefined;
  /** Of what is gathered, from its first byte on; what an attempt that failed had gathered is given back. Absent: not counted. */
  readonly held?: Held | undefined;
}

/** An answer that is here whole. */
export interface Answer {
  readonly kind: 'answer';
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly chunks: readonly Buffer[];
  /** When its first bytes came, by `performance.now()`; undefined for what no endpoint said as it is. */
  readonly headAtMs: number | undefined;
}

/** An answer whose end is still on its way. */
export interface AnswerStream {
  readonly kind: 'stream';
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly headAtMs: number;
  /** Writes what was gathered and what follows, at the reader's pace. Resolves to the last bytes, or to nothing if cut. */
  readonly pipe: (response: ServerResponse) => Promise<Buffer | undefined>;
  /** Resolves when nothing more comes: to how it failed, or to nothing if it is whole. */
  readonly ended: Promise<Failure | undefined>;
}

export interface Failed {
  readonly kind: 'failed';
  readonly failure: Failure;
  readonly cause: unknown;
}

export type Outcome = Answer | AnswerStream | Failed;

export interface Attempt {
  /** Rejects only for a request that cannot be sent to anybody. */
  readonly outcome: Promise<Outcome>;
  /** Ends it now, upstream included. Later ends of other kinds are ignored. */
  readonly abort: (failure: Failure) => void;
}

export interface EndpointClient {
  readonly send: (request: AttemptRequest) => Attempt;
  /** True when a GET answers 200 within the time. */
  readonly probe: (path: string, timeoutMs: number) => Promise<boolean>;
  /** Closes the connections once what runs on them has ended. */
  readonly close: () => void;
  /** Cuts them. */
  readonly destroy: () => void;
}

class AbortedAttempt extends Error {
  override readonly name = 'AbortedAttempt';
}

/** A keep-alive connection that broke before anything was written to it: no sign that nobody listens. */
const BROKEN: ReadonlySet<unknown> = new Set(['ECONNRESET', 'EPIPE']);

const codeOf = (error: Error): unknown => ('code' in error ? error.code : undefined);

type State = 'waiting' | 'sent' | 'gathering' | 'streaming' | 'over';

/** A state machine from `waiting` (for a connection) to `over`. A class, because there is one per request: its methods are made once. */
class PoolAttempt implements Dispatcher.DispatchHandler, Attempt {
  readonly outcome: Promise<Outcome>;
  readonly #settle: PromiseWithResolvers<Outcome>;
  readonly #signal: AbortSignal | undefined;
  readonly #gatherBytes: number;
  readonly #held: Held | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #state: State = 'waiting';
  #status = 0;
  #headers: IncomingHttpHeaders = {};
  #headAtMs = 0;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #last: Buffer | undefined;
  #sink: ServerResponse | undefined;
  #ended: PromiseWithResolvers<Failure | undefined> | undefined;

  constructor({ signal, gatherBytes, held }: AttemptRequest) {
    this.#settle = Promise.withResolvers<Outcome>();
    this.outcome = this.#settle.promise;
    this.#gatherBytes = gatherBytes;
    this.#held = held;
    this.#signal = signal;
    signal?.addEventListener('abort', this);
  }

  /** The signal's listener. */
  handleEvent(): void {
    this.abort('aborted');
  }

  abort(failure: Failure): void {
    if (this.#state === 'over') return;
    this.#fail(failure, undefined);
    this.#controller?.abort(new AbortedAttempt(failure));
  }

  // What undici tells of the request

  /** There is a connection, and the request is written to it next. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#state === 'over') controller.abort(new AbortedAttempt());
    else this.#state = 'sent';
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    // An interim answer: the one that counts is still to come.
    if (status < 200 || this.#state === 'over') return;
    this.#state = 'gathering';
    this.#status = status;
    this.#headers = headers;
    this.#headAtMs = performance.now();
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#state === 'over') return;
    this.#last = chunk;
    if (this.#sink !== undefined) {
      if (!this.#sink.write(chunk)) controller.pause();
      return;
    }
    if (!this.#hold(chunk, controller)) return;
    if (this.#bytes > this.#gatherBytes && this.#state === 'gathering') this.#handOver(controller);
  }

  onResponseEnd(): void {
    if (this.#state === 'over') return;
    const isStreamed = this.#state === 'streaming';
    this.#end();
    if (isStreamed) this.#ended?.resolve(undefined);
    else this.#settle.resolve({ kind: 'answer', ...this.#head(), chunks: this.#chunks });
  }

  onResponseError(_controller: unknown, error: Error): void {
    if (codeOf(error) === 'UND_ERR_INVALID_ARG') {
      // A fault of ours, the same on every endpoint.
      this.#end();
      this.#settle.reject(error);
      return;
    }
    const wasSent = this.#state !== 'waiting' || BROKEN.has(codeOf(error));
    this.#fail(wasSent ? 'reset' : 'connect', error);
  }

  /** False for the chunk that is one too many. */
  #hold(chunk: Buffer, controller: Dispatcher.DispatchController): boolean {
    try {
      this.#held?.grow(chunk.byteLength);
    } catch (refusal) {
      this.#fail('aborted', refusal);
      controller.abort(new AbortedAttempt());
      return false;
    }
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    return true;
  }

  // Its end

  #end(): void {
    this.#state = 'over';
    this.#signal?.removeEventListener('abort', this);
  }

  #fail(failure: Failure, cause: unknown): void {
    if (this.#state === 'over') return;
    const isStreamed = this.#state === 'streaming';
    this.#end();
    this.#chunks = [];
    this.#held?.shrink(this.#bytes);
    if (isStreamed) this.#ended?.resolve(failure);
    else this.#settle.resolve({ kind: 'failed', failure, cause });
  }

  #head(): Pick<AnswerStream, 'status' | 'headers' | 'headAtMs'> {
    return { status: this.#status, headers: this.#headers, headAtMs: this.#headAtMs };
  }

  // The part of a large answer that is streamed

  #handOver(controller: Dispatcher.DispatchController): void {
    this.#state = 'streaming';
    controller.pause();
    const ended = Promise.withResolvers<Failure | undefined>();
    this.#ended = ended;
    const pipe = async (response: ServerResponse): Promise<Buffer | undefined> =>
      await this.#pipe(response, controller);
    this.#settle.resolve({ kind: 'stream', ...this.#head(), pipe, ended: ended.promise });
  }

  async #pipe(response: ServerResponse, controller: Dispatcher.DispatchController): Promise<Buffer | undefined> {
    let flows = true;
    for (const chunk of this.#chunks.splice(0)) flows = response.write(chunk);
    response.on('drain', () => {
      // By then the connection may be at work for another request.
      if (this.#state === 'streaming') controller.resume();
    });
    this.#sink = response;
    if (flows && this.#state === 'streaming') controller.resume();
    const failure = await this.#ended?.promise;
    // Once the head is out, a cut connection is the only honest way to tell of a failure.
    if (failure === undefined) response.end();
    else response.destroy();
    return failure === undefined ? this.#last : undefined;
  }
}

/** Below the 5 s after which a Node server closes an idle connection, or a request could meet the closing socket. */
const KEEP_ALIVE_MS = 4000;
const PROBE_BYTES = 64 * 1024;

export interface EndpointClientOptions {
  /** Beyond it a connection attempt is given up; within half a second of it. */
  readonly connectMs: number;
}

/** Of one origin. It exists while there is a connection or something to send: of tens of thousands of endpoints few are in use at once. */
const createConnections = (origin: string, { connectMs }: EndpointClientOptions) => {
  let current: Pool | undefined;
  let isClosed = false;

  const open = (): Pool => {
    const pool = new Pool(origin, {
      // How many requests run at once is the balancer's business: each gets a connection.
      connections: null,
      pipelining: 1,
      allowH2: false,
      connect: { timeout: connectMs },
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      // A long computation is no stall: the request's deadline and the health checker end what has to end.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    const closeIfUnused = (): void => {
      const { connected, size } = pool.stats;
      // A pool that was closed from outside ends by itself.
      if (isClosed || current !== pool || connected > 0 || size > 0) return;
      current = undefined;
      void pool.close();
    };
    pool.on('disconnect', closeIfUnused).on('connectionError', closeIfUnused);
    // Who sends too late is told so, as by one that was open.
    if (isClosed) void pool.close();
    return pool;
  };

  return {
    pool: (): Pool => (current ??= open()),
    close: () => {
      isClosed = true;
      void current?.close();
    },
    destroy: () => {
      isClosed = true;
      void current?.destroy();
    },
  };
};

export const createEndpointClient = (origin: string, options: EndpointClientOptions): EndpointClient => {
  const connections = createConnections(origin, options);

  const send = (request: AttemptRequest): Attempt => {
    const attempt = new PoolAttempt(request);
    const { method, path, headers, body, signal } = request;
    if (signal?.aborted === true) attempt.abort('aborted');
    else connections.pool().dispatch({ method, path, headers, body: body ?? null }, attempt);
    return attempt;
  };

  const probe = async (path: string, timeoutMs: number): Promise<boolean> => {
    const attempt = send({
      method: 'GET',
      path,
      headers: [],
      body: undefined,
      gatherBytes: PROBE_BYTES,
      signal: undefined,
    });
    // What came while this process was busy is read before time is called.
    const timer = setTimeout(() => setImmediate(() => attempt.abort('stalled')), timeoutMs);
    const outcome = await attempt.outcome;
    clearTimeout(timer);
    if (outcome.kind === 'stream') attempt.abort('stalled');
    return outcome.kind === 'answer' && outcome.status === 200;
  };

  return {
    send,
    probe,
    close: connections.close,
    destroy: connections.destroy,
  };
};
