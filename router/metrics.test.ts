import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { createRouterMetrics } from './metrics.ts';

const NONE = new Map<string, number>();
const create = () => {
  const registry = new Registry();
  const gauges = { held: () => NONE, inFlight: () => NONE, endpoints: () => [], synced: () => true };
  return { registry, metrics: createRouterMetrics(registry, gauges) };
};
const lines = async (registry: Registry, word: string): Promise<readonly string[]> =>
  (await registry.metrics()).split('\n').filter((line) => line.startsWith(`kubembed_router_${word}`));

it('shows every request at the next reading, however many there were', async () => {
  const { registry, metrics } = create();
  for (let at = 0; at < 2000; at += 1) {
    metrics.upstream('ns/m', 2);
    metrics.served('ns/m', { inputs: 2, tokens: 30 });
    metrics.finished({ model: 'ns/m', status: at % 4 === 0 ? 429 : 200, seconds: 0.003 });
  }
  expect(await lines(registry, 'requests_total')).toEqual([
    'kubembed_router_requests_total{model="ns/m",code="429"} 500',
    'kubembed_router_requests_total{model="ns/m",code="200"} 1500',
  ]);
  metrics.finished({ model: 'ns/m', status: 200, seconds: 0.003 });
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

it('leaves no series of a model that is gone, not even of what was still to be told', async () => {
  const { registry, metrics } = create();
  metrics.finished({ model: 'ns/gone', status: 200, seconds: 0.003 });
  metrics.finished({ model: 'ns/here', status: 200, seconds: 0.003 });
  metrics.keep((model) => model === 'ns/here');
  await new Promise((resolve) => setImmediate(resolve));
  const page = await registry.metrics();
  expect(page).not.toContain('ns/gone');
  expect(page).toContain('kubembed_router_requests_total{model="ns/here",code="200"} 1');
});
