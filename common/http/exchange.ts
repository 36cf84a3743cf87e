// One request and its answer as the log, the metrics and the tracer see it: an id, a clock, and the facts that handlers add.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Span } from '../obs/tracing.ts';
import type { OpenAIError } from '../openai/errors.ts';
import { REQUEST_ID } from './headers.ts';

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
  readonly #leaving = new AbortController();

  constructor(id: string) {
    this.id = id;
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

export function openExchange(
  request: IncomingMessage,
  response: ServerResponse,
  onFinish: (finished: FinishedExchange) => void,
): Exchange {
  const exchange = new OpenExchange(requestId(request.headers[REQUEST_ID]));
  exchanges.set(response, exchange);
  response.setHeader(REQUEST_ID, exchange.id);
  // `close` comes once, after `finish` or instead of it.
  response.once('close', () => {
    const isAnswered = response.writableFinished;
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
