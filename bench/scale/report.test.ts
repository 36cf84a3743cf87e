import { expect, test } from 'vitest';
import { readScaleOptions } from '../options.ts';
import { quantile } from '../statistics.ts';
import { renderScale, sumOf } from './report.ts';

test('quantiles are values that were measured', () => {
  const values = [5, 1, 4, 2, 3];
  expect([0.5, 0.99, 1].map((share) => quantile(values, share))).toEqual([3, 5, 5]);
});

test('a full run is written to the document, a part of one only when asked', () => {
  expect(readScaleOptions([])).toMatchObject({ models: 10_000, awakePercent: 10, replicas: 50, write: true });
  expect(readScaleOptions(['--models', '10000'])).toMatchObject({ models: 10_000, write: true });
  expect(readScaleOptions(['--models', '10'])).toMatchObject({ models: 10, write: false });
  expect(readScaleOptions(['--models', '10', '--write']).write).toBe(true);
  expect(() => readScaleOptions(['--models', 'many'])).toThrow('many is not a whole number');
});

test('series of a metric are summed, those of longer names are not', () => {
  const page =
    'calls{method="GET",code="200"} 3\ncalls{method="GET",code="404"} 2\ncalls{method="PUT"} 7\ncalls_max{method="GET"} 9\n';
  expect(sumOf(page, 'calls', ['method="GET"'])).toBe(5);
});

test('what misses its target is said to', () => {
  const use = { rssMb: 100, peakMb: 120, cpuSeconds: 1 };
  const markdown = renderScale({
    models: 1000,
    endpoints: 5000,
    bulkSeconds: 61,
    latencies: [
      { what: 'fast', ms: [100, 200] },
      { what: 'slow', ms: [100, 2500] },
    ],
    calls: { GET: 1, PATCH: 8.02 },
    bulkCpuSeconds: { operator: 10, router: 2 },
    use: { operator: use, router: use },
    starts: [
      { process: 'operator', readySeconds: 1, reconciledSeconds: 2, writes: 0 },
      { process: 'router', readySeconds: 1.5 },
    ],
    requestUs: { models: 10, fewUs: 200.4, allUs: 201, ratio: { min: 0.98, median: 1.004, max: 1.03 } },
    idle: { seconds: 60, calls: 0, cpuSeconds: { operator: 0.6, router: 0.3, small: 0.1 } },
    circumstances: ['a machine'],
  });
  expect(markdown).toContain('| fast | 2 | 100 | 200 | 200 | met |');
  expect(markdown).toContain('| slow | 2 | 100 | 2,500 | 2,500 | **missed** |');
  expect(markdown).toContain('| operator | 100 | 120 | 700: met | 244 | 10.0 |');
  expect(markdown).toContain('1.0 GET, 8.0 PATCH, 9.0 in all (at most 3: **missed**)');
  expect(markdown).toContain('200 µs for one that knows of 10 models, 201 µs for the one that knows of all');
  expect(markdown).toContain('1.00 (0.98–1.03; at most 1.05: met)');
  expect(markdown).toContain('| router | 1.5 | – | – | met |');
});
