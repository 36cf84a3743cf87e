// The response cache with singleflight: requests that were answered before, or are being answered now, are not computed again.
// Exact matches only.
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { LRUCache } from 'lru-cache';
import { printInputs } from '../../common/http/embeddings-parser.ts';
import { identityIn, REVISION } from '../../common/http/headers.ts';
import type { Answer, AnswerStream } from '../endpoints/client.ts';
import type { CacheResult, RouterMetrics } from '../metrics.ts';
import { promptOfName } from '../routing/table.ts';
import { abortError, refusalOf } from './forward.ts';
import type { RequestContext } from './forward.ts';
import { isSuspicion } from './shard.ts';
import type { Forward } from './shard.ts';

export interface Cached {
  readonly answer: Answer | AnswerStream;
  readonly from: CacheResult;
}

export interface ResponseCache {
  /** Under which the answer is kept; undefined when the model or the request does not use the cache. */
  readonly keyFor: (headers: IncomingHttpHeaders, context: RequestContext) => Promise<string | undefined>;
  /** The answer, and where it is from. */
  readonly through: (key: string, context: RequestContext, forward: Forward) => Promise<Cached>;
}

export interface ResponseCacheOptions {
  /** Served names that use it; `*` for all. */
  readonly models: readonly string[];
  readonly maxBytes: number;
  readonly metrics: Pick<RouterMetrics, 'cache'>;
}

/** One answer may take at most this part of the cache. */
const SHARE = 16;

const bytesOf = ({ chunks }: Answer): number => chunks.reduce((sum, { byteLength }) => sum + byteLength, 1);

/** All that the request asks for; undefined while the revision is not known. What the vectors are, the runtime says: see `isCurrent`. */
const keyOf = async ({ model: { key, served }, request }: RequestContext): Promise<string | undefined> => {
  if (served.revision === undefined) return undefined;
  const { inputs, encoding, dimensions, truncate, promptName, inputType } = request;
  const prompt = promptOfName(served, request.model);
  const facts = [key, encoding, dimensions, truncate, promptName, inputType, prompt].map((fact) => fact ?? null);
  const hash = createHash('sha256').update(JSON.stringify(facts));
  await printInputs(inputs, (piece) => hash.update(piece));
  return hash.digest('base64');
};

const refuses = (headers: IncomingHttpHeaders): boolean => /\bno-(store|cache)\b/i.test(headers['cache-control'] ?? '');

/** What a request leaves to those that wait for it. */
type Flight =
  | { readonly kind: 'kept'; readonly answer: Answer }
  /** Its answer may not be kept: everybody needs one of their own. */
  | { readonly kind: 'unkept' }
  /** Replicas failed over it, and would fail over the same request again. */
  | { readonly kind: 'suspect'; readonly error: unknown }
  /** Its own client left, or its own time ran out: that says nothing of the answer. */
  | { readonly kind: 'abandoned' };

const within = async <T>(work: Promise<T>, signal: AbortSignal): Promise<T> => {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(abortError(signal));
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
};

/**
 * Whether an answer is what any endpoint would give now: all of them make the same vectors, as their own answers say, and of the
 * revision on record. In the middle of a rolling change none is.
 */
const isCurrent = ({ headers }: Answer, { served, balancer }: RequestContext['model']): boolean =>
  headers[REVISION] === served.revision && identityIn(headers) === balancer.identity();

export const createResponseCache = ({ models, maxBytes, metrics }: ResponseCacheOptions): ResponseCache => {
  const stored = new LRUCache<string, Answer>({
    maxSize: maxBytes,
    maxEntrySize: Math.ceil(maxBytes / SHARE),
    sizeCalculation: bytesOf,
  });
  const flights = new Map<string, Promise<Flight>>();

  const isUsedBy = ({ model: { served } }: RequestContext): boolean =>
    models.includes('*') || served.names.some((name) => models.includes(name));

  const mayKeep = (answer: Answer | AnswerStream, { model }: RequestContext): answer is Answer =>
    answer.kind === 'answer' && answer.status === 200 && isCurrent(answer, model);

  const lead = async (key: string, context: RequestContext, forward: Forward): Promise<Answer | AnswerStream> => {
    const { promise, resolve } = Promise.withResolvers<Flight>();
    flights.set(key, promise);
    let flight: Flight = { kind: 'unkept' };
    try {
      const answer = await forward(context);
      if (mayKeep(answer, context)) {
        stored.set(key, answer);
        flight = { kind: 'kept', answer };
      }
      return answer;
    } catch (error) {
      if (context.signal.aborted) flight = { kind: 'abandoned' };
      else if (isSuspicion(error)) flight = { kind: 'suspect', error };
      throw error;
    } finally {
      flights.delete(key);
      resolve(flight);
    }
  };

  /** Who waits for another one's answer waits, and has a place in the queue. */
  const follow = async (leader: Promise<Flight>, context: RequestContext): Promise<Flight> => {
    const { model, priority, body, signal } = context;
    let leave: (() => void) | undefined;
    try {
      leave = model.queue.follow({ priority, bytes: body.byteLength });
      return await within(leader, signal);
    } catch (error) {
      throw refusalOf(error, context, signal);
    } finally {
      leave?.();
    }
  };

  const lookUp = async (key: string, context: RequestContext, forward: Forward): Promise<Cached> => {
    for (;;) {
      const hit = stored.get(key);
      if (hit !== undefined && isCurrent(hit, context.model)) return { answer: hit, from: 'hit' };
      const leader = flights.get(key);
      if (leader === undefined) return { answer: await lead(key, context, forward), from: 'miss' };
      const flight = await follow(leader, context);
      if (flight.kind === 'suspect') throw flight.error;
      if (flight.kind === 'kept') return { answer: flight.answer, from: 'coalesced' };
      // Side by side: one after another would make the last of many wait for all of them.
      if (flight.kind === 'unkept') return { answer: await forward(context), from: 'miss' };
    }
  };

  return {
    keyFor: async (headers, context) => (isUsedBy(context) && !refuses(headers) ? await keyOf(context) : undefined),
    through: async (key, context, forward) => {
      const found = await lookUp(key, context, forward);
      metrics.cache(context.model.key, found.from);
      return found;
    },
  };
};
