// The router's two HTTP applications: the public one that clients use, and the internal one for operator and Prometheus.
// One table each says what there is, and who may ask for it: a route is for keys unless it is put among those for anybody.
import type { RequestListener } from 'node:http';
import type { Request, Response } from 'express';
import type { Registry } from 'prom-client';
import { DEMAND_PATH } from '../api/demand.ts';
import { foldName } from '../api/names.ts';
import { createApp, probeRoutes, wildcardOf } from '../common/http/app.ts';
import type { Handler, Method, Routes } from '../common/http/app.ts';
import type { HostCheck } from '../common/http/origins.ts';
import { docsRoutes } from '../common/http/docs.ts';
import type { FinishedExchange } from '../common/http/exchange.ts';
import type { MemoryBudget } from '../common/http/memory.ts';
import { exchangeOf, sendJson } from '../common/http/exchange.ts';
import type { Log } from '../common/obs/log.ts';
import { metricsHandler } from '../common/obs/metrics.ts';
import type { Tracer } from '../common/obs/tracing.ts';
import { openApiDocument } from '../common/openai/document.ts';
import { OpenAIError } from '../common/openai/errors.ts';
import { modelList, modelObject, printPoolingInUse } from '../common/openai/response.ts';
import type { ModelEntry } from '../common/openai/response.ts';
import { EMBEDDING_PATHS } from '../common/openai/request.ts';
import { keysUnread } from './auth/limits.ts';
import type { Authenticator, Caller } from './auth/limits.ts';
import type { RouterMetrics } from './metrics.ts';
import type { Model, Models } from './models/model.ts';
import type { EmbeddingsHandler } from './proxy/embeddings.ts';
import { findModel, promptOfName } from './routing/table.ts';
import type { ServedModel } from './routing/table.ts';
import type { UnknownModel } from './routing/unknown.ts';
import type { Activity } from './status/activity.ts';
import { statusDocument, statusPages, STATUS_JSON } from './status/routes.ts';
import type { StatusSources } from './status/routes.ts';

const QUIET = ['/healthz', '/readyz', '/health', '/metrics', DEMAND_PATH, STATUS_JSON];

// Probes

export interface HealthDeps {
  readonly models: Pick<Models, 'requireSynced'>;
  readonly isDraining: () => boolean;
  readonly authenticator: Pick<Authenticator, 'isReady'>;
}

/** Liveness: the process answers. Readiness: table and keys are known, and nobody asked the process to stop. */
const healthRoutes = ({ models, isDraining, authenticator }: HealthDeps): Routes =>
  probeRoutes(() => {
    if (isDraining()) {
      throw new OpenAIError('service_unavailable', 'This router is shutting down.', { retryAfterMs: 1000 });
    }
    if (!authenticator.isReady()) throw keysUnread();
    models.requireSynced();
  });

// The list of models: every name that is served.

const modelEntry = (id: string, served: ServedModel): ModelEntry => {
  const { model, names, created, embedding, revision, endpoints, blocked } = served;
  return {
    id,
    created,
    ownedBy: model.includes('/') ? model.slice(0, model.indexOf('/')) : 'kubembed',
    details: {
      root: model,
      names,
      ready_endpoints: endpoints.length,
      dimensions: embedding?.dimensions,
      max_tokens: embedding?.maxTokens,
      pooling: embedding && printPoolingInUse(embedding.pooling, embedding.declaredPooling),
      prompt: promptOfName(served, id),
      revision,
      problem: blocked && `${blocked.reason}: ${blocked.message}`,
    },
  };
};

const listModels = (models: Models, response: Response, caller: Caller): void => {
  models.requireSynced();
  const shown = [...models.table().byName].filter(([, served]) => caller.mayUse(served));
  sendJson(response, 200, modelList(shown.map(([name, served]) => modelEntry(name, served))));
};

const showModel = (
  { models, unknown }: Pick<PublicDeps, 'models' | 'unknown'>,
  id: string,
  response: Response,
  caller: Caller,
): void => {
  models.requireSynced();
  const table = models.table();
  const served = findModel(table, id);
  if (served === undefined || !caller.mayUse(served)) throw unknown(id, table, caller);
  // In the case in which it is served.
  const name = table.byName.has(id) ? id : served.names.find((one) => foldName(one) === foldName(id));
  sendJson(response, 200, modelObject(modelEntry(name ?? id, served)));
};

// The public application

export interface PublicDeps extends HealthDeps {
  readonly models: Models;
  readonly byKey: ReadonlyMap<string, Model>;
  readonly authenticator: Authenticator;
  readonly embeddings: EmbeddingsHandler;
  readonly unknown: UnknownModel;
  /** Of all that is held for clients. */
  readonly memory: MemoryBudget;
  readonly metrics: RouterMetrics;
  readonly registry: Registry;
  readonly log: Log;
  readonly tracer: Tracer | undefined;
  /** Origins whose pages may call it. */
  readonly corsOrigins: readonly string[];
  /** Undefined: whatever a request calls this router is right. */
  readonly isOwnHost: HostCheck | undefined;
  readonly version: string;
  /** Undefined: no status page. */
  readonly status: StatusSources | undefined;
}

const observe =
  ({ metrics, byKey, status }: PublicDeps) =>
  ({ exchange, status: code, seconds }: FinishedExchange): void => {
    if (exchange.route === undefined || !EMBEDDING_PATHS.has(exchange.route)) return;
    const { model: key, upstreamStatus } = exchange.facts;
    const model = typeof key === 'string' ? byKey.get(key) : undefined;
    const reason = exchange.error?.kind ?? (upstreamStatus === undefined ? undefined : `upstream_${upstreamStatus}`);
    metrics.finished({ model: model?.key, status: code, seconds, reason });
    const recorded: readonly (Activity | undefined)[] = [model?.activity, status?.activity];
    for (const activity of recorded) activity?.finished(seconds * 1000, code >= 400);
  };

type CallerHandler = (request: Request, response: Response, caller: Caller) => void | Promise<void>;
type CallerRoutes = Readonly<Record<string, Partial<Record<Method, CallerHandler>>>>;

/** Asks for the key on the route that matched, before anything of the request but its head is looked at. */
const closed = (routes: CallerRoutes, { authenticate }: Authenticator): Routes => {
  const withKey =
    (handler: CallerHandler): Handler =>
    (request, response) => {
      const caller = authenticate(request.headers);
      exchangeOf(response).facts['keyName'] = caller.keyName;
      return handler(request, response, caller);
    };
  return Object.fromEntries(
    Object.entries(routes).map(([path, handlers]) => [
      path,
      Object.fromEntries(Object.entries(handlers).map(([method, handler]) => [method, withKey(handler)])),
    ]),
  );
};

export const createPublicApp = (deps: PublicDeps): RequestListener => {
  const { authenticator, models, registry, version, status, embeddings } = deps;
  const list: CallerRoutes[string] = {
    get: (_request, response, caller) => listModels(models, response, caller),
  };
  const show: CallerRoutes[string] = {
    get: (request, response, caller) => showModel(deps, wildcardOf(request, 'model'), response, caller),
  };
  const forKeys: CallerRoutes = {
    '/v1/embeddings': { post: embeddings },
    '/embeddings': { post: embeddings },
    '/v1/models': list,
    '/models': list,
    '/v1/models/*model': show,
    '/models/*model': show,
    ...(status && { [STATUS_JSON]: { get: statusDocument(status) } }),
  };
  const forAnybody: Routes = {
    ...healthRoutes(deps),
    ...docsRoutes(openApiDocument(version, { statusPage: status !== undefined, metrics: authenticator.isOpen })),
    // It names every model: where keys are asked for, only the internal listener shows it.
    ...(authenticator.isOpen && { '/metrics': { get: metricsHandler(registry) } }),
    // The page holds nothing: what it shows it asks for, with the key it is given.
    ...(status && statusPages()),
  };
  return createApp({
    routes: { ...closed(forKeys, authenticator), ...forAnybody },
    log: deps.log,
    quiet: QUIET,
    onFinish: observe(deps),
    memory: deps.memory,
    corsOrigins: deps.corsOrigins,
    isOwnHost: deps.isOwnHost,
    tracer: deps.tracer,
  });
};

// The internal application

export interface InternalDeps extends HealthDeps {
  readonly registry: Registry;
  readonly demand: Handler;
  readonly isOwnHost: HostCheck | undefined;
  readonly log: Log;
}

export const createInternalApp = (deps: InternalDeps): RequestListener =>
  createApp({
    log: deps.log,
    quiet: QUIET,
    isOwnHost: deps.isOwnHost,
    routes: {
      [DEMAND_PATH]: { get: deps.demand },
      '/metrics': { get: metricsHandler(deps.registry) },
      ...healthRoutes(deps),
    },
  });
