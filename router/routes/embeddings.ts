// `POST /v1/embeddings`: body → model → endpoint(s) → the answer's bytes, untouched unless shards had to be merged.
import type { Request, Response } from 'express';
import type { Handler } from '../../common/http/app.ts';
import type { BodyReader } from '../../common/http/body.ts';
import type { EmbeddingParser } from '../../common/http/embedding-parser.ts';
import { exchangeOf } from '../../common/http/exchange.ts';
import type { Exchange } from '../../common/http/exchange.ts';
import { DEADLINE_MS, MODEL, REQUEST_ID } from '../../common/http/headers.ts';
import { writeJsonPieces } from '../../common/http/write.ts';
import { modelNotFound, OpenAIError } from '../../common/openai/errors.ts';
import type { EmbeddingRequest } from '../../common/openai/request.ts';
import type { DemandBook } from '../admission/demand.ts';
import { notSynced } from '../admission/refusals.ts';
import { createCutoff } from '../dispatch/cutoff.ts';
import type { Cutoff } from '../dispatch/cutoff.ts';
import type { Deliver, Job } from '../dispatch/deliver.ts';
import type { ModelMemories } from '../dispatch/models.ts';
import { deliverShards } from '../dispatch/split.ts';
import type { SplitResult } from '../dispatch/split.ts';
import type { RouterMetrics } from '../metrics.ts';
import { learn } from '../routing/estimate.ts';
import { promptTokensOf } from '../routing/merge.ts';
import { planShards, shardCount } from '../routing/split.ts';
import type { Shard } from '../routing/split.ts';
import { findModel } from '../routing/table.ts';
import type { RouteTable, ServedModel } from '../routing/table.ts';
import type { Fleet } from '../upstream/fleet.ts';
import { measure } from './measure.ts';
import type { Measured } from './measure.ts';
import { passOn } from './pass-on.ts';

export interface EmbeddingsDeps {
  readonly table: () => RouteTable;
  readonly isSynced: () => boolean;
  readonly bodies: BodyReader;
  readonly parser: EmbeddingParser;
  readonly memories: ModelMemories;
  readonly fleet: Fleet;
  readonly demand: DemandBook;
  readonly deliver: Deliver;
  readonly metrics: RouterMetrics;
  readonly now: () => number;
  readonly requestMs: number;
  readonly splitMs: number;
}

/** What is known of a request once its body was read. */
interface Incoming {
  readonly response: Response;
  readonly exchange: Exchange;
  readonly model: ServedModel;
  readonly parsed: EmbeddingRequest;
  readonly measured: Measured;
  readonly job: Job;
}

/** Answers up to this size are gathered whole, so that a runtime dying in the middle of one is no error. */
const GATHER_BYTES = 4 * 1024 * 1024;
/** Until endpoints say what they can do. */
const UNKNOWN_CAPACITY = 20_000;
/** The parser moves larger buffers to its thread, and ours is still needed for sending. */
const MOVED_BYTES = 256 * 1024;
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

export const embeddingsHandler = (deps: EmbeddingsDeps): Handler => {
  const { bodies, parser, memories, fleet, demand, deliver, metrics, now } = deps;

  const plan = ({ model, measured }: Incoming): readonly Shard[] => {
    if (deps.splitMs === 0 || measured.tokens.length < 2) return [];
    const capacity = fleet.capacity(model.endpoints) ?? UNKNOWN_CAPACITY;
    const limits = { endpoints: fleet.trusted(model.endpoints), targetTokens: (capacity * deps.splitMs) / 1000 };
    const count = shardCount(measured.tokens, limits);
    return count > 1 ? planShards(measured.tokens, count) : [];
  };

  /** Usage corrects the estimate of later requests. */
  const record = (incoming: Incoming, promptTokens: number | undefined, truncated: boolean): void => {
    const { model, measured, exchange } = incoming;
    if (promptTokens === undefined) return;
    exchange.facts['tokens'] = promptTokens;
    metrics.served(model.key, { inputs: measured.tokens.length, tokens: promptTokens });
    const memory = memories.known(model.key);
    if (memory && !truncated && measured.textBytes > 0) {
      memory.estimator = learn(memory.estimator, measured.textBytes, promptTokens - 2 * measured.tokens.length);
    }
  };

  const whole = async (incoming: Incoming): Promise<void> => {
    const { exchange, model, response } = incoming;
    const delivery = await deliver(incoming.job);
    const { attempts, heldMs, upstreamMs, endpoint, outcome } = delivery;
    Object.assign(exchange.facts, { endpoint, attempts, upstreamMs: Math.round(upstreamMs * 10) / 10 });
    if (heldMs > 0) {
      exchange.facts['heldMs'] = Math.round(heldMs);
      metrics.held(model.key, heldMs);
    }
    metrics.upstream(model.key, upstreamMs);
    const passed = await passOn(response, outcome, exchange);
    if (outcome.status === 200) record(incoming, passed.last && promptTokensOf(passed.last), passed.truncated);
  };

  const split = async (incoming: Incoming, shards: readonly Shard[]): Promise<void> => {
    const { response, exchange, model, parsed, job } = incoming;
    metrics.split(model.key, shards.length);
    const result: SplitResult = await deliverShards(deliver, job, parsed, shards);
    exchange.facts['shards'] = shards.length;
    if (result.kind === 'whole') {
      await whole(incoming);
      return;
    }
    if (result.kind === 'refused') {
      await passOn(response, result.delivery.outcome, exchange);
      return;
    }
    for (const [name, value] of Object.entries(result.headers)) response.setHeader(name, value);
    record(incoming, result.promptTokens, result.truncated);
    await writeJsonPieces(response, result.chunks, exchange.gone);
  };

  const prepare = async (request: Request, response: Response, body: Buffer, cutoff: Cutoff): Promise<Incoming> => {
    const exchange = exchangeOf(response);
    const parsed = await parser.parse(body.byteLength > MOVED_BYTES ? Buffer.from(body) : body);
    const model = findModel(deps.table(), parsed.model);
    if (model === undefined) throw modelNotFound(parsed.model);
    const measured = measure(parsed.inputs, memories.of(model.key).estimator, model.embedding?.maxTokens);
    Object.assign(exchange.facts, { model: model.key, inputs: parsed.inputs.length, encoding: parsed.encoding });
    const job: Job = {
      key: model.key,
      name: parsed.model,
      tokens: measured.total,
      headers: upstreamHeaders(request, exchange, model),
      body,
      gatherBytes: GATHER_BYTES,
      isShard: false,
      cutoff,
    };
    return { response, exchange, model, parsed, measured, job };
  };

  const serve = async (incoming: Incoming): Promise<void> => {
    const { model, measured } = incoming;
    demand.offer(model.key, measured.total);
    try {
      const shards = plan(incoming);
      await (shards.length > 1 ? split(incoming, shards) : whole(incoming));
    } finally {
      demand.complete(model.key, measured.total);
    }
  };

  return async (request, response) => {
    if (!deps.isSynced()) throw notSynced();
    const cutoff = createCutoff(exchangeOf(response).gone, deadlineOf(request, deps.requestMs), now);
    try {
      await bodies.read(request, async (body) => {
        await serve(await prepare(request, response, body, cutoff));
      });
    } catch (error) {
      // Nobody is there to read it.
      if (!(error instanceof OpenAIError && error.kind === 'client_closed_request')) throw error;
      exchangeOf(response).error = error;
      response.destroy();
    } finally {
      cutoff.clear();
    }
  };
};
