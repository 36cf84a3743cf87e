// The dashboard against the three processes: it names what they emit, and every panel has data on a real Prometheus that scrapes them.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { picture } from '../../tools/dashboard/picture.ts';
import type { PicturePanel } from '../../tools/dashboard/picture.ts';
import { allMetrics } from '../../tools/metrics/registries.ts';
import { CHART, renderChart } from '../helpers/helm.ts';
import { startObserved } from '../helpers/observed.ts';
import type { Observed } from '../helpers/observed.ts';
import { startPrometheus } from '../helpers/prometheus.ts';
import type { Prometheus } from '../helpers/prometheus.ts';
import { selectorsOf } from '../helpers/promql.ts';

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig?: { readonly defaults: { readonly unit: string } };
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}
interface Dashboard {
  readonly uid: string;
  readonly panels: readonly Panel[];
}

/** `KUBEMBED_PICTURES=1` gathers data for longer and writes the docs' picture. */
const PICTURE = join(import.meta.dirname, '..', '..', 'docs', 'images', 'dashboard.svg');
const PICTURE_SECONDS = process.env['KUBEMBED_PICTURES'] === '1' ? 90 : 10;

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
const hasValues = (series: PicturePanel['series']): boolean =>
  series.some(({ points }) => points.some(([, value]) => Number.isFinite(value)));

let observed: Observed;
let prometheus: Prometheus;
beforeAll(async () => {
  observed = stack.use(await startObserved());
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

  it('all have data', async () => {
    let empty = panels.map(({ title }) => title);
    for (let step = 0; step < 90 && empty.length > 0; step += 1) {
      await sleep(1000);
      empty = await emptyPanels('.*', '.*');
    }
    expect(empty).toEqual([]);
  });

  it('tell how the models stand', async () => {
    const value = async (title: string): Promise<number | undefined> => {
      const [target] = panels.find((panel) => panel.title === title)!.targets!;
      return (await prometheus.query(filled(target!.expr, '.*', '.*')))[0];
    };
    await expect.poll(() => value('Models ready'), { timeout: 30_000 }).toBe(1);
    expect(await value('Models not ready')).toBe(0);
  });

  it('of requests and runtimes have data of one chosen model', async () => {
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

  it('can be drawn from what Prometheus answers', async () => {
    await sleep(PICTURE_SECONDS * 1000);
    const named = (legend: string, metric: Readonly<Record<string, string>>): string =>
      legend === ''
        ? Object.values(metric).join(' ')
        : legend.replaceAll(/\{\{(\w+)\}\}/g, (_all, label: string) => metric[label] ?? '');
    const seriesOf = async ({ targets = [] }: Panel): Promise<PicturePanel['series']> => {
      const answers = await Promise.all(
        targets.map(async ({ expr, legendFormat }) =>
          (await prometheus.range(filled(expr, '.*', '.*'), PICTURE_SECONDS)).map(({ metric, values }) => ({
            name: named(legendFormat, metric),
            points: values.map(([time, value]) => [time, Number(value)] as const),
          })),
        ),
      );
      return answers.flat();
    };
    const drawn: PicturePanel[] = [];
    for (const panel of dashboard.panels)
      drawn.push({ ...panel, unit: panel.fieldConfig?.defaults.unit ?? '', series: await seriesOf(panel) });
    const svg = picture(drawn);
    // Booleans: the whole picture in a failure's message helps nobody.
    expect(dashboard.panels.filter(({ title }) => !svg.includes(`>${title}</text>`))).toEqual([]);
    expect(/NaN|Infinity|undefined/.test(svg)).toBe(false);
    if (process.env['KUBEMBED_PICTURES'] !== '1') return;
    const hollow = drawn.filter(({ type, series }) => type === 'timeseries' && !hasValues(series));
    expect(hollow.map(({ title }) => title)).toEqual([]);
    mkdirSync(dirname(PICTURE), { recursive: true });
    writeFileSync(PICTURE, svg);
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
