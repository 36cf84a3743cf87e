// The router's two HTTP applications: the public one that clients use, and the internal one for operator and Prometheus.
import type { Express } from 'express';
import type { Registry } from 'prom-client';
import { createApp } from '../common/http/app.ts';
import type { Handler } from '../common/http/app.ts';
import { docsRoutes } from '../common/http/docs.ts';
import type { FinishedExchange } from '../common/http/exchange.ts';
import type { Log } from '../common/obs/log.ts';
import { metricsHandler } from '../common/obs/metrics.ts';
import type { Tracer } from '../common/obs/tracing.ts';
import { openApiDocument } from '../common/openai/document.ts';
import { EMBEDDING_PATHS } from '../common/openai/request.ts';
import { UNKNOWN } from './metrics.ts';
import { embeddingsRoute } from './routes/embeddings.ts';
import type { EmbeddingsDeps } from './routes/embeddings.ts';
import { healthRoutes } from './routes/health.ts';
import { modelsRoutes } from './routes/models.ts';
import { STATUS_JSON, statusRoutes } from './routes/status.ts';
import type { StatusSources } from './routes/status.ts';

const QUIET = ['/healthz', '/readyz', '/metrics', '/internal/demand', STATUS_JSON];

/** Requests that outlive their model must not bring its series back. */
const observe =
  ({ metrics, table }: Pick<EmbeddingsDeps, 'metrics' | 'table'>) =>
  ({ exchange, status, seconds }: FinishedExchange): void => {
    if (exchange.route === undefined || !EMBEDDING_PATHS.has(exchange.route)) return;
    const { model, upstreamStatus } = exchange.facts;
    const reason = exchange.error?.kind ?? (upstreamStatus === undefined ? undefined : `upstream_${upstreamStatus}`);
    metrics.finished({
      model: typeof model === 'string' && table().byKey.has(model) ? model : UNKNOWN,
      status,
      seconds,
      ...(reason !== undefined && { reason }),
    });
  };

export interface PublicDeps extends EmbeddingsDeps {
  readonly log: Log;
  readonly registry: Registry;
  readonly isDraining: () => boolean;
  readonly version: string;
  readonly tracer?: Tracer | undefined;
  /** Absent: no status page. */
  readonly status?: StatusSources | undefined;
}

export const createPublicApp = (deps: PublicDeps): Express => {
  const { log, registry, version, gate, status, tracer } = deps;
  const embeddings = embeddingsRoute(deps);
  return createApp({
    log,
    quiet: QUIET,
    onFinish: observe(deps),
    tracer,
    before: gate.enter,
    routes: {
      '/v1/embeddings': { post: embeddings },
      '/embeddings': { post: embeddings },
      ...modelsRoutes(deps),
      ...healthRoutes(deps),
      '/metrics': { get: metricsHandler(registry) },
      ...docsRoutes(openApiDocument(version, { statusPage: status !== undefined })),
      ...(status && statusRoutes({ ...deps, status })),
    },
  });
};

export interface InternalDeps {
  readonly log: Log;
  readonly registry: Registry;
  readonly demand: Handler;
  readonly isSynced: () => boolean;
  readonly isDraining: () => boolean;
}

export const createInternalApp = (deps: InternalDeps): Express =>
  createApp({
    log: deps.log,
    quiet: QUIET,
    routes: {
      '/internal/demand': { get: deps.demand },
      '/metrics': { get: metricsHandler(deps.registry) },
      ...healthRoutes(deps),
    },
  });
