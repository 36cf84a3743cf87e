// `npm run docs:metrics`: writes docs/metrics.md from what the registries of the three processes say themselves; nothing is measured here.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { createRegistry } from '../../common/obs/metrics.ts';
import { createControllerMetrics } from '../../kube/controller.ts';
import { createApiCallMetrics, createOperatorMetrics } from '../../operator/metrics.ts';
import { createRouterMetrics } from '../../router/metrics.ts';
import { createLifecycle } from '../../runtime/lifecycle.ts';
import { createRuntimeMetrics } from '../../runtime/metrics.ts';
import { code, table } from '../docs/markdown.ts';
import { formatMarkdown } from '../generated.ts';

interface MetricFacts {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly labels: readonly string[];
}

type ProcessName = 'router' | 'runtime' | 'operator' | 'every process';

const REGISTER: Readonly<Record<Exclude<ProcessName, 'every process'>, (registry: Registry) => void>> = {
  router: (registry) => createRouterMetrics(registry, new Map()),
  runtime: (registry) => createRuntimeMetrics(registry, createLifecycle(), { model: '', device: '' }),
  operator: (registry) => {
    createOperatorMetrics(registry, {
      leading: () => true,
      models: () => [],
      replicas: () => undefined,
      routers: () => [],
      catalog: () => undefined,
      isCatalogRefused: () => false,
      elsewhere: () => 0,
    });
    createControllerMetrics(registry);
    createApiCallMetrics(registry);
  },
};

const KINDS: Readonly<Record<string, string>> = {
  Counter: 'counter',
  Gauge: 'gauge',
  ReadGauge: 'gauge',
  Histogram: 'histogram',
  Summary: 'summary',
};

// The library keeps labels and the class of a metric, and types neither.
const describe = (registry: Registry): MetricFacts[] =>
  registry.getMetricsAsArray().map((metric) => {
    const { name, help, labelNames = [] } = metric as typeof metric & { labelNames?: readonly string[] };
    const type = KINDS[(metric as object).constructor.name] ?? 'untyped';
    return { name, help, type, labels: labelNames.filter((label) => label !== 'le') };
  });

export function allMetrics(): ReadonlyMap<ProcessName, readonly MetricFacts[]> {
  const found = new Map<ProcessName, readonly MetricFacts[]>();
  for (const [process, register] of Object.entries(REGISTER)) {
    const registry = new Registry();
    register(registry);
    // Keys of REGISTER are names of processes.
    found.set(process as ProcessName, describe(registry));
  }
  return found.set('every process', describe(createRegistry()));
}

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

const HEAD = ['Metric', 'Type', 'Labels', 'Meaning'];
const HEADINGS: Readonly<Record<ProcessName, string>> = {
  router: 'Router',
  runtime: 'Runtime',
  operator: 'Operator',
  'every process': 'Every process',
};

const rowOf = ({ name, type, labels, help }: MetricFacts): string[] => [
  code(name),
  type,
  labels.map(code).join(' '),
  help,
];

export async function renderReference(): Promise<string> {
  const sections = [...allMetrics()].map(
    ([process, metrics]) =>
      `## ${HEADINGS[process]}\n\n${table(HEAD, [...metrics].sort((a, b) => (a.name < b.name ? -1 : 1)).map(rowOf))}\n`,
  );
  return await formatMarkdown([INTRODUCTION, ...sections].join('\n'));
}

if (import.meta.main) writeFileSync(REFERENCE, await renderReference());
