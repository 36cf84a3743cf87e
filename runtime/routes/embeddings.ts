// `POST /v1/embeddings`: body → request → engine → bytes, with the headers that the router steers by.
import type { Request, Response } from 'express';
import type { Handler } from '../../common/http/app.ts';
import type { BodyReader } from '../../common/http/body.ts';
import type { EmbeddingParser } from '../../common/http/embedding-parser.ts';
import type { Exchange, RequestHead } from '../../common/http/exchange.ts';
import { BACKLOG, CAPACITY, DEADLINE_MS, LANE, MODEL, REVISION, TRUNCATED } from '../../common/http/headers.ts';
import type { QuickCall } from '../../common/http/quick-lane.ts';
import { failReply, replyOver } from '../../common/http/reply.ts';
import type { Reply } from '../../common/http/reply.ts';
import { OpenAIError, clip, modelNotFound } from '../../common/openai/errors.ts';
import type { EmbeddingRequest } from '../../common/openai/request.ts';
import { embeddingBody } from '../../common/openai/response.ts';
import type { RuntimeMetrics } from '../app-metrics.ts';
import type { EmbedRequest, EmbedResult, Stage } from '../engine/types.ts';
import type { Lifecycle, Serving } from '../lifecycle.ts';
import { fromEngine } from './engine-failure.ts';

export interface EmbeddingsDeps {
  readonly model: string;
  readonly overlongInput: 'truncate' | 'error';
  readonly lifecycle: Lifecycle;
  readonly bodies: BodyReader;
  readonly parser: EmbeddingParser;
  readonly metrics: RuntimeMetrics;
}

export interface EmbeddingsRoute {
  readonly handler: Handler;
  /** The same for what came by the quick lane. */
  readonly quick: (call: QuickCall, reply: Reply) => void;
}

type Parse = () => Promise<EmbeddingRequest>;

export function embeddingsRoute(deps: EmbeddingsDeps): EmbeddingsRoute {
  const { lifecycle, bodies, parser, metrics, model } = deps;

  async function answer(head: RequestHead, reply: Reply, parse: Parse): Promise<void> {
    const { exchange } = reply;
    exchange.facts['model'] = model;
    const deadline = startDeadline(head, exchange);
    try {
      const routed = requireOwnModel(head, model);
      lifecycle.requireServing();
      const parsed = await parse();
      if (!routed && parsed.model !== model) throw modelNotFound(parsed.model);
      const serving = lifecycle.requireServing();
      requireDimensions(parsed, serving);
      const result = await embed(serving, toEngine(deps, head, parsed, exchange), exchange);
      record(exchange, parsed, result);
      traceStages(exchange, result, parsed.dimensions ?? serving.engine.info.dimensions);
      metrics.embedded(parsed.inputs, result);
      for (const [name, value] of resultHeaders(serving, result)) reply.setHeader(name, value);
      reply.setHeader('content-type', 'application/json; charset=utf-8');
      await reply.send(200, embeddingBody({ model, ...result }));
    } finally {
      clearTimeout(deadline);
    }
  }

  async function parseHeld({ headers, body }: QuickCall): Promise<EmbeddingRequest> {
    bodies.hold({ headers }, body);
    try {
      return await parser.parse(body);
    } finally {
      bodies.release(body);
    }
  }

  return {
    handler: (request: Request, response: Response) =>
      answer(request, replyOver(response), () => bodies.read(request, (body) => parser.parse(body))),
    quick: (call, reply) => {
      answer(call, reply, () => parseHeld(call)).catch((error: unknown) => failReply(reply, error));
    },
  };
}

async function embed({ engine }: Serving, request: EmbedRequest, exchange: Exchange): Promise<EmbedResult> {
  try {
    return await engine.embed(request);
  } catch (error) {
    // A deadline says more than the engine's "aborted".
    if (exchange.gone.reason instanceof OpenAIError) throw exchange.gone.reason;
    throw fromEngine(error, () => engine.stats());
  }
}

/** True when a router named the model: then the body may hold any alias. */
function requireOwnModel(request: RequestHead, model: string): boolean {
  const named = request.headers[MODEL];
  if (named === undefined) return false;
  if (named === model) return true;
  throw new OpenAIError('misdirected_request', `This runtime serves \`${model}\`, not \`${clip(String(named))}\`.`);
}

function startDeadline(request: RequestHead, exchange: Exchange): NodeJS.Timeout | undefined {
  const given = request.headers[DEADLINE_MS];
  if (typeof given !== 'string' || !/^\d{1,9}$/.test(given)) return undefined;
  const passed = new OpenAIError(
    'deadline_exceeded',
    'The deadline of the request passed before its vectors were made.',
  );
  return setTimeout(() => exchange.abort(passed), Number(given));
}

function requireDimensions({ dimensions }: EmbeddingRequest, { engine }: Serving): void {
  if (dimensions === undefined || dimensions <= engine.info.dimensions) return;
  const message = `Invalid 'dimensions': this model's vectors have ${engine.info.dimensions} numbers, ${dimensions} were asked for.`;
  throw new OpenAIError('invalid_request', message, { param: 'dimensions' });
}

function toEngine(
  deps: EmbeddingsDeps,
  request: RequestHead,
  parsed: EmbeddingRequest,
  exchange: Exchange,
): EmbedRequest {
  const { inputs, encoding, dimensions, truncate } = parsed;
  return {
    inputs,
    encoding,
    ...(dimensions === undefined ? {} : { dimensions }),
    overlongInput: truncate === undefined ? deps.overlongInput : truncate ? 'truncate' : 'error',
    lane: request.headers[LANE] === 'bulk' ? 'bulk' : 'interactive',
    onGone: (listener) => exchange.onGone(listener),
  };
}

function resultHeaders({ engine, revision }: Serving, { truncatedInputs }: EmbedResult): [string, string][] {
  const { capacityTokensPerSecond, queuedTokens, runningTokens } = engine.stats();
  return [
    [CAPACITY, String(Math.round(capacityTokensPerSecond))],
    [BACKLOG, String(queuedTokens + runningTokens)],
    [REVISION, revision],
    ...(truncatedInputs === 0 ? [] : [[TRUNCATED, String(truncatedInputs)] as [string, string]]),
  ];
}

const STAGES: readonly Stage[] = ['tokenize', 'queue', 'infer', 'serialize'];

/** The stages were timed where they ran; as spans they are told afterwards. */
function traceStages({ span }: Exchange, { spans }: EmbedResult, dimensions: number): void {
  span?.set({ 'gen_ai.embeddings.dimension.count': dimensions });
  for (const stage of span === undefined ? [] : STAGES) {
    const { startMs, endMs } = spans[stage];
    span?.child(stage, { startMs }).end({ endMs });
  }
}

function record({ facts }: Exchange, { inputs, encoding }: EmbeddingRequest, result: EmbedResult): void {
  const round = (milliseconds: number) => Math.round(milliseconds * 10) / 10;
  const { queueMs, tokenizeMs, inferMs, serializeMs } = result.stages;
  Object.assign(facts, {
    inputs: inputs.length,
    encoding,
    tokens: result.promptTokens,
    ...(result.truncatedInputs === 0 ? {} : { truncated: result.truncatedInputs }),
    queueMs: round(queueMs),
    tokenizeMs: round(tokenizeMs),
    inferMs: round(inferMs),
    serializeMs: round(serializeMs),
  });
}
