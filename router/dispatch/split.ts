// Delivers a big input array in shards to several endpoints at once and merges their answers as if one had given them.
import { setImmediate } from 'node:timers/promises';
import { REVISION, TRUNCATED } from '../../common/http/headers.ts';
import type { EmbeddingRequest } from '../../common/openai/request.ts';
import { mergeResponses } from '../routing/merge.ts';
import type { Shard } from '../routing/split.ts';
import type { Answer } from '../upstream/attempt.ts';
import { cutoffWithin } from './cutoff.ts';
import type { Deliver } from './deliver.ts';
import type { Delivery, Job } from './job.ts';
import { during, shardSpan } from './spans.ts';

export interface Merged {
  readonly kind: 'merged';
  readonly answer: Answer;
}

/** A shard was refused in a way that the whole request would be too (or the shards disagree): send it whole. */
export interface Whole {
  readonly kind: 'whole';
}

/** A shard was refused for want of room: so is the request. */
export interface Refused {
  readonly kind: 'refused';
  readonly delivery: Delivery;
}

export type SplitResult = Merged | Whole | Refused;

const shardBody = (request: EmbeddingRequest, { start, end }: Shard): Buffer => {
  const { model, inputs, encoding, dimensions, truncate } = request;
  return Buffer.from(
    JSON.stringify({ model, input: inputs.slice(start, end), encoding_format: encoding, dimensions, truncate }),
  );
};

const sumOf = (deliveries: readonly Delivery[], header: string): number =>
  deliveries.reduce((sum, { outcome }) => sum + Number(outcome.headers[header] ?? 0), 0);

const merge = (deliveries: readonly Delivery[], shards: readonly Shard[]): Merged => {
  const bodies = deliveries.map(({ outcome }, at) => ({
    body: outcome.kind === 'answer' ? Buffer.concat(outcome.chunks) : Buffer.alloc(0),
    offset: shards[at]?.start ?? 0,
  }));
  const truncated = sumOf(deliveries, TRUNCATED);
  const headers = {
    'content-type': 'application/json; charset=utf-8',
    [REVISION]: deliveries[0]?.outcome.headers[REVISION],
    [TRUNCATED]: truncated > 0 ? String(truncated) : undefined,
  };
  return { kind: 'merged', answer: { kind: 'answer', status: 200, headers, chunks: mergeResponses(bodies) } };
};

const revisions = (deliveries: readonly Delivery[]): number =>
  new Set(deliveries.map(({ outcome }) => outcome.headers[REVISION])).size;

export const deliverShards = async (
  deliver: Deliver,
  job: Job,
  request: EmbeddingRequest,
  shards: readonly Shard[],
): Promise<SplitResult> => {
  // Every shard ends with the request, or as soon as another shard has decided its fate.
  const { cutoff, stop } = cutoffWithin(job.cutoff);
  const send = async (shard: Shard): Promise<Delivery> => {
    const span = shardSpan(job, shard);
    const delivering = deliver({
      ...job,
      span,
      cutoff,
      tokens: shard.tokens,
      lane: 'bulk',
      body: shardBody(request, shard),
      gatherBytes: Infinity,
      isShard: true,
    });
    const delivery = await during(span, delivering);
    if (delivery.outcome.status !== 200) stop();
    return delivery;
  };
  const running: Promise<Delivery>[] = [];
  try {
    for (const shard of shards) {
      running.push(send(shard));
      // Printing a shard takes milliseconds: others get their turn in between.
      await setImmediate();
    }
    const settled = await Promise.allSettled(running);
    return conclude(settled, shards);
  } catch (error) {
    stop();
    throw error;
  } finally {
    cutoff.clear();
  }
};

const conclude = (settled: readonly PromiseSettledResult<Delivery>[], shards: readonly Shard[]): SplitResult => {
  const done = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const refused = done.find(({ outcome }) => outcome.status !== 200);
  if (refused) return refused.outcome.status === 429 ? { kind: 'refused', delivery: refused } : { kind: 'whole' };
  const lost = settled.find((one) => one.status === 'rejected');
  if (lost) throw lost.reason;
  return revisions(done) > 1 ? { kind: 'whole' } : merge(done, shards);
};
