// The Express base of every process: request ids, one log line and one span per request, the OpenAI error object for all failures.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import express from 'express';
import type { Express, Request, Response } from 'express';
import type { Log } from '../obs/log.ts';
import { parseTraceparent, TRACEPARENT } from '../obs/tracing.ts';
import type { Attributes, Span, Tracer } from '../obs/tracing.ts';
import { OpenAIError } from '../openai/errors.ts';
import { clip } from '../util/text.ts';
import { exchangeOf, openExchange, sendError } from './exchange.ts';
import type { Exchange, FinishedExchange } from './exchange.ts';
import type { MemoryBudget } from './memory.ts';
import { createCors, foreignHost } from './origins.ts';
import type { HostCheck } from './origins.ts';

export type Handler = (request: Request, response: Response) => void | Promise<void>;
export type Method = 'get' | 'post' | 'put' | 'delete';
/** By Express path pattern, then by method. Matched in this order. */
export type Routes = Readonly<Record<string, Partial<Record<Method, Handler>>>>;

export interface AppOptions {
  readonly routes: Routes;
  readonly log: Log;
  /** Routes whose every call is not worth a line, e.g. probes: logged at debug. */
  readonly quiet?: readonly string[];
  readonly onFinish?: (finished: FinishedExchange) => void;
  /** Of all that is held for clients; absent: no bound. */
  readonly memory?: MemoryBudget | undefined;
  /** Origins whose pages may call this, or `*`; absent: none. */
  readonly corsOrigins?: readonly string[] | undefined;
  /** Whether a request calls this server by a name of its own; absent: any name is. */
  readonly isOwnHost?: HostCheck | undefined;
  /** Absent: nothing is traced. Quiet routes never are. */
  readonly tracer?: Tracer | undefined;
}

export function createApp(options: AppOptions): RequestListener {
  const { routes, log, quiet = [], onFinish, memory, corsOrigins = [], isOwnHost, tracer } = options;
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', false);
  for (const [path, handlers] of Object.entries(routes)) addRoute(app, path, handlers);
  const cors = corsOrigins.length === 0 ? undefined : createCors(corsOrigins);
  const hint = '/openapi.json' in routes ? ' GET /openapi.json lists what there is.' : '';
  const finished = (over: FinishedExchange): void => {
    logExchange(log, over, quiet);
    onFinish?.(over);
    const { span } = over.exchange;
    if (span !== undefined) endRequestSpan(span, over);
  };

  /** True for a request that is answered already. */
  function enter(request: IncomingMessage, response: ServerResponse): boolean {
    const exchange = openExchange({ request, response, memory, onFinish: finished });
    request.url = targetOf(request.url ?? '/');
    if (tracer !== undefined && !quiet.includes(pathOf(request.url))) {
      exchange.span = beginRequestSpan(tracer, request, exchange);
    }
    requireServable(request);
    if (isOwnHost?.(request) === false) throw foreignHost(request);
    return cors?.(request, response) ?? false;
  }

  return (request, response) => {
    try {
      if (enter(request, response)) return;
    } catch (refusal) {
      sendError(response, refusal);
      return;
    }
    // Express calls this with what a handler threw, or with nothing where no route matched.
    app(request as Request, response as Response, (thrown?: unknown) => {
      const path = clip(pathOf(request.url));
      const unknown = () => new OpenAIError('unknown_url', `Unknown request URL: ${request.method} ${path}.${hint}`);
      sendError(response, thrown ?? unknown());
    });
  };
}

// What is settled of a request before it is routed.

const ABSOLUTE = /^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i;

/** A request's target as path and query: without the origin that proxies' clients name, and each slash once. Throws `OpenAIError`. */
function targetOf(url: string): string {
  if (url.startsWith('/') && !url.includes('//')) return url;
  const origin = ABSOLUTE.exec(url)?.[0] ?? '';
  if (origin !== '' && !URL.canParse(url)) throw new OpenAIError('invalid_request', 'The request URL is not valid.');
  const rest = url.slice(origin.length);
  const queryAt = rest.search(/[?#]/);
  const path = queryAt === -1 ? rest : rest.slice(0, queryAt);
  const query = queryAt === -1 ? '' : rest.slice(queryAt);
  return `${path === '' ? '/' : path.replaceAll(/\/{2,}/g, '/')}${query}`;
}

/** Of a target, for logs and messages: some clients put keys into the query. */
const pathOf = (url = ''): string => url.split('?', 1)[0] ?? '';

/** Refuses what Node would refuse without a word. Throws `OpenAIError`. */
function requireServable({ headers, httpVersion }: IncomingMessage): void {
  if (headers.host === undefined && httpVersion === '1.1') {
    throw new OpenAIError('invalid_request', "The request has no 'Host' header, which HTTP/1.1 asks for.");
  }
  const { expect } = headers;
  if (expect !== undefined && !/100-continue/i.test(expect)) {
    throw new OpenAIError('expectation_failed', "Of the header 'Expect' only the value '100-continue' can be met.");
  }
}

/**
 * `/healthz` answers while the process is alive, `/readyz` (and `/health`, as other servers call it) unless `requireReady` throws
 * why not. Who has to ask other threads gives functions that do.
 */
export function probeRoutes(
  requireReady: () => void | Promise<void>,
  requireAlive: () => void | Promise<void> = () => undefined,
): Routes {
  const okAfter =
    (require: () => void | Promise<void>): Handler =>
    async (_request, response) => {
      await require();
      response.setHeader('content-type', 'text/plain; charset=utf-8');
      response.end('ok\n');
    };
  const ready = okAfter(requireReady);
  return { '/healthz': { get: okAfter(requireAlive) }, '/readyz': { get: ready }, '/health': { get: ready } };
}

/** What a pattern's `*name` matched: an id with a raw slash has several parts, with an escaped one it has one. */
export function wildcardOf(request: Request, name: string): string {
  const parts: unknown = request.params[name];
  return Array.isArray(parts) ? parts.join('/') : String(parts);
}

function addRoute(app: Express, path: string, handlers: Routes[string]): void {
  const route = app.route(path);
  const methods = Object.keys(handlers).map((method) => method.toUpperCase());
  const allow = [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ');
  for (const [method, handler] of Object.entries(handlers) as [Method, Handler][]) {
    route[method]((request: Request, response: Response) => {
      exchangeOf(response).route = path;
      return handler(request, response);
    });
  }
  route.options((_request: Request, response: Response) => {
    response.setHeader('allow', allow);
    response.statusCode = 204;
    response.end();
  });
  route.all((request: Request, response: Response) => {
    exchangeOf(response).route = path;
    throw new OpenAIError(
      'method_not_allowed',
      `Not allowed to ${request.method} on ${clip(request.path)}. Allowed: ${allow}.`,
      {
        headers: { allow },
      },
    );
  });
}

function logExchange(log: Log, outcome: FinishedExchange, quiet: readonly string[]): void {
  const { exchange } = outcome;
  const level =
    exchange.error?.kind === 'internal_error' ? 'error' : quiet.includes(exchange.route ?? '') ? 'debug' : 'info';
  if (log.isLevelEnabled(level)) log[level](requestLine(outcome), 'Request answered');
}

function requestLine({ exchange, request, status, seconds }: FinishedExchange): Readonly<Record<string, unknown>> {
  const { error, span } = exchange;
  const traceId = span?.traceId ?? parseTraceparent(request.headers[TRACEPARENT])?.traceId;
  return {
    requestId: exchange.id,
    traceId,
    method: request.method,
    path: clip(pathOf(request.url)),
    status,
    durationMs: Math.round(seconds * 10_000) / 10,
    ...exchange.facts,
    reason: error?.kind,
    error: error?.cause,
  };
}

// The span of a request, named and described as HTTP's and GenAI's conventions have it; never its text.

/** Facts of the log line → attributes. What is not named here is told by a span of its own. */
const ATTRIBUTES: Readonly<Record<string, string>> = {
  model: 'gen_ai.request.model',
  tokens: 'gen_ai.usage.input_tokens',
  inputs: 'kubembed.inputs',
  truncated: 'kubembed.truncated_inputs',
  attempts: 'kubembed.attempts',
  shards: 'kubembed.shards',
  revision: 'kubembed.revision',
  cache: 'kubembed.cache',
};

function beginRequestSpan(tracer: Tracer, request: IncomingMessage, { id, startedAt }: Exchange): Span {
  const { method = 'GET', headers } = request;
  return tracer.begin(method, headers, {
    kind: 'server',
    startMs: startedAt,
    attributes: { 'http.request.method': method, 'kubembed.request_id': id },
  });
}

function genAi({ facts }: Exchange): Attributes {
  const known = Object.entries(facts).flatMap(([fact, value]) => {
    const name = ATTRIBUTES[fact];
    return name === undefined ? [] : [[name, value] as const];
  });
  const { encoding, inputs } = facts;
  return {
    ...Object.fromEntries(known),
    'gen_ai.operation.name': inputs === undefined ? undefined : 'embeddings',
    'gen_ai.request.encoding_formats': typeof encoding === 'string' ? [encoding] : undefined,
  };
}

function endRequestSpan(span: Span, { exchange, request, status }: FinishedExchange): void {
  const { route, error } = exchange;
  // Without a route a client chose the path: names must be few.
  if (route !== undefined) span.rename(`${request.method ?? 'GET'} ${route}`);
  span.set({ 'http.response.status_code': status, 'http.route': route, ...genAi(exchange) });
  const failed = status >= 500 || status === 499;
  span.end({ endMs: performance.now(), error: failed ? (error?.kind ?? String(status)) : undefined });
}
