// A registry of Prometheus metrics for one process (never the library's global one), and its page.
import { Gauge, Registry, collectDefaultMetrics } from 'prom-client';
import type { GaugeConfiguration, MetricObjectWithValues, MetricValue } from 'prom-client';
import type { Request, Response } from 'express';

/** Gauges that the library names like counters, which promtool refuses; without `_total` it has each of them by type. */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

/** Process, garbage collection and event loop metrics come with it, under their customary names. */
export function createRegistry(): Registry {
  const register = new Registry();
  collectDefaultMetrics({ register });
  for (const name of MISNAMED) register.removeSingleMetric(name);
  return register;
}

/** What there is a value of for each of thousands: read when scraped, and not kept. The library's own are found by texts made of their labels. */
export class ReadGauge<L extends string> extends Gauge<L> {
  readonly #read: () => Iterable<MetricValue<L>>;

  constructor(configuration: Omit<GaugeConfiguration<L>, 'collect'>, read: () => Iterable<MetricValue<L>>) {
    super(configuration);
    this.#read = read;
  }

  override async get(): Promise<MetricObjectWithValues<MetricValue<L>>> {
    return { ...(await super.get()), values: [...this.#read()] };
  }
}

export function metricsHandler(register: Registry): (request: Request, response: Response) => Promise<void> {
  return async (_request, response) => {
    const page = await register.metrics();
    response.setHeader('content-type', register.contentType);
    response.end(page);
  };
}

/** 1 ms to 60 s. */
export const DURATION_BUCKETS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
] as const;
