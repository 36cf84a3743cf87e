// `POST /v1/embeddings`: body → model → answer, its bytes untouched unless shards had to be merged.
import type { IncomingHttpHeaders } from 'node:http';
import type { Handler } from '../../common/http/app.ts';
import type { BodyReader } from '../../common/http/body.ts';
import { INLINE_BYTES } from '../../common/http/embedding-parser.ts';
import type { EmbeddingParser } from '../../common/http/embedding-parser.ts';
import type { Exchange, RequestHead } from '../../common/http/exchange.ts';
import { CACHE, DEADLINE_MS, LANE, MODEL, REQUEST_ID } from '../../common/http/headers.ts';
import type { QuickCall } from '../../common/http/quick-lane.ts';
import { failReply, replyOver } from '../../common/http/reply.ts';
import type { Reply } from '../../common/http/reply.ts';
import { passedOnTrace, TRACEPARENT } from '../../common/obs/trace.ts';
import { modelNotFound, OpenAIError } from '../../common/openai/errors.ts';
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
  readonly parser: EmbeddingParser;
  readonly memories: ModelMemories;
  readonly obtain: Obtain;
  readonly metrics: RouterMetrics;
  readonly gate: Gate;
  readonly memo: Memo;
  readonly now: () => number;
  readonly requestMs: number;
}

/** The same service for requests of both lanes. */
export interface EmbeddingsRoute {
  readonly handler: Handler;
  readonly quick: (call: QuickCall, reply: Reply) => void;
}

/** Answers up to this size are gathered whole, so that a runtime dying in the middle of one is no error. */
const GATHER_BYTES = 4 * 1024 * 1024;
/** [CLS] and [SEP]: they are in the usage and not in the text. */
const SPECIAL_TOKENS = 2;

const deadlineOf = (headers: IncomingHttpHeaders, mostMs: number): number => {
  const given = headers[DEADLINE_MS];
  return typeof given === 'string' && /^\d{1,9}$/.test(given) ? Math.min(Number(given), mostMs) : mostMs;
};

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

const isClientGone = (error: unknown): error is OpenAIError =>
  error instanceof OpenAIError && error.kind === 'client_closed_request';

/** A request whose body is there. */
interface Call {
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly reply: Reply;
  readonly cutoff: Cutoff;
}

export const embeddingsRoute = (deps: EmbeddingsDeps): EmbeddingsRoute => {
  const { bodies, parser, memories, metrics, gate, memo, now } = deps;

  const prepare = ({ headers, body, reply, cutoff }: Call, parsed: EmbeddingRequest): Asked => {
    const model = findModel(deps.table(), parsed.model);
    if (model === undefined) throw modelNotFound(parsed.model);
    const measured = measure(parsed.inputs, memories.of(model.key).estimator, model.embedding?.maxTokens);
    const { exchange } = reply;
    const { facts } = exchange;
    facts['model'] = model.key;
    facts['inputs'] = parsed.inputs.length;
    facts['encoding'] = parsed.encoding;
    const job = {
      key: model.key,
      name: parsed.model,
      lane: headers[LANE] === 'bulk' ? ('bulk' as const) : ('interactive' as const),
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
    const { headers, body, reply } = call;
    // The parser moves larger buffers to its thread, and ours is still needed for sending.
    const parsing = parser.parse(body.byteLength > INLINE_BYTES ? Buffer.from(body) : body);
    // What is there at once is not awaited, here and in `dispatch/`: it is work per request.
    const asked = prepare(call, parsing instanceof Promise ? await parsing : parsing);
    const charge = gate.admit(headers, asked.model, asked.measured.total);
    for (const [name, value] of charge.headers) reply.setHeader(name, value);
    const key = memo.keyFor(headers, asked);
    const got = key === undefined ? await deps.obtain(asked) : await remembered(key, asked, reply);
    const passed = got.kind === 'answer' ? readEnd(got) : await streamOn(reply, got);
    const promptTokens = got.status === 200 ? record(asked, passed) : 0;
    charge.correct(promptTokens ?? asked.measured.total);
    // Last: once it is out, the request's line is written with what is known of it.
    if (got.kind === 'answer') await passOn(reply, got);
  };

  const remembered = async (key: string, asked: Asked, reply: Reply): Promise<Obtained> => {
    const { answer: found, from } = await memo.through(key, asked, deps.obtain);
    reply.setHeader(CACHE, from);
    return found;
  };

  const within = async (head: RequestHead, reply: Reply, work: (cutoff: Cutoff) => Promise<void>): Promise<void> => {
    if (!deps.isSynced()) throw notSynced();
    const cutoff = createCutoff(reply.exchange, deadlineOf(head.headers, deps.requestMs), now);
    try {
      await work(cutoff);
    } catch (error) {
      if (!isClientGone(error)) throw error;
      // Nobody is there to read it.
      reply.exchange.error = error;
      reply.destroy();
    } finally {
      cutoff.clear();
    }
  };

  const quick = async (call: QuickCall, reply: Reply): Promise<void> => {
    const { headers, body } = call;
    let isHeld = false;
    try {
      gate.enter(call);
      bodies.hold(call, body);
      isHeld = true;
      await within(call, reply, (cutoff) => answer({ headers, body, reply, cutoff }));
    } catch (error) {
      failReply(reply, error);
    } finally {
      if (isHeld) bodies.release(body);
    }
  };

  return {
    handler: async (request, response) => {
      const { headers } = request;
      const reply = replyOver(response);
      await within(request, reply, (cutoff) =>
        bodies.read(request, (body) => answer({ headers, body, reply, cutoff })),
      );
    },
    quick: (call, reply) => void quick(call, reply),
  };
};
