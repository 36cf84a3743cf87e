// `POST /v1/embeddings`: key check → body → model → limits → cache → forward → answer, its bytes untouched unless shards were joined.
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { BodyReader } from '../../common/http/body.ts';
import type { EmbeddingsParser, RequestOutline } from '../../common/http/embeddings-parser.ts';
import { exchangeOf, withDeadline, sendBytes, sendHeldBytes } from '../../common/http/exchange.ts';
import type { Exchange } from '../../common/http/exchange.ts';
import {
  CACHE,
  MODEL,
  POOLING,
  REQUEST_ID,
  REVISION,
  TRUNCATED,
  deadlineMsOf,
  priorityOf,
} from '../../common/http/headers.ts';
import { passedOnTrace } from '../../common/obs/tracing.ts';
import { OpenAIError } from '../../common/openai/errors.ts';
import type { Caller } from '../auth/limits.ts';
import type { Answer, AnswerStream } from '../endpoints/client.ts';
import type { RouterMetrics } from '../metrics.ts';
import type { Models } from '../models/model.ts';
import type { Activity } from '../status/activity.ts';
import type { UnknownModel } from '../routing/unknown.ts';
import type { Cached, ResponseCache } from './cache.ts';
import { ModelGone } from './forward.ts';
import type { RequestContext } from './forward.ts';
import type { Forward } from './shard.ts';

export interface EmbeddingsDeps {
  readonly models: Models;
  readonly bodies: BodyReader;
  readonly parser: EmbeddingsParser;
  /** Undefined: no model uses one. */
  readonly cache: ResponseCache | undefined;
  readonly forward: Forward;
  readonly unknown: UnknownModel;
  readonly metrics: RouterMetrics;
  /** Of all models, where there is a status page. */
  readonly activity: Activity | undefined;
  readonly now: () => number;
  readonly requestMs: number;
}

export type EmbeddingsHandler = (request: IncomingMessage, response: ServerResponse, caller: Caller) => Promise<void>;

const upstreamHeaders = (from: IncomingHttpHeaders, { id, span }: Exchange, model: string): readonly string[] => {
  const headers = ['content-type', 'application/json', MODEL, model, REQUEST_ID, id];
  // Where this process makes spans, each attempt names its own as the parent.
  return span === undefined ? [...headers, ...Object.entries(passedOnTrace(from)).flat()] : headers;
};

// The answer, passed on

const KEPT = ['content-type', 'retry-after', 'retry-after-ms', REVISION, POOLING, TRUNCATED] as const;

const keepHeaders = (response: ServerResponse, headers: IncomingHttpHeaders): void => {
  for (const name of KEPT) {
    const value = headers[name];
    if (typeof value === 'string') response.setHeader(name, value);
  }
};

const isErrorBody = (body: Buffer): boolean => {
  try {
    const value = JSON.parse(body.toString('utf8')) as { readonly error?: { readonly message?: unknown } } | null;
    return typeof value?.error?.message === 'string';
  } catch {
    return false;
  }
};

/** Throws for a refusal that is not the error object: it did not come from a runtime. */
const sendAnswer = async (response: ServerResponse, answer: Answer, isHeld: boolean): Promise<void> => {
  const { status, headers, chunks } = answer;
  if (status >= 400) {
    exchangeOf(response).facts['upstreamStatus'] = status;
    if (!isErrorBody(Buffer.concat(chunks))) {
      throw new OpenAIError('bad_gateway', `The model's replica answered ${status} without saying why.`);
    }
  }
  keepHeaders(response, headers);
  await (isHeld ? sendHeldBytes : sendBytes)(response, status, chunks);
};

/** Resolves to the last bytes, or to nothing if the answer was cut. */
const streamAnswer = async (response: ServerResponse, answer: AnswerStream): Promise<Buffer | undefined> => {
  const { status, headers, pipe } = answer;
  keepHeaders(response, headers);
  const length = headers['content-length'];
  if (length !== undefined) response.setHeader('content-length', length);
  response.statusCode = status;
  return await pipe(response);
};

// The usage, read from the end of the answer

const END_BYTES = 512;

/** `usage.prompt_tokens` of a response, read from its last bytes. */
export const promptTokensOf = (end: Buffer): number | undefined => {
  const text = end.toString('latin1', Math.max(0, end.length - END_BYTES));
  const found = /"prompt_tokens":\s*(\d+)[^[\]]*$/.exec(text);
  return found?.[1] === undefined ? undefined : Number(found[1]);
};

/** The usage may have been cut in two by the last packets. */
const endOf = (chunks: readonly Buffer[]): Buffer => {
  const last = chunks.at(-1);
  return last !== undefined && last.length >= END_BYTES ? last : Buffer.concat(chunks.slice(-2));
};

// The route

const LATE = new OpenAIError('deadline_exceeded', 'The request was not answered before its deadline.');

export const embeddingsRoute = (deps: EmbeddingsDeps): EmbeddingsHandler => {
  const { models, bodies, parser, cache, unknown, metrics, now } = deps;

  const findContext = async (
    { headers }: IncomingMessage,
    exchange: Exchange,
    given: Pick<RequestContext, 'body' | 'signal' | 'deadlineMs'>,
    caller: Caller,
  ): Promise<RequestContext> => {
    const request = await parser.outline(given.body);
    const { facts, span } = exchange;
    facts['inputs'] = request.inputs.length;
    facts['encoding'] = request.encoding;
    const found = findModel(headers, exchange, request, caller);
    return {
      ...given,
      ...found,
      request,
      priority: priorityOf(headers),
      span,
      held: exchange.held,
      failedOn: new Set(),
      facts,
    };
  };

  const findModel = (
    headers: IncomingHttpHeaders,
    exchange: Exchange,
    { model: name, inputs }: RequestOutline,
    caller: Caller,
  ): Pick<RequestContext, 'model' | 'estimate' | 'headers'> => {
    const model = models.find(name);
    // What a key does not open is, for it, not there.
    if (model === undefined || !caller.mayUse(model.served)) throw unknown(name, models.table(), caller);
    exchange.facts['model'] = model.key;
    const passedOn = upstreamHeaders(headers, exchange, model.served.model);
    return { model, estimate: model.estimate(inputs), headers: passedOn };
  };

  /** Counts what was used, and lets it correct the estimate of later requests. */
  const recordUsage = (context: RequestContext, promptTokens: number, isTruncated: boolean): void => {
    const { model, estimate, facts } = context;
    const inputs = estimate.tokens.length;
    facts['tokens'] = promptTokens;
    metrics.served(model.key, inputs, promptTokens);
    model.activity?.served(inputs, promptTokens);
    deps.activity?.served(inputs, promptTokens);
    if (!isTruncated && estimate.textBytes > 0) model.learn(estimate, promptTokens);
  };

  const obtain = async (
    headers: IncomingHttpHeaders,
    response: ServerResponse,
    context: RequestContext,
  ): Promise<Pick<Cached, 'answer'> & Partial<Cached>> => {
    const key = await cache?.keyFor(headers, context);
    if (cache === undefined || key === undefined) return { answer: await deps.forward(context) };
    const cached = await cache.through(key, context, deps.forward);
    response.setHeader(CACHE, cached.from);
    return cached;
  };

  /** From whoever has the name: an EmbeddingModel may take another's place while a request waits. */
  const obtainByName = async (
    first: RequestContext,
    { headers }: IncomingMessage,
    response: ServerResponse,
    caller: Caller,
  ): Promise<Pick<Cached, 'answer'> & Partial<Cached> & { readonly context: RequestContext }> => {
    for (let context = first; ;) {
      try {
        return { context, ...(await obtain(headers, response, context)) };
      } catch (error) {
        if (!(error instanceof ModelGone)) throw error;
        context = { ...context, ...findModel(headers, exchangeOf(response), context.request, caller) };
      }
    }
  };

  const serve = async (found: RequestContext, request: IncomingMessage, response: ServerResponse, caller: Caller) => {
    const { estimate } = found;
    const charge = caller.charge(estimate.totalTokens);
    for (const [name, value] of charge.headers) response.setHeader(name, value);
    const { context, answer, from = 'miss' } = await obtainByName(found, request, response, caller);
    const end = answer.kind === 'answer' ? endOf(answer.chunks) : await streamAnswer(response, answer);
    const isServed = answer.status === 200;
    const promptTokens = isServed && end !== undefined ? promptTokensOf(end) : undefined;
    if (promptTokens !== undefined) recordUsage(context, promptTokens, answer.headers[TRUNCATED] !== undefined);
    charge.settle(isServed ? (promptTokens ?? estimate.totalTokens) : 0);
    // Last: once it is out, the request's line is written with what is known of it.
    if (answer.kind === 'answer') await sendAnswer(response, answer, from === 'miss');
  };

  return async (request, response, caller) => {
    models.requireSynced();
    const exchange = exchangeOf(response);
    const ms = Math.min(deadlineMsOf(request.headers) ?? deps.requestMs, deps.requestMs);
    const deadline = withDeadline(exchange.signal, ms, LATE);
    const deadlineMs = now() + ms;
    try {
      const body = await bodies.read(request, exchange.held);
      const context = await findContext(request, exchange, { body, signal: deadline.signal, deadlineMs }, caller);
      await serve(context, request, response, caller);
    } finally {
      deadline.clear();
    }
  };
};
