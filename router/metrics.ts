// The router's Prometheus metrics: bounded labels, and no series left of a model that is gone.
import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import { DURATION_BUCKETS, ReadGauge } from '../common/obs/metrics.ts';
import type { ColdStartStage } from './models/demand.ts';

const PREFIX = 'kubembed_router_';
/** Label of requests for names that nothing serves: clients choose names, so these must not make series. */
const UNKNOWN = 'unknown';

const WAIT_BUCKETS = [0.01, 0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600];

/** What the gauges show of a model, read when scraped. */
export interface MeasuredModel {
  readonly served: { readonly endpoints: readonly unknown[] };
  readonly queue: { readonly size: () => number };
  readonly balancer: { readonly inFlight: () => number; readonly healthy: () => number };
}

export interface Finished {
  /** Key of the model, where one was found. */
  readonly model: string | undefined;
  readonly status: number;
  readonly seconds: number;
  /** Of a failure. */
  readonly reason: string | undefined;
}

export type CacheResult = 'hit' | 'miss' | 'coalesced';

export interface RouterMetrics {
  readonly finished: (request: Finished) => void;
  readonly served: (model: string, inputs: number, tokens: number) => void;
  readonly upstream: (model: string, ms: number) => void;
  readonly queued: (model: string, ms: number) => void;
  readonly coldStart: (model: string, stage: ColdStartStage, ms: number) => void;
  readonly activated: (model: string) => void;
  readonly retried: (model: string, reason: string) => void;
  readonly ejected: (model: string) => void;
  readonly split: (model: string, shards: number) => void;
  readonly cache: (model: string, result: CacheResult) => void;
  /** Drops every series of these models. */
  readonly forget: (models: ReadonlySet<string>) => void;
  /** The routing table has been read whole. */
  readonly synced: () => void;
}

const dropSeries = async (metric: Counter | Histogram, models: ReadonlySet<string>): Promise<void> => {
  const { values } = await metric.get();
  for (const { labels } of values) {
    const own = Object.fromEntries(Object.entries(labels).filter(([name]) => name !== 'le'));
    if (models.has(String(own['model']))) metric.remove(own);
  }
};

export const createRouterMetrics = (registry: Registry, models: ReadonlyMap<string, MeasuredModel>): RouterMetrics => {
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> =>
    new Counter({ name: `${PREFIX}${name}`, help, labelNames: [...labelNames], registers });
  const histogram = (name: string, help: string, buckets: readonly number[]): Histogram<'model'> =>
    new Histogram({ name: `${PREFIX}${name}`, help, labelNames: ['model'], buckets: [...buckets], registers });
  /** A current value for each model, read when scraped. */
  const gauge = (name: string, help: string, read: (model: MeasuredModel) => number): Gauge<'model'> =>
    new ReadGauge({ name: `${PREFIX}${name}`, help, labelNames: ['model'], registers }, function* () {
      for (const [key, model] of models) yield { labels: { model: key }, value: read(model) };
    });

  const requests = counter('requests_total', 'Embedding requests answered, by status code.', ['model', 'code']);
  const errors = counter('errors_total', 'Embedding requests that failed, by reason.', ['model', 'reason']);
  const duration = histogram('request_duration_seconds', 'Time from request to answer.', DURATION_BUCKETS);
  const upstream = histogram('upstream_seconds', 'Time from sending to the first byte of an answer.', DURATION_BUCKETS);
  const queue = histogram('queue_seconds', 'Time that queued requests waited for an endpoint.', WAIT_BUCKETS);
  const cold = histogram('cold_start_seconds', 'Time from a wake-up call to the first endpoint.', WAIT_BUCKETS);
  const address = histogram(
    'cold_start_address_seconds',
    'Time from a wake-up call to the first address of a replica: scaled, scheduled, its sandbox made.',
    WAIT_BUCKETS,
  );
  const activations = counter('activations_total', 'Wake-up calls for models without an endpoint.', ['model']);
  const tokens = counter('tokens_total', 'Tokens run, as the runtimes report them.', ['model']);
  const inputs = counter('inputs_total', 'Inputs embedded.', ['model']);
  const retries = counter('retries_total', 'Attempts repeated on another endpoint, by reason.', ['model', 'reason']);
  const ejections = counter('ejections_total', 'Endpoints taken out of use for failing.', ['model']);
  const splits = counter('splits_total', 'Requests split over several endpoints.', ['model']);
  const shards = counter('shards_total', 'Shards that split requests were sent in.', ['model']);
  const cached = counter('cache_requests_total', 'Requests looked up in the cache, by result.', ['model', 'result']);
  const labelled = [
    ...[requests, errors, duration, upstream, queue, cold, address, activations],
    ...[tokens, inputs, retries, ejections, splits, shards, cached],
  ];
  gauge('queued_requests', 'Requests waiting for an endpoint.', (model) => model.queue.size());
  gauge('in_flight_requests', 'Requests sent to an endpoint and not yet answered.', ({ balancer }) =>
    balancer.inFlight(),
  );
  new ReadGauge(
    {
      name: `${PREFIX}endpoints`,
      help: 'Endpoints in the routing table, by what the router thinks of them.',
      labelNames: ['model', 'state'],
      registers,
    },
    function* () {
      for (const [model, { served, balancer }] of models) {
        const usable = balancer.healthy();
        yield { labels: { model, state: 'usable' }, value: usable };
        yield { labels: { model, state: 'ejected' }, value: served.endpoints.length - usable };
      }
    },
  );
  const synced = new Gauge({
    name: `${PREFIX}table_synced`,
    help: '1 once the routing table has been read whole.',
    registers,
  });

  /** Clients choose names, and requests outlive their models: neither may make series. */
  const own =
    <A extends readonly unknown[]>(count: (model: string, ...more: A) => void) =>
    (model: string, ...more: A): void => {
      if (models.has(model)) count(model, ...more);
    };

  return {
    finished: ({ model: given, status, seconds, reason }) => {
      const model = given !== undefined && models.has(given) ? given : UNKNOWN;
      requests.inc({ model, code: String(status) });
      duration.observe({ model }, seconds);
      if (reason !== undefined) errors.inc({ model, reason });
    },
    served: own((model, inputCount, tokenCount) => {
      inputs.inc({ model }, inputCount);
      tokens.inc({ model }, tokenCount);
    }),
    upstream: own((model, ms) => upstream.observe({ model }, ms / 1000)),
    queued: own((model, ms) => queue.observe({ model }, ms / 1000)),
    coldStart: own((model, stage, ms) => (stage === 'address' ? address : cold).observe({ model }, ms / 1000)),
    activated: own((model) => activations.inc({ model })),
    retried: own((model, reason) => retries.inc({ model, reason })),
    ejected: own((model) => ejections.inc({ model })),
    split: own((model, count) => {
      splits.inc({ model });
      shards.inc({ model }, count);
    }),
    cache: own((model, result) => cached.inc({ model, result })),
    forget: (gone) => {
      for (const metric of labelled) void dropSeries(metric, gone);
    },
    synced: () => synced.set(1),
  };
};
