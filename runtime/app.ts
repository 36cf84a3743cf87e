// The runtime's HTTP application: its routes over a lifecycle, ready to be listened with.
import type { RequestListener } from 'node:http';
import type { Registry } from 'prom-client';
import { createApp, probeRoutes, wildcardOf } from '../common/http/app.ts';
import type { Handler, Routes } from '../common/http/app.ts';
import { createBodyReader } from '../common/http/body.ts';
import { docsRoutes } from '../common/http/docs.ts';
import type { EmbeddingsParser } from '../common/http/embeddings-parser.ts';
import { sendJson } from '../common/http/exchange.ts';
import { createMemoryBudget } from '../common/http/memory.ts';
import type { HeldRows } from '../common/http/memory.ts';
import type { Log } from '../common/obs/log.ts';
import { metricsHandler } from '../common/obs/metrics.ts';
import type { Tracer } from '../common/obs/tracing.ts';
import { openApiDocument } from '../common/openai/document.ts';
import { modelNotFound } from '../common/openai/errors.ts';
import { modelList, modelObject, printPoolingInUse } from '../common/openai/response.ts';
import type { ModelEntry } from '../common/openai/response.ts';
import { collectAtRest } from '../common/util/rest.ts';
import type { RuntimeConfig } from './config.ts';
import { embeddingsRoute } from './embeddings.ts';
import type { Embedder } from './engine/contract.ts';
import type { Lifecycle } from './lifecycle.ts';
import { createRuntimeMetrics } from './metrics.ts';
import type { RequestMetrics } from './metrics.ts';

type AppConfig = Pick<RuntimeConfig, 'model' | 'overlongInput' | 'maxBodyBytes'>;

/** What a route says of the whole process, whichever thread has the request. */
export interface WholeProcess {
  readonly requireAlive?: () => Promise<void>;
  readonly requireReady: () => void | Promise<void>;
  readonly metricsPage: Handler;
}

export interface RoutesDeps {
  readonly config: AppConfig;
  readonly lifecycle: Pick<Lifecycle<Embedder>, 'serving' | 'requireServing'>;
  readonly parser: EmbeddingsParser;
  readonly log: Log;
  readonly tracer?: Tracer | undefined;
  readonly metrics: RequestMetrics;
  /** Absent: this thread holds all that the process holds. */
  readonly held?: HeldRows | undefined;
  readonly whole: WholeProcess;
  /** The package's. */
  readonly version: string;
  /** Seconds since 1970. */
  readonly startedAt: number;
}

/** What is held for clients at once, in bodies of the largest size. */
const BODIES_AT_ONCE = 4;

export function createRoutedApp(deps: RoutesDeps): RequestListener {
  const { config, lifecycle, parser, log, tracer, metrics, held, whole, version, startedAt } = deps;
  const { model, overlongInput, maxBodyBytes } = config;
  const bodies = createBodyReader({ maxBytes: maxBodyBytes });
  const memory = createMemoryBudget(maxBodyBytes * BODIES_AT_ONCE, held);
  collectAtRest(memory);
  const embeddings = embeddingsRoute({ model, overlongInput, lifecycle, bodies, parser, metrics });
  return createApp({
    log,
    tracer,
    quiet: ['/healthz', '/readyz', '/health', '/metrics'],
    onFinish: metrics.finished,
    memory,
    routes: {
      '/v1/embeddings': { post: embeddings },
      '/embeddings': { post: embeddings },
      ...modelsRoutes(model, startedAt, lifecycle),
      ...probeRoutes(whole.requireReady, whole.requireAlive),
      '/metrics': { get: whole.metricsPage },
      ...docsRoutes(openApiDocument(version, { model })),
    },
  });
}

export interface AppDeps extends Pick<RoutesDeps, 'parser' | 'log' | 'tracer' | 'version' | 'startedAt'> {
  readonly config: AppConfig & Pick<RuntimeConfig, 'device'>;
  readonly lifecycle: Lifecycle;
  readonly registry: Registry;
}

/** That of a process whose one thread takes all requests. */
export function createRuntimeApp(deps: AppDeps): RequestListener {
  const { config, lifecycle, registry } = deps;
  return createRoutedApp({
    ...deps,
    metrics: createRuntimeMetrics(registry, lifecycle, config),
    whole: { requireReady: () => void lifecycle.requireServing(), metricsPage: metricsHandler(registry) },
  });
}

/** The one model of this process. */
function modelsRoutes(model: string, created: number, lifecycle: RoutesDeps['lifecycle']): Routes {
  const entry = (): ModelEntry => {
    const serving = lifecycle.serving();
    if (serving === undefined) return { id: model, created };
    const { dimensions, maxTokens, precision, ...info } = serving.engine.info;
    const pooling = printPoolingInUse(info.pooling, info.declaredPooling);
    const details = { revision: serving.revision, dimensions, max_tokens: maxTokens, pooling, precision };
    return { id: model, created, details };
  };
  const list: Routes[string] = { get: (_request, response) => sendJson(response, 200, modelList([entry()])) };
  const show: Routes[string] = {
    get: (request, response) => {
      const id = wildcardOf(request, 'model');
      if (id !== model) throw modelNotFound(id);
      sendJson(response, 200, modelObject(entry()));
    },
  };
  return { '/v1/models': list, '/models': list, '/v1/models/{*model}': show, '/models/{*model}': show };
}
