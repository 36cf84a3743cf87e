// `POST /v1/embeddings`: body → model → answer, its bytes untouched unless shards had to be merged.
import type { IncomingHttpHeaders } from 'node:http';
import type { Request, Response } from 'express';
import type { Handler } from '../../common/http/app.ts';
import type { BodyReader } from '../../common/http/body.ts';
import type { EmbeddingsParser } from '../../common/http/embeddings-parser.ts';
import { exchangeOf } from '../../common/http/exchange.ts';
import type { Exchange } from '../../common/http/exchange.ts';
import { CACHE, MODEL, REQUEST_ID, deadlineMsOf, priorityOf } from '../../common/http/headers.ts';
import { passedOnTrace, TRACEPARENT } from '../../common/obs/tracing.ts';
import { modelNotFound } from '../../common/openai/errors.ts';
import type { EmbeddingRequest } from '../../common/openai/request.ts';
import type { Gate } from '../admission/gate.ts';
import { notSynced } from '../admission/refusals.ts';
import { createCutoff } from '../dispatch/cutoff.ts';
import type { Cutoff } from '../dispatch/cutoff.ts';
import { measure } from '../dispatch/measure.ts';
import type { Memo } from '../dispatch/memo.ts';
import type { ModelMemories } from '../dispatch/models.ts';
import type { Asked, Obtain, Obtained } from '../dispatch/obtain.ts';
import type { RouterMetrics } from '../metrics.ts';
import { learn } from '../routing/estimate.ts';
import { promptTokensOf } from '../routing/merge.ts';
import { findModel } from '../routing/table.ts';
import type { RouteTable, ServedModel } from '../routing/table.ts';
import { passOn, readEnd, streamOn } from './pass-on.ts';
import type { PassedOn } from './pass-on.ts';

export interface EmbeddingsDeps {
  readonly table: () => RouteTable;
  readonly isSynced: () => boolean;
  readonly bodies: BodyReader;
  readonly parser: EmbeddingsParser;
  readonly memories: ModelMemories;
  readonly obtain: Obtain;
  readonly metrics: RouterMetrics;
  readonly gate: Gate;
  readonly memo: Memo;
  readonly now: () => number;
  readonly requestMs: number;
}

/** Answers up to this size are gathered whole, so that a runtime dying in the middle of one is no error. */
const GATHER_BYTES = 4 * 1024 * 1024;
/** [CLS] and [SEP]: they are in the usage and not in the text. */
const SPECIAL_TOKENS = 2;

const upstreamHeaders = (from: IncomingHttpHeaders, exchange: Exchange, model: ServedModel): Record<string, string> => {
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    [MODEL]: model.model,
    [REQUEST_ID]: exchange.id,
  };
  // Where this process makes spans, each attempt names its own as the parent.
  if (exchange.span === undefined && from[TRACEPARENT] !== undefined) Object.assign(headers, passedOnTrace(from));
  return headers;
};

/** A request whose body is there. */
interface Call {
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly response: Response;
  readonly cutoff: Cutoff;
}

export const embeddingsRoute = (deps: EmbeddingsDeps): Handler => {
  const { bodies, parser, memories, metrics, gate, memo, now } = deps;

  const prepare = ({ headers, body, response, cutoff }: Call, parsed: EmbeddingRequest): Asked => {
    const model = findModel(deps.table(), parsed.model);
    if (model === undefined) throw modelNotFound(parsed.model);
    const measured = measure(parsed.inputs, memories.of(model.key).estimator, model.embedding?.maxTokens);
    const exchange = exchangeOf(response);
    const { facts } = exchange;
    facts['model'] = model.key;
    facts['inputs'] = parsed.inputs.length;
    facts['encoding'] = parsed.encoding;
    const job = {
      key: model.key,
      name: parsed.model,
      lane: priorityOf(headers),
      tokens: measured.total,
      headers: upstreamHeaders(headers, exchange, model),
      body,
      gatherBytes: GATHER_BYTES,
      isShard: false,
      cutoff,
      span: exchange.span,
    };
    return { model, parsed, measured, job, facts };
  };

  /** Usage corrects the estimate of later requests. */
  const record = ({ model, measured, facts }: Asked, { last, truncated }: PassedOn): number | undefined => {
    const promptTokens = last && promptTokensOf(last);
    if (promptTokens === undefined) return undefined;
    const inputs = measured.tokens.length;
    facts['tokens'] = promptTokens;
    metrics.served(model.key, { inputs, tokens: promptTokens });
    const memory = memories.known(model.key);
    if (memory && !truncated && measured.textBytes > 0) {
      memory.estimator = learn(memory.estimator, measured.textBytes, promptTokens - SPECIAL_TOKENS * inputs);
    }
    return promptTokens;
  };

  const answer = async (call: Call): Promise<void> => {
    const { headers, body, response } = call;
    const asked = prepare(call, await parser.parse(body));
    const charge = gate.admit(headers, asked.model, asked.measured.total);
    for (const [name, value] of charge.headers) response.setHeader(name, value);
    const key = memo.keyFor(headers, asked);
    const got = key === undefined ? await deps.obtain(asked) : await remembered(key, asked, response);
    const passed = got.kind === 'answer' ? readEnd(got) : await streamOn(response, got);
    const promptTokens = got.status === 200 ? record(asked, passed) : 0;
    charge.correct(promptTokens ?? asked.measured.total);
    // Last: once it is out, the request's line is written with what is known of it.
    if (got.kind === 'answer') await passOn(response, got);
  };

  const remembered = async (key: string, asked: Asked, response: Response): Promise<Obtained> => {
    const { answer: found, from } = await memo.through(key, asked, deps.obtain);
    response.setHeader(CACHE, from);
    return found;
  };

  return async (request: Request, response: Response) => {
    if (!deps.isSynced()) throw notSynced();
    const { headers } = request;
    const ms = Math.min(deadlineMsOf(headers) ?? Infinity, deps.requestMs);
    const cutoff = createCutoff(exchangeOf(response), ms, now);
    try {
      await bodies.read(request, (body) => answer({ headers, body, response, cutoff }));
    } finally {
      cutoff.clear();
    }
  };
};
