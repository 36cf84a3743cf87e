// The Express base of every process: request ids, one log line and one span per request, the OpenAI error object for all failures.
import { performance } from 'node:perf_hooks';
import express from 'express';
import type { Express, NextFunction, Request, Response } from 'express';
import type { Log } from '../obs/log.ts';
import { parseTraceparent, TRACEPARENT } from '../obs/tracing.ts';
import type { Attributes, Span, Tracer } from '../obs/tracing.ts';
import { OpenAIError, clip } from '../openai/errors.ts';
import { exchangeOf, openExchange, sendError } from './exchange.ts';
import type { Exchange, FinishedExchange } from './exchange.ts';

export type Handler = (request: Request, response: Response) => void | Promise<void>;
export type Method = 'get' | 'post' | 'put' | 'delete';
/** By Express path pattern, then by method. Matched in this order. */
export type Routes = Readonly<Record<string, Partial<Record<Method, Handler>>>>;

export interface AppOptions {
  readonly routes: Routes;
  readonly log: Log;
  /** Runs before routing, e.g. authentication; throws to refuse. */
  readonly before?: (request: Request, response: Response) => void;
  /** Routes whose every call is not worth a line, e.g. probes: logged at debug. */
  readonly quiet?: readonly string[];
  readonly onFinish?: (finished: FinishedExchange) => void;
  /** Absent: nothing is traced. Quiet routes never are. */
  readonly tracer?: Tracer | undefined;
}

export function createApp({ routes, log, before, quiet = [], onFinish, tracer }: AppOptions): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', false);
  const finished = (over: FinishedExchange): void => {
    logExchange(log, over, quiet);
    onFinish?.(over);
    const { span } = over.exchange;
    if (span !== undefined) endRequestSpan(span, over);
  };
  app.use((request: Request, response: Response, next: NextFunction) => {
    const exchange = openExchange(request, response, finished);
    if (tracer !== undefined && !quiet.includes(request.path)) {
      exchange.span = beginRequestSpan(tracer, request, exchange);
    }
    before?.(request, response);
    next();
  });
  for (const [path, handlers] of Object.entries(routes)) addRoute(app, path, handlers);
  const hint = '/openapi.json' in routes ? ' GET /openapi.json lists what there is.' : '';
  app.use((request: Request) => {
    throw new OpenAIError('unknown_url', `Unknown request URL: ${request.method} ${clip(request.path)}.${hint}`);
  });
  // eslint-disable-next-line @typescript-eslint/no-unused-vars -- four parameters make it an error handler
  app.use((thrown: unknown, _request: Request, response: Response, _next: NextFunction) => {
    sendError(response, thrown);
  });
  return app;
}

/** `/healthz` answers while the process is alive, `/readyz` unless `requireReady` throws why not. */
export function probeRoutes(requireReady: () => void): Routes {
  const ok = (response: Response): void => {
    response.setHeader('content-type', 'text/plain; charset=utf-8');
    response.end('ok\n');
  };
  return {
    '/healthz': { get: (_request, response) => ok(response) },
    '/readyz': {
      get: (_request, response) => {
        requireReady();
        ok(response);
      },
    },
  };
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
    // Without the query: some clients put keys there.
    path: clip((request.url ?? '').split('?', 1)[0] ?? ''),
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

function beginRequestSpan(tracer: Tracer, { method, headers }: Request, { id, startedAt }: Exchange): Span {
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
