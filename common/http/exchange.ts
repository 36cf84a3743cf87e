// One request and its answer: an id, a clock and facts for log, metrics and tracer; a deadline; JSON, bytes or an error as the answer.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Span } from '../obs/tracing.ts';
import { OpenAIError, errorBody } from '../openai/errors.ts';
import type { ErrorKind } from '../openai/errors.ts';
import { byteLength, joinPieces } from '../openai/response.ts';
import { heavyTurn } from '../util/turns.ts';
import { REQUEST_ID } from './headers.ts';
import { createMemoryBudget } from './memory.ts';
import type { MemoryBudget, Reservation } from './memory.ts';

type Fact = string | number | boolean | undefined;

export interface Exchange {
  readonly id: string;
  /** By `performance.now()`. */
  readonly startedAt: number;
  /** The pattern that matched, a bounded set; undefined when none did. */
  route: string | undefined;
  /** Logged as they are: never input text, never keys. */
  readonly facts: Record<string, Fact>;
  error: OpenAIError | undefined;
  /** Undefined where nothing is traced. */
  span: Span | undefined;
  /** Aborted when the client is gone before its answer was written. */
  readonly signal: AbortSignal;
  /** Bytes of its body and answer, given back when the answer is written or the client gone. */
  readonly held: Reservation;
}

export interface FinishedExchange {
  readonly exchange: Exchange;
  readonly request: IncomingMessage;
  /** 499 when the client left first. */
  readonly status: number;
  readonly seconds: number;
}

const SANE_ID = /^[\w.:/+=@-]{1,128}$/;

/** An id that a client gave, if it is fit for a header and a log line; else a new one. */
export function requestId(given: string | readonly string[] | undefined): string {
  return typeof given === 'string' && SANE_ID.test(given) ? given : randomUUID();
}

/** A class, because there is one per request: its methods are made once. */
class OpenExchange implements Exchange {
  readonly id: string;
  readonly startedAt = performance.now();
  route: string | undefined = undefined;
  readonly facts: Record<string, Fact> = {};
  error: OpenAIError | undefined = undefined;
  span: Span | undefined = undefined;
  readonly held: Reservation;
  readonly #leaving = new AbortController();

  constructor(id: string, held: Reservation) {
    this.id = id;
    this.held = held;
  }

  get signal(): AbortSignal {
    return this.#leaving.signal;
  }

  /** To be called when the connection is lost. */
  lose(): void {
    this.#leaving.abort();
  }
}

const exchanges = new WeakMap<ServerResponse, Exchange>();

export function exchangeOf(response: ServerResponse): Exchange {
  const exchange = exchanges.get(response);
  if (exchange === undefined) throw new Error('No exchange was opened for this response');
  return exchange;
}

export interface ExchangeParts {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly memory?: MemoryBudget | undefined;
  readonly onFinish: (finished: FinishedExchange) => void;
}

const UNBOUNDED = createMemoryBudget(Infinity);

export function openExchange({ request, response, memory = UNBOUNDED, onFinish }: ExchangeParts): Exchange {
  const exchange = new OpenExchange(requestId(request.headers[REQUEST_ID]), memory.reserve());
  exchanges.set(response, exchange);
  response.setHeader(REQUEST_ID, exchange.id);
  // `close` comes once, after `finish` or instead of it.
  response.once('close', () => {
    const isAnswered = response.writableFinished;
    exchange.held.release();
    if (!isAnswered) exchange.lose();
    const seconds = (performance.now() - exchange.startedAt) / 1000;
    onFinish({ exchange, request, status: isAnswered ? response.statusCode : 499, seconds });
  });
  return exchange;
}

/** A signal with an end in time. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** To be called when the work is over. */
  readonly clear: () => void;
}

/** Aborts with `parent`, or after `ms` with `reason`: `AbortSignal.any` and `.timeout` at a thirtieth of their cost. */
export function withDeadline(parent: AbortSignal, ms: number, reason: Error): Deadline {
  const controller = new AbortController();
  const follow = (): void => controller.abort(parent.reason);
  // A timer of no time waits for a millisecond, in which a short text is embedded.
  if (ms <= 0) controller.abort(reason);
  const timer = setTimeout(() => controller.abort(reason), ms).unref();
  if (parent.aborted) follow();
  else parent.addEventListener('abort', follow, { once: true });
  return {
    signal: controller.signal,
    clear: () => {
      clearTimeout(timer);
      parent.removeEventListener('abort', follow);
    },
  };
}

// Answers to a request: JSON, bytes that are ready, and whatever was thrown as the OpenAI error object.

const JSON_TYPE = 'application/json; charset=utf-8';
/** Up to this size an answer goes out at once, with its head. */
const SMALL_BYTES = 65_536;
/** What may wait in a connection for its reader: the answer is in memory either way, and each wait is a turn of the event loop. */
const MAX_PENDING_BYTES = 1024 * 1024;

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value));
  response.statusCode = status;
  response.setHeader('content-type', JSON_TYPE);
  response.setHeader('content-length', body.byteLength);
  response.end(body);
}

/** As `sendHeldBytes`, of bytes that are held from now on. Rejects, before anything is written, when too many are held already. */
export async function sendBytes(
  response: ServerResponse,
  status: number,
  pieces: readonly Uint8Array[],
): Promise<void> {
  exchanges.get(response)?.held.grow(byteLength(pieces));
  await sendHeldBytes(response, status, pieces);
}

/**
 * JSON unless its type was set. A large body is written at the pace of its reader; ends early, without a fault, when the client
 * is gone.
 */
export async function sendHeldBytes(
  response: ServerResponse,
  status: number,
  pieces: readonly Uint8Array[],
): Promise<void> {
  const bytes = byteLength(pieces);
  response.statusCode = status;
  if (!response.hasHeader('content-type')) response.setHeader('content-type', JSON_TYPE);
  response.setHeader('content-length', bytes);
  if (bytes <= SMALL_BYTES) {
    response.end(pieces.length === 1 ? pieces[0] : Buffer.concat(pieces, bytes));
    return;
  }
  await heavyTurn();
  for (const chunk of joinPieces(pieces)) {
    if (response.destroyed) return;
    if (!response.write(chunk) && response.writableLength > MAX_PENDING_BYTES) await drained(response);
  }
  response.end();
}

/** Resolves also when the client is gone. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
}

/** Once the head is out only a broken connection can tell; and whom nobody waits for is told nothing. */
export function sendError(response: ServerResponse, thrown: unknown): void {
  const error = toOpenAIError(thrown);
  exchangeOf(response).error = error;
  if (response.headersSent || error.kind === 'client_closed_request') {
    response.destroy();
    return;
  }
  for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value);
  sendJson(response, error.status, errorBody(error));
}

// Express and its router mark the request's own faults (a path that does not decode) with a status.
const BY_STATUS: Readonly<Record<number, ErrorKind>> = {
  400: 'invalid_request',
  404: 'unknown_url',
  413: 'request_too_large',
  415: 'unsupported_media_type',
};

/** A fault of ours keeps its words to the log: messages can hold paths, addresses or input. */
export function toOpenAIError(thrown: unknown): OpenAIError {
  if (thrown instanceof OpenAIError) return thrown;
  const status = typeof thrown === 'object' && thrown !== null && 'status' in thrown ? Number(thrown.status) : 500;
  const kind = BY_STATUS[status];
  if (kind !== undefined) return new OpenAIError(kind, 'The request could not be read.', { cause: thrown });
  return new OpenAIError('internal_error', 'The server had an error while processing your request. Sorry about that!', {
    cause: thrown,
  });
}
