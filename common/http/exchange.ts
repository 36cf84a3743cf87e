// One request and its answer as the log and the metrics see it: an id, a clock, and the facts that handlers add.
import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Span } from '../obs/trace.ts';
import type { OpenAIError } from '../openai/errors.ts';
import { REQUEST_ID } from './headers.ts';

type Fact = string | number | boolean | undefined;

/** What is known of a request before its body. */
export interface RequestHead {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: IncomingHttpHeaders;
}

export interface Exchange {
  readonly id: string;
  readonly startedAt: number;
  /** The pattern that matched, a bounded set; unset when none did. */
  route?: string;
  /** Logged as they are: never input text, never keys. */
  readonly facts: Record<string, Fact>;
  error?: OpenAIError;
  /** Unset where nothing is traced. */
  span?: Span;
  /** Aborted when the client is gone before its answer was written, or by `abort`. Made when first asked for. */
  readonly gone: AbortSignal;
  /** Calls this once when `gone` would be aborted, at once if it is; there is one listener at a time. */
  onGone(listener: (() => void) | undefined): void;
  abort(reason?: OpenAIError): void;
}

export interface FinishedExchange {
  readonly exchange: Exchange;
  readonly request: RequestHead;
  /** 499 when the client left first. */
  readonly status: number;
  readonly seconds: number;
}

const exchanges = new WeakMap<ServerResponse, Exchange>();

export function exchangeOf(response: ServerResponse): Exchange {
  const exchange = exchanges.get(response);
  if (exchange === undefined) throw new Error('No exchange was opened for this response');
  return exchange;
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
  readonly facts: Record<string, Fact> = {};
  route?: string;
  error?: OpenAIError;
  span?: Span;
  #controller: AbortController | undefined;
  #isGone = false;
  #reason: OpenAIError | undefined;
  #listener: (() => void) | undefined;

  constructor(id: string) {
    this.id = id;
  }

  get gone(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#isGone) this.#controller.abort(this.#reason);
    return this.#controller.signal;
  }

  onGone(listener: (() => void) | undefined): void {
    this.#listener = listener;
    if (this.#isGone) listener?.();
  }

  abort(reason?: OpenAIError): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#reason = reason;
    this.#controller?.abort(reason);
    this.#listener?.();
  }
}

export function createExchange(headers: IncomingHttpHeaders): Exchange {
  return new OpenExchange(requestId(headers[REQUEST_ID]));
}

/** Answered, or 499 when the client left first. */
export function finishedExchange(
  exchange: Exchange,
  request: RequestHead,
  answered: number | undefined,
): FinishedExchange {
  const seconds = (performance.now() - exchange.startedAt) / 1000;
  return { exchange, request, status: answered ?? 499, seconds };
}

export function openExchange(
  request: IncomingMessage,
  response: ServerResponse,
  onFinish: (finished: FinishedExchange) => void,
): Exchange {
  const exchange = createExchange(request.headers);
  exchanges.set(response, exchange);
  response.setHeader(REQUEST_ID, exchange.id);
  // `close` comes once, after `finish` or instead of it.
  response.once('close', () => {
    if (!response.writableFinished) exchange.abort();
    onFinish(finishedExchange(exchange, request, response.writableFinished ? response.statusCode : undefined));
  });
  return exchange;
}
