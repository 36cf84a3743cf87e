// Splits a big input array over several endpoints, and joins their answers as if one had given them. Planning and joining first,
// as functions of values: vectors are neither parsed nor printed again.
import { setImmediate } from 'node:timers/promises';
import { printInputs } from '../../common/http/embeddings-parser.ts';
import type { RequestOutline } from '../../common/http/embeddings-parser.ts';
import { IDENTITY, identityIn, POOLING, REVISION, TRUNCATED } from '../../common/http/headers.ts';
import type { Span } from '../../common/obs/tracing.ts';
import { OpenAIError } from '../../common/openai/errors.ts';
import { heavyTurn } from '../../common/util/turns.ts';
import type { Answer, AnswerStream } from '../endpoints/client.ts';
import type { RouterMetrics } from '../metrics.ts';
import type { Forwarded, ForwardWithRetry, RequestContext } from './forward.ts';

// How many shards, and which run of inputs goes in each.

/** Inputs `start` up to, not including, `end`. */
export interface Shard {
  readonly start: number;
  readonly end: number;
  readonly tokens: number;
}

interface Split {
  readonly shards: readonly Shard[];
  /** The endpoint that gets none of them. */
  readonly spare: string | undefined;
}

export interface SplitLimits {
  /** Endpoints that could take a shard now. */
  readonly endpoints: number;
  /** What one endpoint does in the time worth splitting for. */
  readonly targetTokens: number;
}

export const shardCount = (tokens: readonly number[], limits: SplitLimits): number => {
  const total = tokens.reduce((sum, one) => sum + one, 0);
  const wanted = Math.ceil(total / Math.max(1, limits.targetTokens));
  return Math.max(1, Math.min(wanted, limits.endpoints, tokens.length));
};

/**
 * Contiguous shards of about equal tokens, at most `count`, never an empty one. Each boundary is put where the running
 * sum is nearest to its share, so no shard exceeds its share by more than one input.
 */
export const planShards = (tokens: readonly number[], count: number): readonly Shard[] => {
  const total = tokens.reduce((sum, one) => sum + one, 0);
  const shards: Shard[] = [];
  let start = 0;
  let sum = 0;
  let before = 0;
  for (const [at, one] of tokens.entries()) {
    const goal = (total * (shards.length + 1)) / count;
    // Closing before this input is nearer to the goal than closing after it.
    if (at > start && shards.length < count - 1 && sum + one / 2 > goal) {
      shards.push({ start, end: at, tokens: sum - before });
      start = at;
      before = sum;
    }
    sum += one;
  }
  if (start < tokens.length) shards.push({ start, end: tokens.length, tokens: sum - before });
  return shards;
};

// Joining the bytes of their answers.

/** What a runtime writes: `{"object":"list","data":[{"object":"embedding","index":0,"embedding":…},…],"model":…,"usage":…}`. */
const HEAD = Buffer.from('{"object":"list","data":[');
const ITEM = Buffer.from('{"object":"embedding","index":');
const AFTER_INDEX = Buffer.from(',"embedding":');
const TAIL = Buffer.from('],"model":');
const COMMA = Buffer.from(',');

interface Usage {
  readonly prompt_tokens: number;
  readonly total_tokens: number;
}

interface Tail {
  readonly model: string;
  readonly usage: Usage;
}

interface Item {
  readonly object: string;
  readonly index: number;
}

const isTail = (value: unknown): value is Tail =>
  typeof value === 'object' && value !== null && 'model' in value && 'usage' in value;

const readTail = (response: Buffer, at: number): Tail | undefined => {
  try {
    const value: unknown = JSON.parse(`{${response.toString('utf8', at + 2)}`);
    return isTail(value) ? value : undefined;
  } catch {
    return undefined;
  }
};

const holds = (response: Buffer, at: number, bytes: Buffer): boolean =>
  response.subarray(at, at + bytes.length).equals(bytes);

/** Slices of one response's items with their indexes moved by `offset`; nothing when the layout is not the expected one. */
const cutItems = (response: Buffer, end: number, offset: number): readonly Buffer[] | undefined => {
  const pieces: Buffer[] = [];
  let at = HEAD.length;
  for (let index = 0; at < end; index += 1) {
    const digits = Buffer.from(String(index));
    const afterIndex = at + ITEM.length + digits.length;
    const expected =
      holds(response, at, ITEM) &&
      holds(response, at + ITEM.length, digits) &&
      holds(response, afterIndex, AFTER_INDEX);
    if (!expected) return undefined;
    // A vector holds no such bytes: neither numbers nor base64 contain a brace.
    const next = response.indexOf(ITEM, afterIndex);
    const stop = next === -1 || next > end ? end : next;
    // The slice ends with the comma before the next item.
    pieces.push(Buffer.from(`{"object":"embedding","index":${index + offset}`), response.subarray(afterIndex, stop));
    at = stop;
  }
  return pieces;
};

interface Part {
  readonly items: readonly Buffer[];
  readonly tail: Tail;
}

const cut = (response: Buffer, offset: number): Part | undefined => {
  if (response.indexOf(HEAD) !== 0) return undefined;
  const end = response.lastIndexOf(TAIL);
  const tail = end === -1 ? undefined : readTail(response, end);
  const items = tail === undefined ? undefined : cutItems(response, end, offset);
  return tail !== undefined && items !== undefined ? { items, tail } : undefined;
};

/** The slow way, for a response that is right but laid out otherwise. */
const reprint = (response: Buffer, offset: number): Part => {
  const whole = JSON.parse(response.toString('utf8')) as Tail & { readonly data: readonly Item[] };
  const items = whole.data.map((item) => ({ ...item, index: item.index + offset }));
  return { items: [Buffer.from(JSON.stringify(items).slice(1, -1))], tail: whole };
};

const joinItems = (parts: readonly Part[]): readonly Buffer[] =>
  parts.flatMap(({ items }, at) => (at === 0 ? items : [COMMA, ...items]));

export interface ShardResponse {
  readonly body: Buffer;
  /** Index of the shard's first input in the whole request. */
  readonly offset: number;
}

/** Chunks of the merged response, in order. Throws when a shard's body is not an embedding response at all. */
export const mergeResponses = (shards: readonly ShardResponse[]): readonly Buffer[] => {
  const parts = shards.map(({ body, offset }) => cut(body, offset) ?? reprint(body, offset));
  const sum = (of: (usage: Usage) => number): number => parts.reduce((total, { tail }) => total + of(tail.usage), 0);
  const tail: Tail = {
    model: parts[0]?.tail.model ?? '',
    usage: { prompt_tokens: sum((usage) => usage.prompt_tokens), total_tokens: sum((usage) => usage.total_tokens) },
  };
  return [HEAD, ...joinItems(parts), Buffer.from(`],${JSON.stringify(tail).slice(1)}`)];
};

// Forwarding

const shardBody = async (request: RequestOutline, shard: Shard): Promise<Buffer> => {
  const { model, inputs, encoding, dimensions, truncate, promptName: prompt_name, inputType: input_type } = request;
  const fields = { model, encoding_format: encoding, dimensions, truncate, prompt_name, input_type };
  const head = JSON.stringify(fields).slice(0, -1);
  const pieces: Buffer[] = [Buffer.from(`${head},"input":[`)];
  await printInputs(inputs.slice(shard.start, shard.end), (piece) =>
    pieces.push(typeof piece === 'string' ? Buffer.from(piece) : piece),
  );
  return Buffer.concat([...pieces, Buffer.from(']}')]);
};

const sumOf = (answers: readonly Answer[], header: string): number =>
  answers.reduce((sum, { headers }) => sum + Number(headers[header] ?? 0), 0);

const merge = (answers: readonly Answer[], shards: readonly Shard[]): Answer => {
  const bodies = answers.map(({ chunks }, at) => ({ body: Buffer.concat(chunks), offset: shards[at]?.start ?? 0 }));
  const truncated = sumOf(answers, TRUNCATED);
  const headers = {
    'content-type': 'application/json; charset=utf-8',
    [REVISION]: answers[0]?.headers[REVISION],
    [POOLING]: answers[0]?.headers[POOLING],
    [IDENTITY]: answers[0]?.headers[IDENTITY],
    [TRUNCATED]: truncated > 0 ? String(truncated) : undefined,
  };
  return { kind: 'answer', status: 200, headers, chunks: mergeResponses(bodies), headAtMs: undefined };
};

/** Replicas failed over it. */
export const isSuspicion = (error: unknown): boolean =>
  error instanceof OpenAIError && error.kind === 'replicas_failed';

/** Undefined: the whole request would be refused, too, or the shards disagree. It is to be sent whole. */
const conclude = (
  settled: readonly PromiseSettledResult<Forwarded>[],
  shards: readonly Shard[],
): Answer | undefined => {
  // Shards are gathered, however large they are.
  const done = settled.flatMap((one) =>
    one.status === 'fulfilled' && one.value.answer.kind === 'answer' ? [one.value.answer] : [],
  );
  // Sent whole it would be what it was in parts.
  const suspect = settled.find((one) => one.status === 'rejected' && isSuspicion(one.reason));
  if (suspect?.status === 'rejected') throw suspect.reason;
  const refused = done.find(({ status }) => status !== 200);
  // For want of room: so is the request.
  if (refused) return refused.status === 429 ? refused : undefined;
  const lost = settled.find((one) => one.status === 'rejected');
  if (lost) throw lost.reason;
  // In the middle of a rolling change each replica answers rightly, and together they do not.
  const identities = new Set(done.map(({ headers }) => identityIn(headers)));
  return identities.size > 1 ? undefined : merge(done, shards);
};

/** The span lasts as long as the work, and fails with it. */
const during = async <T>(span: Span | undefined, work: Promise<T>): Promise<T> => {
  try {
    const result = await work;
    span?.end();
    return result;
  } catch (error) {
    span?.end({ error: error instanceof Error ? error.name : 'failed' });
    throw error;
  }
};

export interface ForwarderDeps {
  readonly forwardWithRetry: ForwardWithRetry;
  readonly metrics: Pick<RouterMetrics, 'split' | 'upstream' | 'queued'>;
  /** An input array worth more than this of one endpoint's time is split; 0: never. */
  readonly splitMs: number;
}

/** Tokens per second, until endpoints say what they can do. */
const UNKNOWN_CAPACITY = 20_000;
/** What takes longer than this is bulk, where nothing is split. */
const BULK_MS = 100;
/** So is what has a larger answer: it takes long to print, to pass on and to send, however soon its vectors are made. */
const BULK_BYTES = 256 * 1024;
/** Of a number as text; as base64 it has 5.3. */
const FLOAT_BYTES = 12;
const BASE64_BYTES = 16 / 3;
/** Where nothing is known yet. */
const USUAL_DIMENSIONS = 384;
/** Answers up to this size are gathered whole, so that a runtime dying in the middle of one is no error. */
const GATHER_BYTES = 4 * 1024 * 1024;

export type Forward = (context: RequestContext) => Promise<Answer | AnswerStream>;

/** The answer to a whole request: counts its demand, and splits it where that pays. */
export const createForward = ({ forwardWithRetry, metrics, splitMs }: ForwarderDeps): Forward => {
  const targetTokens = ({ model }: RequestContext): number =>
    ((model.balancer.capacity() ?? UNKNOWN_CAPACITY) * (splitMs || BULK_MS)) / 1000;

  const answerBytes = ({ model, request }: RequestContext): number => {
    const { encoding, inputs, dimensions = model.served.embedding?.dimensions ?? USUAL_DIMENSIONS } = request;
    return inputs.length * dimensions * (encoding === 'float' ? FLOAT_BYTES : BASE64_BYTES);
  };

  const plan = (context: RequestContext): Split | undefined => {
    const { tokens } = context.estimate;
    if (splitMs === 0 || tokens.length < 2) return undefined;
    const { balancer } = context.model;
    const spare = balancer.spare();
    const endpoints = balancer.healthy() - (spare === undefined ? 0 : 1);
    const count = shardCount(tokens, { endpoints, targetTokens: targetTokens(context) });
    const shards = count > 1 ? planShards(tokens, count) : [];
    return shards.length > 1 ? { shards, spare } : undefined;
  };

  const whole = async (context: RequestContext): Promise<Answer | AnswerStream> => {
    const { model, facts, body, signal, span, held } = context;
    const tokens = context.estimate.totalTokens;
    const isBulk = tokens > targetTokens(context) || answerBytes(context) > BULK_BYTES;
    const priority = isBulk ? 'bulk' : context.priority;
    const request = {
      body,
      tokens,
      priority,
      gatherBytes: GATHER_BYTES,
      held,
      isShard: false,
      spare: undefined,
      signal,
      span,
    };
    const { answer, endpoint, attempts, queuedMs, upstreamMs } = await forwardWithRetry(context, request);
    Object.assign(facts, { endpoint, attempts, upstreamMs: Math.round(upstreamMs * 10) / 10 });
    if (queuedMs > 0) facts['queuedMs'] = Math.round(queuedMs);
    metrics.upstream(model.key, upstreamMs);
    if (queuedMs > 0) metrics.queued(model.key, queuedMs);
    return answer;
  };

  const sharded = async (context: RequestContext, { shards, spare }: Split): Promise<Answer | undefined> => {
    const { model, request, facts, held } = context;
    metrics.split(model.key, shards.length);
    facts['shards'] = shards.length;
    // Every shard ends with the request, or as soon as another shard has decided its fate.
    const decided = new AbortController();
    const signal = AbortSignal.any([context.signal, decided.signal]);
    const send = async (shard: Shard): Promise<Forwarded> => {
      const { start, end, tokens } = shard;
      const span = context.span?.child('shard', {
        attributes: { 'kubembed.first_input': start, 'kubembed.inputs': end - start },
      });
      const body = await shardBody(request, shard);
      held.grow(body.byteLength);
      const part = {
        body,
        tokens,
        priority: 'bulk',
        gatherBytes: Infinity,
        held,
        isShard: true,
        spare,
        signal,
        span,
      } as const;
      const forwarded = await during(span, forwardWithRetry(context, part)).catch((error: unknown) => {
        if (isSuspicion(error)) decided.abort();
        throw error;
      });
      metrics.upstream(model.key, forwarded.upstreamMs);
      if (forwarded.answer.status !== 200) decided.abort();
      return forwarded;
    };
    const running: Promise<Forwarded>[] = [];
    await heavyTurn();
    try {
      for (const shard of shards) {
        const sent = send(shard);
        // Looked at below, with the others; until then its failure must not pass for one that nobody handles.
        sent.catch(() => undefined);
        running.push(sent);
        // Printing a shard takes milliseconds: others get their turn in between.
        await setImmediate();
      }
      return conclude(await Promise.allSettled(running), shards);
    } finally {
      decided.abort();
    }
  };

  return async (context) => {
    const { demand } = context.model;
    const { totalTokens } = context.estimate;
    demand.offer(totalTokens);
    try {
      const split = plan(context);
      const merged = split && (await sharded(context, split));
      return merged ?? (await whole(context));
    } finally {
      demand.complete(totalTokens);
    }
  };
};
