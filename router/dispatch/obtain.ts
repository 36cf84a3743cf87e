// Obtains the answer to a whole request: counts its demand, splits it where that pays, and learns from what comes back.
import type { EmbeddingRequest } from '../../common/openai/request.ts';
import type { DemandBook } from '../admission/demand.ts';
import type { RouterMetrics } from '../metrics.ts';
import { planShards, shardCount } from '../routing/split.ts';
import type { Shard } from '../routing/split.ts';
import type { ServedModel } from '../routing/table.ts';
import type { Answer, StreamedAnswer } from '../upstream/attempt.ts';
import type { Fleet } from '../upstream/fleet.ts';
import type { Deliver } from './deliver.ts';
import type { Delivery, Job } from './job.ts';
import type { Measured } from './measure.ts';
import { deliverShards } from './split.ts';

/** A request once its body was read and its model found. */
export interface Asked {
  readonly model: ServedModel;
  readonly parsed: EmbeddingRequest;
  readonly measured: Measured;
  /** Its lane is that which the client asked for. */
  readonly job: Job;
  /** For the log. */
  readonly facts: Record<string, string | number | boolean | undefined>;
}

export type Obtained = Answer | StreamedAnswer;
export type Obtain = (asked: Asked) => Promise<Obtained>;

export interface ObtainDeps {
  readonly fleet: Fleet;
  readonly demand: DemandBook;
  readonly deliver: Deliver;
  readonly metrics: RouterMetrics;
  /** An input array worth more than this of one endpoint's time is split; 0: never. */
  readonly splitMs: number;
}

/** Tokens per second, until endpoints say what they can do. */
const UNKNOWN_CAPACITY = 20_000;
/** What takes longer than this is bulk, where nothing is split. */
const BULK_MS = 100;

export const createObtain = ({ fleet, demand, deliver, metrics, splitMs }: ObtainDeps): Obtain => {
  const targetTokens = ({ model }: Asked): number =>
    ((fleet.capacity(model.endpoints) ?? UNKNOWN_CAPACITY) * (splitMs || BULK_MS)) / 1000;

  const plan = (asked: Asked): readonly Shard[] => {
    const { model, measured } = asked;
    if (splitMs === 0 || measured.tokens.length < 2) return [];
    const limits = { endpoints: fleet.trusted(model.endpoints), targetTokens: targetTokens(asked) };
    const count = shardCount(measured.tokens, limits);
    return count > 1 ? planShards(measured.tokens, count) : [];
  };

  const note = ({ facts, model }: Asked, { attempts, heldMs, upstreamMs, endpoint }: Delivery): void => {
    Object.assign(facts, { endpoint, attempts, upstreamMs: Math.round(upstreamMs * 10) / 10 });
    metrics.upstream(model.key, upstreamMs);
    if (heldMs <= 0) return;
    facts['heldMs'] = Math.round(heldMs);
    metrics.held(model.key, heldMs);
  };

  const whole = async (asked: Asked): Promise<Obtained> => {
    const { job, measured } = asked;
    const lane = measured.total > targetTokens(asked) ? 'bulk' : job.lane;
    const delivery = await deliver({ ...job, lane });
    note(asked, delivery);
    return delivery.outcome;
  };

  const deliverShard: Deliver = async (job) => {
    const delivery = await deliver(job);
    metrics.upstream(job.key, delivery.upstreamMs);
    return delivery;
  };

  const split = async (asked: Asked, shards: readonly Shard[]): Promise<Obtained> => {
    metrics.split(asked.model.key, shards.length);
    asked.facts['shards'] = shards.length;
    const result = await deliverShards(deliverShard, asked.job, asked.parsed, shards);
    if (result.kind === 'whole') return await whole(asked);
    return result.kind === 'refused' ? result.delivery.outcome : result.answer;
  };

  return async (asked) => {
    const { model, measured } = asked;
    demand.offer(model.key, measured.total);
    try {
      const shards = plan(asked);
      return await (shards.length > 1 ? split(asked, shards) : whole(asked));
    } finally {
      demand.complete(model.key, measured.total);
    }
  };
};
