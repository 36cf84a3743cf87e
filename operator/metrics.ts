// The operator's HTTP side: probes, and its metrics. Gauges are read from caches at the scrape, so that a model's series go away
// with the model.
import type { RequestListener } from 'node:http';
import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import type { Catalog } from '../api/catalog.ts';
import { CONDITION_TYPES } from '../api/conditions.ts';
import { modelKey } from '../api/names.ts';
import type { EmbeddingModel } from '../api/types.ts';
import { createApp, probeRoutes } from '../common/http/app.ts';
import type { Log } from '../common/obs/log.ts';
import { metricsHandler, ReadGauge } from '../common/obs/metrics.ts';
import { OpenAIError } from '../common/openai/errors.ts';
import type { AnsweredCall } from '../kube/rest.ts';
import type { RouterState } from './autoscaler/demand.ts';
import type { StartStage } from './starts.ts';

export interface OperatorState {
  readonly leading: () => boolean;
  /** Those that it manages. */
  readonly models: () => readonly EmbeddingModel[];
  /** How many are left to other releases. */
  readonly elsewhere: () => number;
  /** Asked for, by the model's key. */
  readonly replicas: (key: string) => number | undefined;
  readonly routers: () => readonly RouterState[];
  readonly catalog: () => Catalog | undefined;
  readonly isCatalogRefused: () => boolean;
}

export interface OperatorMetrics {
  /** A stage of a model's start was seen, so long after the one before. */
  readonly startStage: (stage: StartStage, seconds: number) => void;
  readonly decided: (from: number, to: number) => void;
  readonly shadowed: (lines: number) => void;
}

const MODEL_LABELS = ['namespace', 'model'] as const;
const labelsOf = ({ metadata }: EmbeddingModel) => ({ namespace: metadata.namespace ?? '', model: metadata.name });

const direction = (from: number, to: number): string => {
  if (from === 0 && to > 0) return 'from_zero';
  if (to === 0) return 'to_zero';
  return to > from ? 'up' : 'down';
};

export function createOperatorMetrics(registry: Registry, state: OperatorState): OperatorMetrics {
  const registers = [registry];
  let shadowed = 0;
  const perModel = (name: string, help: string, valueOf: (model: EmbeddingModel) => number | undefined): void => {
    new ReadGauge({ name, help, registers, labelNames: MODEL_LABELS }, function* () {
      for (const model of state.models()) {
        const value = valueOf(model);
        if (value !== undefined) yield { labels: labelsOf(model), value };
      }
    });
  };
  const single = (name: string, help: string, read: () => number | undefined): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read() ?? 0);
      },
    });
  };
  perModel(
    'kubembed_model_replicas_desired',
    'Replicas asked for.',
    (model) => state.replicas(modelKey(model)) ?? model.status?.desiredReplicas,
  );
  perModel('kubembed_model_replicas_ready', 'Replicas that serve.', ({ status }) => status?.readyReplicas ?? 0);
  new ReadGauge(
    {
      name: 'kubembed_model_condition',
      help: 'Conditions of each model: 1 while True, 0 otherwise.',
      registers,
      labelNames: [...MODEL_LABELS, 'condition', 'reason'],
    },
    function* () {
      for (const model of state.models())
        for (const { type, status, reason } of model.status?.conditions ?? [])
          if (CONDITION_TYPES.includes(type))
            yield { labels: { ...labelsOf(model), condition: type, reason }, value: status === 'True' ? 1 : 0 };
    },
  );
  single('kubembed_operator_leader', '1 in the process that reconciles.', () => (state.leading() ? 1 : 0));
  single(
    'kubembed_catalog_models',
    'Models in the catalog (supported_models.txt).',
    () => state.catalog()?.entries.length,
  );
  single(
    'kubembed_catalog_invalid_lines',
    'Lines of the catalog that could not be read.',
    () => state.catalog()?.faults.length,
  );
  single('kubembed_catalog_refused', '1 while the catalog names no model and is therefore not followed.', () =>
    state.isCatalogRefused() ? 1 : 0,
  );
  single(
    'kubembed_catalog_shadowed_lines',
    'Lines of the catalog whose place an EmbeddingModel of its namespace has.',
    () => shadowed,
  );
  single(
    'kubembed_operator_models_elsewhere',
    'EmbeddingModels that another release manages and this one leaves alone.',
    state.elsewhere,
  );
  single('kubembed_operator_routers', 'Routers known to exist.', () => state.routers().length);
  single(
    'kubembed_operator_routers_unreachable',
    'Routers whose demand is unknown; while there are any, nothing is scaled down.',
    () => state.routers().filter(({ reachable }) => !reachable).length,
  );
  const decisions = new Counter({
    name: 'kubembed_scale_decisions_total',
    help: 'Changes of a replica count by the autoscaler.',
    registers,
    labelNames: ['direction'],
  });
  const stages = new Histogram({
    name: 'kubembed_cold_start_stage_seconds',
    help: 'Stages of starts from zero, each from the one before; the first from the decision.',
    registers,
    labelNames: ['stage'],
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800],
  });
  return {
    startStage: (stage, seconds) => stages.observe({ stage }, seconds),
    shadowed: (lines) => void (shadowed = lines),
    decided: (from, to) => {
      if (from !== to) decisions.inc({ direction: direction(from, to) });
    },
  };
}

/** What `kube/rest.ts` reports of each call. */
export function createApiCallMetrics(registry: Registry): (call: AnsweredCall) => void {
  const calls = new Counter({
    name: 'kubembed_api_requests_total',
    help: 'Calls to the Kubernetes API server by method and status code; code 0 is no answer.',
    registers: [registry],
    labelNames: ['method', 'code'],
  });
  const seconds = new Histogram({
    name: 'kubembed_api_request_duration_seconds',
    help: 'How long calls to the Kubernetes API server took.',
    registers: [registry],
    labelNames: ['method'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
  });
  return ({ method, status, seconds: took }) => {
    calls.inc({ method, code: String(status) });
    seconds.observe({ method }, took);
  };
}

// The application

const METRICS = '/metrics';

export interface OperatorAppDeps {
  readonly isReady: () => boolean;
  readonly registry: Registry;
  readonly log: Log;
}

export const createOperatorApp = ({ isReady, registry, log }: OperatorAppDeps): RequestListener =>
  createApp({
    log,
    quiet: ['/healthz', '/readyz', METRICS],
    routes: {
      ...probeRoutes(() => {
        if (!isReady())
          throw new OpenAIError('service_unavailable', 'The caches are not filled yet.', { retryAfterMs: 1000 });
      }),
      [METRICS]: { get: metricsHandler(registry) },
    },
  });
