// The dashboard against the three processes: it names what they emit, and every panel has data on a real Prometheus that scrapes them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { allMetrics } from '../../tools/metrics/reference.ts';
import { CHART, renderChart } from '../helpers/helm.ts';
import { startObserved } from '../helpers/observed.ts';
import type { Observed } from '../helpers/observed.ts';
import { NO_PROMETHEUS, startPrometheus } from '../helpers/prometheus.ts';
import type { Prometheus } from '../helpers/prometheus.ts';
import { selectorsOf } from '../helpers/promql.ts';

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string }[];
}
interface Dashboard {
  readonly uid: string;
  readonly panels: readonly Panel[];
}

const FILE = join(CHART, 'dashboards', 'kubembed.json');
const dashboard = JSON.parse(readFileSync(FILE, 'utf8')) as Dashboard;
const panels = dashboard.panels.filter(({ type }) => type !== 'row');
const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

/** Variables as Grafana fills them in. */
const filled = (expr: string, namespace: string, model: string): string =>
  expr
    .replaceAll('$__rate_interval', '20s')
    .replaceAll('${namespace:regex}', namespace)
    .replaceAll('${model:regex}', model)
    .replaceAll('$namespace', namespace)
    .replaceAll('$model', model);

const stack = new AsyncDisposableStack();

let observed: Observed;
let prometheus: Prometheus;
beforeAll(async () => {
  observed = stack.use(await startObserved());
  if (NO_PROMETHEUS) return;
  prometheus = await startPrometheus(observed.pods);
  stack.defer(async () => await prometheus.stop());
});
afterAll(async () => await stack.disposeAsync());

/** Names of samples and families of a page. */
async function namesAt(url: string): Promise<string[]> {
  const page = await (await fetch(`${url}/metrics`)).text();
  return page.split('\n').flatMap((line) => {
    const [, name, type] = /^# TYPE (\S+) (\S+)/.exec(line) ?? [];
    if (name === undefined) return [];
    return type === 'histogram' || type === 'summary'
      ? [name, ...['_bucket', '_sum', '_count'].map((end) => name + end)]
      : [name];
  });
}

describe('metrics', () => {
  it('of the reference are all on a live scrape, and the other way round', async () => {
    const described = [...allMetrics().values()].flat().map(({ name }) => name);
    const pages = await Promise.all(Object.values(observed.urls).map(namesAt));
    const scraped = new Set(pages.flat());
    expect(described.filter((name) => !scraped.has(name))).toEqual([]);
    const families = [...scraped].filter((name) => !/_(bucket|sum|count)$/.test(name));
    expect(families.filter((name) => !described.includes(name))).toEqual([]);
  });

  it('that the dashboard names are all on a live scrape', async () => {
    const scraped = new Set((await Promise.all(Object.values(observed.urls).map(namesAt))).flat());
    const named = new Set(expressions.flatMap(selectorsOf).map(({ metric }) => metric));
    expect([...named].filter((name) => !scraped.has(name))).toEqual([]);
    expect(named.size).toBeGreaterThan(40);
  });
});

describe('panels', () => {
  const emptyPanels = async (namespace: string, model: string): Promise<string[]> => {
    const counts = await Promise.all(
      panels.map(async ({ title, targets = [] }) => {
        const results = await Promise.all(targets.map(({ expr }) => prometheus.query(filled(expr, namespace, model))));
        return { title, samples: results.flat().length };
      }),
    );
    return counts.filter(({ samples }) => samples === 0).map(({ title }) => title);
  };

  it.skipIf(NO_PROMETHEUS)('all have data', async () => {
    let empty = panels.map(({ title }) => title);
    for (let step = 0; step < 90 && empty.length > 0; step += 1) {
      await sleep(1000);
      empty = await emptyPanels('.*', '.*');
    }
    expect(empty).toEqual([]);
  });

  it.skipIf(NO_PROMETHEUS)('tell how the models stand', async () => {
    const value = async (title: string): Promise<number | undefined> => {
      const [target] = panels.find((panel) => panel.title === title)!.targets!;
      return (await prometheus.query(filled(target!.expr, '.*', '.*')))[0];
    };
    await expect.poll(() => value('Models ready'), { timeout: 30_000 }).toBe(1);
    expect(await value('Models not ready')).toBe(0);
  });

  it.skipIf(NO_PROMETHEUS)('of requests and runtimes have data of one chosen model', async () => {
    const empty = await emptyPanels('ns', 'tiny');
    const expected = [
      'Requests',
      'Latency',
      'Tokens by model',
      'Queue',
      'Stages',
      'Padding',
      'Models ready',
      'Replicas',
    ];
    expect(expected.filter((title) => empty.includes(title))).toEqual([]);
    expect(await emptyPanels('ns', 'nobody')).toEqual(expect.arrayContaining(['Tokens by model', 'Queue', 'Replicas']));
  });

  it('do not overlap, and stay on the grid', () => {
    const cells = new Set<string>();
    for (const { title, gridPos } of dashboard.panels) {
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(cells.has(`${x},${y}`), title).toBe(false);
          cells.add(`${x},${y}`);
        }
    }
  });
});

describe('the chart', () => {
  it('ships it in a ConfigMap that Grafana finds, and only when asked to', async () => {
    const rendered = await renderChart({ 'metrics.dashboard.enabled': 'true' }, [
      ...['--show-only', 'templates/dashboard.yaml'],
    ]);
    const config = parse(rendered) as { metadata: { labels: object }; data: Record<string, string> };
    expect(config.metadata.labels).toMatchObject({ grafana_dashboard: '1' });
    expect(JSON.parse(config.data['kubembed.json']!)).toEqual(dashboard);
    expect(await renderChart()).not.toContain('grafana_dashboard');
  });
});
