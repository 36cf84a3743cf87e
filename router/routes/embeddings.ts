// `POST /v1/embeddings`: body → model → answer, its bytes untouched unless shards had to be merged.
import type { Request, Response } from 'express';
import type { Handler } from '../../common/http/app.ts';
import type { BodyReader } from '../../common/http/body.ts';
import type { EmbeddingParser } from '../../common/http/embedding-parser.ts';
import { exchangeOf } from '../../common/http/exchange.ts';
import type { Exchange } from '../../common/http/exchange.ts';
import { DEADLINE_MS, LANE, MODEL, REQUEST_ID } from '../../common/http/headers.ts';
import { modelNotFound, OpenAIError } from '../../common/openai/errors.ts';
import type { Gate } from '../admission/gate.ts';
import { notSynced } from '../admission/refusals.ts';
import { createCutoff } from '../dispatch/cutoff.ts';
import type { Cutoff } from '../dispatch/cutoff.ts';
import { measure } from '../dispatch/measure.ts';
import type { Memo } from '../dispatch/memo.ts';
import type { ModelMemories } from '../dispatch/models.ts';
import type { Asked, Obtain } from '../dispatch/obtain.ts';
import type { RouterMetrics } from '../metrics.ts';
import { learn } from '../routing/estimate.ts';
import { promptTokensOf } from '../routing/merge.ts';
import { findModel } from '../routing/table.ts';
import type { RouteTable, ServedModel } from '../routing/table.ts';
import { passOn } from './pass-on.ts';
import type { PassedOn } from './pass-on.ts';

export interface EmbeddingsDeps {
  readonly table: () => RouteTable;
  readonly isSynced: () => boolean;
  readonly bodies: BodyReader;
  readonly parser: EmbeddingParser;
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
/** The parser moves larger buffers to its thread, and ours is still needed for sending. */
const MOVED_BYTES = 256 * 1024;
/** [CLS] and [SEP]: they are in the usage and not in the text. */
const SPECIAL_TOKENS = 2;
const TRACE_HEADERS = ['traceparent', 'tracestate'] as const;

const deadlineOf = (request: Request, mostMs: number): number => {
  const given = request.headers[DEADLINE_MS];
  return typeof given === 'string' && /^\d{1,9}$/.test(given) ? Math.min(Number(given), mostMs) : mostMs;
};

const upstreamHeaders = (request: Request, exchange: Exchange, model: ServedModel): Record<string, string> => {
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    [MODEL]: model.model,
    [REQUEST_ID]: exchange.id,
  };
  for (const name of TRACE_HEADERS) {
    const value = request.headers[name];
    if (typeof value === 'string') headers[name] = value;
  }
  return headers;
};

const isClientGone = (error: unknown): error is OpenAIError =>
  error instanceof OpenAIError && error.kind === 'client_closed_request';

export const embeddingsHandler = (deps: EmbeddingsDeps): Handler => {
  const { bodies, parser, memories, metrics, gate, memo, now } = deps;

  const prepare = async (request: Request, exchange: Exchange, body: Buffer, cutoff: Cutoff): Promise<Asked> => {
    const parsed = await parser.parse(body.byteLength > MOVED_BYTES ? Buffer.from(body) : body);
    const model = findModel(deps.table(), parsed.model);
    if (model === undefined) throw modelNotFound(parsed.model);
    const measured = measure(parsed.inputs, memories.of(model.key).estimator, model.embedding?.maxTokens);
    const { facts } = exchange;
    Object.assign(facts, { model: model.key, inputs: parsed.inputs.length, encoding: parsed.encoding });
    const job = {
      key: model.key,
      name: parsed.model,
      lane: request.headers[LANE] === 'bulk' ? ('bulk' as const) : ('interactive' as const),
      tokens: measured.total,
      headers: upstreamHeaders(request, exchange, model),
      body,
      gatherBytes: GATHER_BYTES,
      isShard: false,
      cutoff,
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

  const serve = async (request: Request, response: Response, asked: Asked): Promise<void> => {
    const exchange = exchangeOf(response);
    const charge = gate.admit(response, asked.model, asked.measured.total);
    const { answer, from } = await memo.through(request, asked, deps.obtain);
    memo.mark(response, from);
    const passed = await passOn(response, answer, exchange);
    const promptTokens = answer.status === 200 ? record(asked, passed) : 0;
    charge.correct(promptTokens ?? asked.measured.total);
  };

  return async (request, response) => {
    if (!deps.isSynced()) throw notSynced();
    const exchange = exchangeOf(response);
    const cutoff = createCutoff(exchange.gone, deadlineOf(request, deps.requestMs), now);
    try {
      await bodies.read(request, async (body) => {
        await serve(request, response, await prepare(request, exchange, body, cutoff));
      });
    } catch (error) {
      if (!isClientGone(error)) throw error;
      // Nobody is there to read it.
      exchange.error = error;
      response.destroy();
    } finally {
      cutoff.clear();
    }
  };
};
