// `npm run docs:metrics`: writes docs/metrics.md from the registries' own help texts.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatMarkdown } from '../generated.ts';
import { allMetrics } from './registries.ts';
import type { MetricFacts, ProcessName } from './registries.ts';

export const REFERENCE = join(import.meta.dirname, '..', '..', 'docs', 'metrics.md');

const INTRODUCTION = `# Metrics

<!-- Made by \`npm run docs:metrics\` from the processes' own registries. -->

Every process serves \`/metrics\` in Prometheus' text format. The chart helps to have it scraped: \`metrics.annotations\` (with
\`files/prometheus-scrape.yaml\` for a plain Prometheus), or \`metrics.serviceMonitor\` and \`metrics.podMonitor\` for the Prometheus operator.
\`metrics.dashboard\` ships a Grafana dashboard over these metrics; outside of a cluster, import \`charts/kubembed/dashboards/kubembed.json\` by hand.
\`metrics.prometheusRule\` ships alerts, each with a page in [runbooks](runbooks/README.md).

The router's label \`model\` is \`namespace/name\` of an EmbeddingModel, or \`unknown\` for names that nothing serves, so that clients cannot make series.
A model's series go when the model goes. A runtime serves one model; the scrape configuration gives its series \`namespace\` and \`model\`.
The operator's \`namespace\` and \`model\` are those of the EmbeddingModel; a scrape that does not honour labels calls the first \`exported_namespace\`.
No label and no value ever holds input text or a key.
`;

const HEADINGS: Readonly<Record<ProcessName, string>> = {
  router: 'Router',
  runtime: 'Runtime',
  operator: 'Operator',
  'every process': 'Every process',
};

const cell = (text: string): string => text.replaceAll('|', '\\|');
const code = (text: string): string => `\`${text}\``;

const tableOf = (metrics: readonly MetricFacts[]): string =>
  [
    '| Metric | Type | Labels | Meaning |',
    '| --- | --- | --- | --- |',
    ...metrics.map(({ name, type, labels, help }) =>
      ['', code(name), type, labels.map(code).join(' '), cell(help), ''].join(' | ').trim(),
    ),
  ].join('\n');

export async function renderReference(): Promise<string> {
  const sections = [...allMetrics()].map(
    ([process, metrics]) =>
      `## ${HEADINGS[process]}\n\n${tableOf([...metrics].sort((a, b) => (a.name < b.name ? -1 : 1)))}\n`,
  );
  return await formatMarkdown([INTRODUCTION, ...sections].join('\n'));
}

if (import.meta.main) writeFileSync(REFERENCE, await renderReference());
