// The span of a request that this process answers: named and described as HTTP and GenAI conventions have it, never its text.
import { performance } from 'node:perf_hooks';
import type { Attributes, Span, Tracer } from '../obs/trace.ts';
import type { Exchange, FinishedExchange, RequestHead } from './exchange.ts';

/** Facts of the log line → attributes. What is not named here is told by a span of its own. */
const NAMES: Readonly<Record<string, string>> = {
  model: 'gen_ai.request.model',
  tokens: 'gen_ai.usage.input_tokens',
  inputs: 'kubembed.inputs',
  truncated: 'kubembed.truncated_inputs',
  attempts: 'kubembed.attempts',
  shards: 'kubembed.shards',
  revision: 'kubembed.revision',
  cache: 'kubembed.cache',
};

export function beginRequestSpan(tracer: Tracer, request: RequestHead, exchange: Exchange): Span {
  const method = request.method ?? 'GET';
  return tracer.begin(method, request.headers, {
    kind: 'server',
    startMs: exchange.startedAt,
    attributes: { 'http.request.method': method, 'kubembed.request_id': exchange.id },
  });
}

function genAi({ facts }: Exchange): Attributes {
  const known = Object.entries(facts).flatMap(([fact, value]) => {
    const name = NAMES[fact];
    return name === undefined ? [] : [[name, value] as const];
  });
  const { encoding, inputs } = facts;
  return {
    ...Object.fromEntries(known),
    ...(inputs !== undefined && { 'gen_ai.operation.name': 'embeddings' }),
    ...(typeof encoding === 'string' && { 'gen_ai.request.encoding_formats': [encoding] }),
  };
}

export function endRequestSpan(span: Span, { exchange, request, status }: FinishedExchange): void {
  const { route, error } = exchange;
  // Without a route a client chose the path: names must be few.
  if (route !== undefined) span.rename(`${request.method ?? 'GET'} ${route}`);
  span.set({
    'http.response.status_code': status,
    ...(route !== undefined && { 'http.route': route }),
    ...genAi(exchange),
  });
  const failed = status >= 500 || status === 499;
  span.end({ endMs: performance.now(), ...(failed && { error: error?.kind ?? String(status) }) });
}
