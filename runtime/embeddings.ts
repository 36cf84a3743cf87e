// `POST /v1/embeddings`: body → request → engine → bytes, with the headers that the router steers by.
import type { Request, Response } from 'express';
import type { Handler } from '../common/http/app.ts';
import type { BodyReader } from '../common/http/body.ts';
import type { EmbeddingsParser } from '../common/http/embeddings-parser.ts';
import { exchangeOf, withDeadline, sendBytes } from '../common/http/exchange.ts';
import type { Exchange } from '../common/http/exchange.ts';
import { BACKLOG, CAPACITY, MODEL, TRUNCATED, deadlineMsOf, priorityOf } from '../common/http/headers.ts';
import { OpenAIError, modelNotFound } from '../common/openai/errors.ts';
import type { ErrorKind } from '../common/openai/errors.ts';
import { FOREIGN_TOKENS } from '../common/openai/request.ts';
import type { EmbeddingRequest, Truncate } from '../common/openai/request.ts';
import { embeddingBody } from '../common/openai/response.ts';
import { clip } from '../common/util/text.ts';
import { heavyTurn } from '../common/util/turns.ts';
import { EngineError } from './engine/contract.ts';
import type {
  EmbedRequest,
  EmbedResult,
  Embedder,
  EngineErrorCode,
  EngineStats,
  OverlongInput,
  Stage,
} from './engine/contract.ts';
import type { Lifecycle, Serving as ServingBy } from './lifecycle.ts';
import { promptFor } from './model/prompts.ts';
import type { RequestMetrics } from './metrics.ts';

type Serving = ServingBy<Embedder>;

export interface EmbeddingsDeps {
  readonly model: string;
  readonly overlongInput: 'truncate' | 'error';
  readonly lifecycle: Pick<Lifecycle<Embedder>, 'requireServing'>;
  readonly bodies: BodyReader;
  readonly parser: EmbeddingsParser;
  readonly metrics: RequestMetrics;
}

export function embeddingsRoute(deps: EmbeddingsDeps): Handler {
  const { lifecycle, bodies, parser, metrics, model } = deps;

  async function answer(request: Request, response: Response, signal: AbortSignal): Promise<void> {
    const exchange = exchangeOf(response);
    const routed = requireOwnModel(request, model);
    lifecycle.requireServing();
    const parsed = await parser.parse(await bodies.read(request, exchange.held));
    if (!routed && parsed.model !== model) throw modelNotFound(parsed.model);
    const serving = lifecycle.requireServing();
    requireDimensions(parsed, serving);
    const result = await embed(
      serving,
      toEngine(deps, request, { ...parsed, prompt: promptOf(parsed, serving) }, signal),
    );
    record(exchange, parsed, result);
    traceStages(exchange, result, parsed.dimensions ?? serving.engine.info.dimensions);
    metrics.embedded(parsed.inputs, result);
    setResultHeaders(response, serving, result);
    if (parsed.inputs.length > FEW_INPUTS) await heavyTurn();
    await sendBytes(response, 200, embeddingBody({ model, ...result }));
  }

  return async (request, response) => {
    const exchange = exchangeOf(response);
    exchange.facts['model'] = model;
    const ms = deadlineMsOf(request.headers);
    if (ms === undefined) {
      await answer(request, response, exchange.signal);
      return;
    }
    const deadline = withDeadline(exchange.signal, ms, PASSED);
    try {
      await answer(request, response, deadline.signal);
    } finally {
      deadline.clear();
    }
  };
}

/** An answer to more is a heavy step. */
const FEW_INPUTS = 64;

const PASSED = new OpenAIError('deadline_exceeded', 'The deadline of the request passed before its vectors were made.');

async function embed({ engine }: Serving, request: EmbedRequest): Promise<EmbedResult> {
  try {
    return await engine.embed(request);
  } catch (error) {
    // A deadline says more than the engine's "aborted".
    if (request.signal.reason instanceof OpenAIError) throw request.signal.reason;
    throw fromEngine(error, () => engine.stats());
  }
}

/** True when a router named the model: then the body may hold any alias. */
function requireOwnModel({ headers }: Request, model: string): boolean {
  const named = headers[MODEL];
  if (named === undefined) return false;
  if (named === model) return true;
  throw new OpenAIError('misdirected_request', `This runtime serves \`${model}\`, not \`${clip(String(named))}\`.`);
}

function requireDimensions({ dimensions }: EmbeddingRequest, { engine }: Serving): void {
  if (dimensions === undefined || dimensions <= engine.info.dimensions) return;
  const message = `Invalid 'dimensions': this model's vectors have ${engine.info.dimensions} numbers, ${dimensions} were asked for.`;
  throw new OpenAIError('invalid_request', message, { param: 'dimensions' });
}

function promptOf(request: EmbeddingRequest, { prompts, promptsOfNames }: Serving): string {
  const prompt = promptFor(prompts, request, promptsOfNames);
  if (prompt !== undefined) return prompt;
  const known = [...prompts.texts.keys()].join(', ');
  const message = `Invalid 'prompt_name': this model has no prompt \`${clip(request.promptName ?? '')}\`; it has ${known}.`;
  throw new OpenAIError('invalid_request', message, { param: 'prompt_name' });
}

function overlongOf(truncate: Truncate | undefined): OverlongInput | undefined {
  if (truncate === undefined) return undefined;
  return truncate === 'START' ? 'truncate-start' : truncate ? 'truncate' : 'error';
}

function toEngine(
  { overlongInput }: EmbeddingsDeps,
  { headers }: Request,
  { inputs, encoding, dimensions, truncate, prompt }: EmbeddingRequest & { readonly prompt: string },
  signal: AbortSignal,
): EmbedRequest {
  return {
    inputs,
    prompt,
    encoding,
    dimensions,
    overlongInput: overlongOf(truncate) ?? overlongInput,
    priority: priorityOf(headers),
    signal,
  };
}

function setResultHeaders(response: Response, serving: Serving, { truncatedInputs }: EmbedResult): void {
  const { engine, headers } = serving;
  const { capacityTokensPerSecond, queuedTokens, runningTokens } = engine.stats();
  response.setHeader(CAPACITY, Math.round(capacityTokensPerSecond));
  response.setHeader(BACKLOG, queuedTokens + runningTokens);
  for (const [name, value] of headers) response.setHeader(name, value);
  if (truncatedInputs > 0) response.setHeader(TRUNCATED, truncatedInputs);
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
    truncated: result.truncatedInputs === 0 ? undefined : result.truncatedInputs,
    queueMs: round(queueMs),
    tokenizeMs: round(tokenizeMs),
    inferMs: round(inferMs),
    serializeMs: round(serializeMs),
  });
}

// ── What the engine rejects with, as the OpenAI error object ──

const KINDS: Readonly<Record<EngineErrorCode, ErrorKind>> = {
  queue_full: 'rate_limit_exceeded',
  too_large: 'max_tokens_per_request',
  context_length: 'context_length_exceeded',
  token_out_of_range: 'invalid_request',
  empty_input: 'invalid_request',
  aborted: 'client_closed_request',
  worker_failed: 'internal_error',
  not_finite: 'internal_error',
  draining: 'service_unavailable',
};

const ABOUT_INPUT = new Set<EngineErrorCode>(['token_out_of_range', 'empty_input']);
const OWN_FAULTS = new Set<EngineErrorCode>(['worker_failed', 'not_finite']);

// Some clients look for OpenAI's own words.
const WORDS: Readonly<Partial<Record<EngineErrorCode, (error: EngineError) => string>>> = {
  too_large: ({ details: { tokens = 0, maxQueueTokens = 0 } }) =>
    `Requested ${tokens} tokens, max ${maxQueueTokens} tokens per request`,
  context_length: ({ details: { tokens = 0, maxTokens = 0 } }) =>
    `This model's maximum context length is ${maxTokens} tokens, however you requested ${tokens} tokens (${tokens} in your prompt; 0 for the completion). Please reduce your prompt; or completion length.`,
  token_out_of_range: ({ message }) => `${message} ${FOREIGN_TOKENS}`,
  worker_failed: () => 'The process that computed this request failed; try again.',
  not_finite: () => 'The model gave numbers that are not finite for one of the inputs.',
};

/** Anything else is a fault of ours and passes unchanged. */
function fromEngine(thrown: unknown, stats: () => EngineStats): unknown {
  if (!(thrown instanceof EngineError)) return thrown;
  const { code } = thrown;
  return new OpenAIError(KINDS[code], WORDS[code]?.(thrown) ?? thrown.message, {
    param: ABOUT_INPUT.has(code) ? 'input' : undefined,
    retryAfterMs: code === 'queue_full' ? untilRoom(stats()) : code === 'draining' ? 1000 : undefined,
    cause: OWN_FAULTS.has(code) ? thrown : undefined,
  });
}

/** When half of what waits will be done, at the pace measured so far. */
function untilRoom({ queuedTokens, capacityTokensPerSecond }: EngineStats): number {
  if (capacityTokensPerSecond <= 0) return 1000;
  return Math.min(30_000, Math.max(250, (queuedTokens / 2 / capacityTokensPerSecond) * 1000));
}
