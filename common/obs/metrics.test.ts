import { Counter, Histogram, Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { sumOf } from './metrics.ts';

function threadOf(requests: number) {
  const registry = new Registry();
  const registers = [registry];
  new Counter({ name: 'requests_total', help: 'Requests.', labelNames: ['status'], registers }).inc(
    { status: 200 },
    requests,
  );
  const durations = new Histogram({ name: 'seconds', help: 'How long.', buckets: [1, 2], registers });
  for (let at = 0; at < requests; at++) durations.observe(1.5);
  return registry.getMetricsAsJSON();
}

it('counts for all threads', async () => {
  const page = await sumOf([await threadOf(1), await threadOf(7), await threadOf(2)]).metrics();
  expect(page.trim().split('\n')).toEqual([
    '# HELP requests_total Requests.',
    '# TYPE requests_total counter',
    'requests_total{status="200"} 10',
    '',
    '# HELP seconds How long.',
    '# TYPE seconds histogram',
    'seconds_bucket{le="1"} 0',
    'seconds_bucket{le="2"} 10',
    'seconds_bucket{le="+Inf"} 10',
    'seconds_sum 15',
    'seconds_count 10',
  ]);
});

it('is empty before anything was counted', async () => {
  expect((await sumOf([]).metrics()).trim()).toBe('');
});
