// The runtime's HTTP application: routes over a lifecycle, ready to be listened with.
import type { Express } from 'express';
import type { Registry } from 'prom-client';
import { createApp } from '../common/http/app.ts';
import { createBodyReader } from '../common/http/body.ts';
import { docsRoutes } from '../common/http/docs.ts';
import type { EmbeddingsParser } from '../common/http/embeddings-parser.ts';
import type { Log } from '../common/obs/log.ts';
import { metricsHandler } from '../common/obs/metrics.ts';
import type { Tracer } from '../common/obs/tracing.ts';
import { openApiDocument } from '../common/openai/document.ts';
import { createRuntimeMetrics } from './app-metrics.ts';
import type { RuntimeConfig } from './config.ts';
import type { Lifecycle } from './lifecycle.ts';
import { embeddingsRoute } from './routes/embeddings.ts';
import { healthHandler, readyHandler } from './routes/health.ts';
import { modelHandler, modelsHandler } from './routes/models.ts';

export interface AppDeps {
  readonly config: Pick<RuntimeConfig, 'model' | 'device' | 'overlongInput' | 'maxBodyBytes'>;
  readonly lifecycle: Lifecycle;
  readonly parser: EmbeddingsParser;
  readonly registry: Registry;
  readonly log: Log;
  readonly tracer?: Tracer | undefined;
  /** The package's. */
  readonly version: string;
  /** Seconds since 1970. */
  readonly startedAt: number;
}

/** Bodies of this many times the limit may be held at once. */
const BODIES_AT_ONCE = 4;

export function createRuntimeApp(deps: AppDeps): Express {
  const { config, lifecycle, parser, registry, log, tracer, version, startedAt } = deps;
  const { model, device, overlongInput, maxBodyBytes } = config;
  const metrics = createRuntimeMetrics(registry, lifecycle, { model, device });
  const bodies = createBodyReader({ maxBytes: maxBodyBytes, maxTotalBytes: maxBodyBytes * BODIES_AT_ONCE });
  const embeddings = embeddingsRoute({ model, overlongInput, lifecycle, bodies, parser, metrics });
  const models = { model, created: startedAt, lifecycle };
  return createApp({
    log,
    tracer,
    quiet: ['/healthz', '/readyz', '/metrics'],
    onFinish: metrics.finished,
    routes: {
      '/v1/embeddings': { post: embeddings },
      '/embeddings': { post: embeddings },
      '/v1/models': { get: modelsHandler(models) },
      '/v1/models/{*model}': { get: modelHandler(models) },
      '/healthz': { get: healthHandler },
      '/readyz': { get: readyHandler(lifecycle) },
      '/metrics': { get: metricsHandler(registry) },
      ...docsRoutes(openApiDocument(version)),
    },
  });
}
