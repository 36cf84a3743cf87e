// The router's Prometheus metrics: bounded labels, and no series left of a model that is gone.
import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import { DURATION_BUCKETS } from '../common/obs/metrics.ts';
import { createTally } from './tally.ts';
import type { Tallied } from './tally.ts';

const PREFIX = 'kubembed_router_';
/** Label of requests for names that nothing serves: clients choose names, so these must not make series. */
export const UNKNOWN = 'unknown';

const WAIT_BUCKETS = [0.01, 0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600];

/** Current values, read when scraped. By model key. */
export interface Gauges {
  readonly held: () => ReadonlyMap<string, number>;
  readonly inFlight: () => ReadonlyMap<string, number>;
  readonly endpoints: () => readonly { readonly model: string; readonly state: string; readonly count: number }[];
  readonly synced: () => boolean;
}

export interface Finished {
  readonly model: string;
  readonly status: number;
  readonly seconds: number;
  readonly reason?: string;
}

export interface RouterMetrics {
  readonly finished: (request: Finished) => void;
  readonly served: (model: string, of: { inputs: number; tokens: number }) => void;
  readonly upstream: (model: string, ms: number) => void;
  readonly held: (model: string, ms: number) => void;
  readonly coldStart: (model: string, ms: number) => void;
  readonly activated: (model: string) => void;
  readonly retried: (model: string, reason: string) => void;
  readonly ejected: (model: string) => void;
  readonly split: (model: string, shards: number) => void;
  readonly cache: (model: string, result: 'hit' | 'miss' | 'coalesced') => void;
  /** Drops every series of models that are no longer served. */
  readonly keep: (isServed: (model: string) => boolean) => void;
}

type Labelled = Counter | Histogram;

const removeSeries = async (metric: Labelled, isServed: (model: string) => boolean): Promise<void> => {
  const { values } = await metric.get();
  for (const { labels } of values) {
    const own = Object.fromEntries(Object.entries(labels).filter(([name]) => name !== 'le'));
    const model = String(own['model']);
    if (model !== UNKNOWN && !isServed(model)) metric.remove(own);
  }
};

const registerGauges = (registry: Registry, gauges: Gauges): void => {
  const perModel = (name: string, help: string, read: () => ReadonlyMap<string, number>): void => {
    const gauge = new Gauge({
      name: `${PREFIX}${name}`,
      help,
      labelNames: ['model'],
      registers: [registry],
      collect: () => {
        gauge.reset();
        for (const [model, value] of read()) gauge.set({ model }, value);
      },
    });
  };
  perModel('held_requests', 'Requests waiting for an endpoint.', gauges.held);
  perModel('in_flight_requests', 'Requests sent to an endpoint and not yet answered.', gauges.inFlight);
  const endpoints = new Gauge({
    name: `${PREFIX}endpoints`,
    help: 'Endpoints in the routing table, by what the router thinks of them.',
    labelNames: ['model', 'state'],
    registers: [registry],
    collect: () => {
      endpoints.reset();
      for (const { model, state, count } of gauges.endpoints()) endpoints.set({ model, state }, count);
    },
  });
  const synced: Gauge = new Gauge({
    name: `${PREFIX}table_synced`,
    help: '1 once the routing table has been read whole.',
    registers: [registry],
    collect: () => {
      synced.set(gauges.synced() ? 1 : 0);
    },
  });
};

export const createRouterMetrics = (registry: Registry, gauges: Gauges): RouterMetrics => {
  const registers = [registry];
  const collect = (): void => tally.pour();
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> =>
    new Counter({ name: `${PREFIX}${name}`, help, labelNames: [...labelNames], registers, collect });
  const histogram = (name: string, help: string, buckets: readonly number[]): Histogram<'model'> =>
    new Histogram({ name: `${PREFIX}${name}`, help, labelNames: ['model'], buckets: [...buckets], registers, collect });

  const requests = counter('requests_total', 'Embedding requests answered, by status code.', ['model', 'code']);
  const errors = counter('errors_total', 'Embedding requests that failed, by reason.', ['model', 'reason']);
  const duration = histogram('request_duration_seconds', 'Time from request to answer.', DURATION_BUCKETS);
  const upstream = histogram('upstream_seconds', 'Time from sending to the first byte of an answer.', DURATION_BUCKETS);
  const hold = histogram('hold_seconds', 'Time that held requests waited for an endpoint.', WAIT_BUCKETS);
  const cold = histogram('cold_start_seconds', 'Time from a wake-up call to the first endpoint.', WAIT_BUCKETS);
  const activations = counter('activations_total', 'Wake-up calls for models without an endpoint.', ['model']);
  const tokens = counter('tokens_total', 'Tokens run, as the runtimes report them.', ['model']);
  const inputs = counter('inputs_total', 'Inputs embedded.', ['model']);
  const retries = counter('retries_total', 'Attempts repeated on another endpoint, by reason.', ['model', 'reason']);
  const ejections = counter('ejections_total', 'Endpoints taken out of use for failing.', ['model']);
  const splits = counter('splits_total', 'Requests split over several endpoints.', ['model']);
  const shards = counter('shards_total', 'Shards that split requests were sent in.', ['model']);
  const cached = counter('cache_inputs_total', 'Inputs looked up in the cache, by result.', ['model', 'result']);
  const labelled: readonly Labelled[] = [
    ...[requests, errors, duration, upstream, hold, cold, activations],
    ...[tokens, inputs, retries, ejections, splits, shards, cached],
  ];
  registerGauges(registry, gauges);

  const tell = (model: string, tallied: Tallied): void => {
    for (const [code, count] of tallied.codes) requests.inc({ model, code: String(code) }, count);
    for (const seconds of tallied.seconds) duration.observe({ model }, seconds);
    for (const seconds of tallied.upstreamSeconds) upstream.observe({ model }, seconds);
    if (tallied.inputs > 0) inputs.inc({ model }, tallied.inputs);
    if (tallied.tokens > 0) tokens.inc({ model }, tallied.tokens);
  };
  const tally = createTally(tell);

  return {
    finished: ({ model, status, seconds, reason }) => {
      tally.answered(model, status, seconds);
      if (reason !== undefined) errors.inc({ model, reason });
    },
    served: (model, of) => {
      const tallied = tally.of(model);
      tallied.inputs += of.inputs;
      tallied.tokens += of.tokens;
    },
    upstream: (model, ms) => void tally.of(model).upstreamSeconds.push(ms / 1000),
    held: (model, ms) => hold.observe({ model }, ms / 1000),
    coldStart: (model, ms) => cold.observe({ model }, ms / 1000),
    activated: (model) => activations.inc({ model }),
    retried: (model, reason) => retries.inc({ model, reason }),
    ejected: (model) => ejections.inc({ model }),
    split: (model, count) => {
      splits.inc({ model });
      shards.inc({ model }, count);
    },
    cache: (model, result) => cached.inc({ model, result }),
    keep: (isServed) => {
      for (const metric of labelled) void removeSeries(metric, isServed);
    },
  };
};
