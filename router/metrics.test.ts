import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { createRouterMetrics } from './metrics.ts';
import type { MeasuredModel } from './metrics.ts';

const model = (endpoints: number, healthy: number): MeasuredModel => ({
  served: { endpoints: Array.from({ length: endpoints }) },
  queue: { size: () => 3 },
  balancer: { inFlight: () => 2, healthy: () => healthy },
});
const create = (...keys: readonly string[]) => {
  const registry = new Registry();
  const models = new Map(keys.map((key) => [key, model(4, 3)]));
  return { registry, models, metrics: createRouterMetrics(registry, models) };
};
const lines = async (registry: Registry, word: string): Promise<readonly string[]> =>
  (await registry.metrics()).split('\n').filter((line) => line.startsWith(`kubembed_router_${word}`));

it('shows every request at the next reading, however many there were', async () => {
  const { registry, metrics } = create('ns/m');
  for (let at = 0; at < 2000; at += 1) {
    metrics.upstream('ns/m', 2);
    metrics.served('ns/m', 2, 30);
    metrics.finished({ model: 'ns/m', status: at % 4 === 0 ? 429 : 200, seconds: 0.003, reason: undefined });
  }
  expect(await lines(registry, 'requests_total')).toEqual([
    'kubembed_router_requests_total{model="ns/m",code="429"} 500',
    'kubembed_router_requests_total{model="ns/m",code="200"} 1500',
  ]);
  metrics.finished({ model: 'ns/m', status: 200, seconds: 0.003, reason: undefined });
  expect(await lines(registry, 'requests_total{model="ns/m",code="200"}')).toEqual([
    'kubembed_router_requests_total{model="ns/m",code="200"} 1501',
  ]);
  expect(await lines(registry, 'request_duration_seconds_count')).toEqual([
    'kubembed_router_request_duration_seconds_count{model="ns/m"} 2001',
  ]);
  expect(await lines(registry, 'upstream_seconds_bucket{le="0.0025"')).toEqual([
    'kubembed_router_upstream_seconds_bucket{le="0.0025",model="ns/m"} 2000',
  ]);
  expect(await lines(registry, 'tokens_total')).toEqual(['kubembed_router_tokens_total{model="ns/m"} 60000']);
  expect(await lines(registry, 'inputs_total')).toEqual(['kubembed_router_inputs_total{model="ns/m"} 4000']);
});

it('leaves no series of a model that is gone, not even of a request that outlives it', async () => {
  const { registry, models, metrics } = create('ns/gone', 'ns/here');
  for (const key of models.keys()) {
    metrics.finished({ model: key, status: 200, seconds: 0.003, reason: undefined });
    metrics.retried(key, 'reset');
  }
  models.delete('ns/gone');
  metrics.forget(new Set(['ns/gone']));
  metrics.upstream('ns/gone', 3);
  metrics.finished({ model: 'ns/gone', status: 499, seconds: 3, reason: 'client_closed_request' });
  await new Promise((resolve) => setImmediate(resolve));
  const page = await registry.metrics();
  expect(page).not.toContain('ns/gone');
  expect(page).toContain('kubembed_router_requests_total{model="ns/here",code="200"} 1');
  expect(page).toContain('kubembed_router_requests_total{model="unknown",code="499"} 1');
  expect(page).toContain('kubembed_router_retries_total{model="ns/here",reason="reset"} 1');
});

it('makes no series of a name that nothing serves', async () => {
  const { registry, metrics } = create();
  metrics.finished({ model: undefined, status: 404, seconds: 0.003, reason: 'model_not_found' });
  expect(await lines(registry, 'requests_total')).toEqual([
    'kubembed_router_requests_total{model="unknown",code="404"} 1',
  ]);
  expect(await lines(registry, 'errors_total')).toEqual([
    'kubembed_router_errors_total{model="unknown",reason="model_not_found"} 1',
  ]);
});

it('reads current values of models when scraped, and says when the table is known', async () => {
  const { registry, models, metrics } = create('ns/m');
  expect(await lines(registry, 'queued_requests')).toEqual(['kubembed_router_queued_requests{model="ns/m"} 3']);
  expect(await lines(registry, 'in_flight_requests')).toEqual(['kubembed_router_in_flight_requests{model="ns/m"} 2']);
  expect(await lines(registry, 'endpoints')).toEqual([
    'kubembed_router_endpoints{model="ns/m",state="usable"} 3',
    'kubembed_router_endpoints{model="ns/m",state="ejected"} 1',
  ]);
  models.clear();
  expect(await lines(registry, 'queued_requests')).toEqual([]);
  expect(await lines(registry, 'table_synced')).toEqual(['kubembed_router_table_synced 0']);
  metrics.synced();
  expect(await lines(registry, 'table_synced')).toEqual(['kubembed_router_table_synced 1']);
});
