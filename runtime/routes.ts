// The runtime's HTTP application: its routes over a lifecycle, ready to be listened with.
import type { Express } from 'express';
import type { Registry } from 'prom-client';
import { createApp, probeRoutes, wildcardOf } from '../common/http/app.ts';
import type { Routes } from '../common/http/app.ts';
import { createBodyReader } from '../common/http/body.ts';
import { docsRoutes } from '../common/http/docs.ts';
import type { EmbeddingsParser } from '../common/http/embeddings-parser.ts';
import { sendJson } from '../common/http/reply.ts';
import type { Log } from '../common/obs/log.ts';
import { metricsHandler } from '../common/obs/metrics.ts';
import type { Tracer } from '../common/obs/tracing.ts';
import { openApiDocument } from '../common/openai/document.ts';
import { modelNotFound } from '../common/openai/errors.ts';
import { modelList, modelObject } from '../common/openai/response.ts';
import type { ModelEntry } from '../common/openai/response.ts';
import type { RuntimeConfig } from './config.ts';
import { embeddingsRoute } from './embeddings.ts';
import type { Lifecycle } from './lifecycle.ts';
import { createRuntimeMetrics } from './metrics.ts';

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
  return createApp({
    log,
    tracer,
    quiet: ['/healthz', '/readyz', '/metrics'],
    onFinish: metrics.finished,
    routes: {
      '/v1/embeddings': { post: embeddings },
      '/embeddings': { post: embeddings },
      ...modelsRoutes(model, startedAt, lifecycle),
      ...probeRoutes(lifecycle.requireServing),
      '/metrics': { get: metricsHandler(registry) },
      ...docsRoutes(openApiDocument(version)),
    },
  });
}

/** The one model of this process. */
function modelsRoutes(model: string, created: number, lifecycle: Lifecycle): Routes {
  const entry = (): ModelEntry => {
    const serving = lifecycle.serving();
    if (serving === undefined) return { id: model, created };
    const { dimensions, maxTokens, pooling, precision } = serving.engine.info;
    const details = { revision: serving.revision, dimensions, max_tokens: maxTokens, pooling, precision };
    return { id: model, created, details };
  };
  return {
    '/v1/models': { get: (_request, response) => sendJson(response, 200, modelList([entry()])) },
    '/v1/models/{*model}': {
      get: (request, response) => {
        const id = wildcardOf(request, 'model');
        if (id !== model) throw modelNotFound(id);
        sendJson(response, 200, modelObject(entry()));
      },
    },
  };
}
