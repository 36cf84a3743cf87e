// The alerts: promtool accepts them, each fires when it must and only then, names what exists, and has a page to turn to.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { allMetrics } from '../../tools/metrics/reference.ts';
import { ALERT_CASES } from '../helpers/alert-cases.ts';
import type { AlertCases, Series } from '../helpers/alert-cases.ts';
import { CHART, renderChart } from '../helpers/helm.ts';
import { NO_PROMETHEUS } from '../helpers/prometheus.ts';
import { groupingLabels, selectorsOf } from '../helpers/promql.ts';

const run = promisify(execFile);
const RULES = join(CHART, 'files', 'alerts.yaml');
const RUNBOOKS = join(import.meta.dirname, '..', '..', 'docs', 'runbooks');
/** What the scrape adds. */
const TARGET_LABELS = ['namespace', 'pod', 'instance', 'job', 'model', 'exported_namespace', 'le'];

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: Readonly<Record<'summary' | 'description' | 'runbook_url', string>>;
}
interface Rules {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
}

const rules = parse(readFileSync(RULES, 'utf8')) as Rules;
const alerts = rules.groups.flatMap(({ rules: own }) => own);
const metrics = new Map([...allMetrics().values()].flat().map((metric) => [metric.name, metric]));
const metricOf = (name: string) => metrics.get(name) ?? metrics.get(name.replace(/_(bucket|sum|count)$/, ''));

describe.each(alerts)('$alert', ({ alert, expr, labels, annotations }) => {
  it('reads metrics that exist, by labels that they have', () => {
    const selectors = selectorsOf(expr);
    expect(selectors.length).toBeGreaterThan(0);
    const known = new Set(TARGET_LABELS);
    for (const { metric, labels: matched } of selectors) {
      const found = metricOf(metric);
      expect(found, metric).toBeDefined();
      for (const label of found!.labels) known.add(label);
      expect(
        matched.filter((label) => !found!.labels.includes(label)),
        metric,
      ).toEqual([]);
    }
    expect(groupingLabels(expr).filter((label) => !known.has(label))).toEqual([]);
  });

  it('has a runbook page that is its own', () => {
    expect(annotations.runbook_url).toBe(`docs/runbooks/${alert}.md`);
    const page = readFileSync(join(RUNBOOKS, `${alert}.md`), 'utf8');
    expect(page).toMatch(new RegExp(`^# ${alert}\n\nSeverity: ${labels.severity}\\.`));
    for (const heading of ['## Impact', '## Where to look', '## What to do']) expect(page).toContain(heading);
    const named = [...page.matchAll(/\b(?:kubembed|nodejs)_[a-z0-9_]+/g)].map(([name]) => name);
    expect(named.filter((name) => metricOf(name) === undefined)).toEqual([]);
    const links = [...page.matchAll(/\]\(([^)#]+)\)/g)].map(([, link]) => link!);
    expect(links.filter((link) => !existsSync(join(RUNBOOKS, link)))).toEqual([]);
  });

  it('says what is the matter with labels that it carries', () => {
    const carried = Object.keys(ALERT_CASES[alert]!.fires[0].labels);
    for (const text of [annotations.summary, annotations.description]) {
      const used = [...text.matchAll(/\$labels\.(\w+)/g)].map(([, label]) => label!);
      expect(used.filter((label) => !carried.includes(label))).toEqual([]);
      expect(text).toMatch(/\.$/);
    }
  });
});

describe.skipIf(NO_PROMETHEUS)('promtool', () => {
  it('accepts the rules', async () => {
    const { stdout } = await run('promtool', ['check', 'rules', RULES]);
    expect(stdout).toContain(`SUCCESS: ${alerts.length} rules found`);
  });

  it('sees every alert fire when it must and keep quiet when it must', async () => {
    expect(Object.keys(ALERT_CASES).sort()).toEqual(alerts.map(({ alert }) => alert).sort());
    await expect(testRules(ALERT_CASES)).resolves.toContain('SUCCESS');
  });

  it('would notice an alert that keeps quiet', async () => {
    const { fires, quiet } = ALERT_CASES['KubembedRouterNotSynced']!;
    const wrong = { fires: [{ ...fires[0], series: quiet[0].series }], quiet } as const;
    await expect(testRules({ KubembedRouterNotSynced: wrong })).rejects.toThrow();
  });
});

describe('the chart', () => {
  it('ships them, with links to where the runbooks are', async () => {
    const values = {
      'metrics.prometheusRule.enabled': 'true',
      'metrics.prometheusRule.runbooks': 'https://ops.test/r/',
    };
    const rendered = await renderChart(values, ['--show-only', 'templates/prometheus-rule.yaml']);
    const { kind, spec } = parse(rendered) as { kind: string; spec: Rules };
    expect(kind).toBe('PrometheusRule');
    const shipped = spec.groups.flatMap(({ rules: own }) => own);
    expect(shipped.map(({ alert, expr }) => [alert, expr])).toEqual(alerts.map(({ alert, expr }) => [alert, expr]));
    for (const { alert, annotations } of shipped) {
      expect(annotations.runbook_url).toBe(`https://ops.test/r/${alert}.md`);
      expect(annotations.summary).toBe(alerts.find((own) => own.alert === alert)!.annotations.summary);
    }
    expect(await renderChart()).not.toContain('kind: PrometheusRule');
  });

  it('has no page without an alert', () => {
    const pages = readdirSync(RUNBOOKS).filter((page) => page !== 'README.md');
    expect(pages.sort()).toEqual(alerts.map(({ alert }) => `${alert}.md`).sort());
    const index = readFileSync(join(RUNBOOKS, 'README.md'), 'utf8');
    for (const page of pages) expect(index).toContain(`](${page})`);
  });
});

/** `promtool test rules`. It compares annotations word by word, so they are left out here. */
async function testRules(cases: Readonly<Record<string, AlertCases>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kubembed-alerts-'));
  const bare = rules.groups.map(({ name, rules: own }) => ({
    name,
    rules: own.map((rule) => ({ ...rule, annotations: {} })),
  }));
  const test = (alert: string, series: Series, at: number, labels?: object) => ({
    interval: '1m',
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    alert_rule_test: [{ eval_time: `${at}m`, alertname: alert, exp_alerts: labels ? [{ exp_labels: labels }] : [] }],
  });
  const severityOf = (name: string) => alerts.find(({ alert }) => alert === name)!.labels.severity;
  const tests = Object.entries(cases).flatMap(([alert, { fires, quiet }]) => [
    ...fires.map(({ series, at, labels }) => test(alert, series, at, { ...labels, severity: severityOf(alert) })),
    ...quiet.map(({ series, at }) => test(alert, series, at)),
  ]);
  try {
    await writeFile(join(folder, 'rules.yaml'), stringify({ groups: bare }));
    const file = join(folder, 'tests.yaml');
    await writeFile(
      file,
      stringify({ rule_files: ['rules.yaml'], evaluation_interval: '1m', tests }, { aliasDuplicateObjects: false }),
    );
    const { stdout } = await run('promtool', ['test', 'rules', file]).catch((error: unknown) => {
      const { stdout: out, stderr } = error as { stdout: string; stderr: string };
      throw new Error(`${out}\n${stderr}`);
    });
    return stdout;
  } finally {
    await rm(folder, { recursive: true });
  }
}
