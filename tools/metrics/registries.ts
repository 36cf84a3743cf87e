// Every metric of the three processes, as their own registries describe it; nothing is measured here.
import { Registry } from 'prom-client';
import { createRegistry } from '../../common/obs/metrics.ts';
import { createControllerMetrics } from '../../kube/metrics.ts';
import { createApiCallMetrics, createOperatorMetrics } from '../../operator/metrics.ts';
import { createRouterMetrics } from '../../router/metrics.ts';
import { createRuntimeMetrics } from '../../runtime/app-metrics.ts';
import { createLifecycle } from '../../runtime/lifecycle.ts';

export interface MetricFacts {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly labels: readonly string[];
}

export const PROCESSES = ['router', 'runtime', 'operator', 'every process'] as const;
export type ProcessName = (typeof PROCESSES)[number];

const REGISTER: Readonly<Record<Exclude<ProcessName, 'every process'>, (registry: Registry) => void>> = {
  router: (registry) => createRouterMetrics(registry, new Map()),
  runtime: (registry) => createRuntimeMetrics(registry, createLifecycle(), { model: '', device: '' }),
  operator: (registry) => {
    createOperatorMetrics(registry, {
      leading: () => true,
      models: () => [],
      desired: () => undefined,
      routers: () => [],
      catalog: () => undefined,
    });
    createControllerMetrics(registry);
    createApiCallMetrics(registry);
  },
};

const KINDS: Readonly<Record<string, string>> = {
  Counter: 'counter',
  Gauge: 'gauge',
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
