// The demand stream, router → operator: its schema, how it is asked for, and how one line is read. Cumulative counters, so that nothing
// is lost between two samples. Pure.
import * as z from 'zod';

/** Newline-delimited JSON on the router's internal port. */
export const DEMAND_PATH = '/internal/demand';
/** In the query: who asks with it gets a whole line first, and then lines of what has changed. Routers before that give whole lines. */
export const CHANGES_PARAMETER = 'changes';

const count = z.number().nonnegative();

const modelDemand = z
  .object({
    /** Tokens (estimated from bytes until usage is known) of all requests accepted for this model, held ones included. */
    offeredTokens: count,
    /** Tokens of requests that were answered or given up. `offeredTokens - completedTokens` is the backlog. */
    completedTokens: count,
    offeredRequests: count,
    completedRequests: count,
    /** Requests waiting now for a first endpoint. */
    queuedRequests: count,
    /** Rises by one whenever a request finds no endpoint: an activation outlives the client that caused it. */
    activations: count,
    /** W3C trace context of the request that woke it, while it starts and where requests are traced. */
    traceparent: z.string().optional(),
    /** Tokens per second that one endpoint says it can do, newest median over endpoints; absent until one answered. */
    capacityTokensPerSecond: count.optional(),
  })
  .readonly();

const demandSnapshot = z
  .object({
    /** Unique per router process: a new value means the counters started again from zero. */
    instance: z.string().min(1),
    /** Rises with every line of one instance. */
    sequence: count,
    /** The line tells of models that have changed since the one before; absent: of all. */
    changes: z.literal(true).optional(),
    /** By EmbeddingModel key, `namespace/name`. */
    models: z.record(z.string(), modelDemand).readonly(),
  })
  .readonly();

/** One model's demand as one router process has seen it since that process started. Counters only ever grow. */
export type ModelDemand = z.infer<typeof modelDemand>;
/** Of a model that nothing was asked of, or that is gone. */
export const NO_DEMAND: ModelDemand = {
  ...{ offeredTokens: 0, completedTokens: 0, offeredRequests: 0, completedRequests: 0 },
  ...{ queuedRequests: 0, activations: 0 },
};

/** Whether requests wait or are being answered. */
export const isWorking = ({ offeredRequests, completedRequests, queuedRequests }: ModelDemand): boolean =>
  offeredRequests > completedRequests || queuedRequests > 0;

/** One line: of each model that it tells of the whole state, never a difference. */
export type DemandSnapshot = z.infer<typeof demandSnapshot>;

/** Undefined when the line is no snapshot. A router of another version may say more or less; what is not sound is refused. */
export function parseDemandLine(line: string): DemandSnapshot | undefined {
  try {
    return demandSnapshot.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}
