// One request and its answer as the log and the metrics see it: an id, a clock, and the facts that handlers add.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Span } from '../obs/trace.ts';
import type { OpenAIError } from '../openai/errors.ts';
import { REQUEST_ID } from './headers.ts';

type Fact = string | number | boolean | undefined;

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
  /** Aborted when the client is gone before its answer was written, or by `abort`. */
  readonly gone: AbortSignal;
  abort(reason: OpenAIError): void;
}

export interface FinishedExchange {
  readonly exchange: Exchange;
  readonly request: IncomingMessage;
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

export function openExchange(
  request: IncomingMessage,
  response: ServerResponse,
  onFinish: (finished: FinishedExchange) => void,
): Exchange {
  const gone = new AbortController();
  const exchange: Exchange = {
    id: requestId(request.headers[REQUEST_ID]),
    startedAt: performance.now(),
    facts: {},
    gone: gone.signal,
    abort: (reason) => gone.abort(reason),
  };
  exchanges.set(response, exchange);
  response.setHeader(REQUEST_ID, exchange.id);
  // `close` comes once, after `finish` or instead of it.
  response.once('close', () => {
    if (!response.writableFinished) gone.abort();
    const status = response.writableFinished ? response.statusCode : 499;
    onFinish({ exchange, request, status, seconds: (performance.now() - exchange.startedAt) / 1000 });
  });
  return exchange;
}
