// `serve`: listens at once, loads the model, becomes ready when the probe text passed, drains when told to stop.
import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Registry } from 'prom-client';
import { createApp, probeRoutes, wildcardOf } from '../common/http/app.ts';
import type { Routes } from '../common/http/app.ts';
import { createBodyReader } from '../common/http/body.ts';
import { docsRoutes } from '../common/http/docs.ts';
import { createEmbeddingsParser } from '../common/http/embeddings-parser.ts';
import type { EmbeddingsParser } from '../common/http/embeddings-parser.ts';
import { sendJson } from '../common/http/exchange.ts';
import { createMemoryBudget } from '../common/http/memory.ts';
import { startServer } from '../common/http/server.ts';
import type { Log } from '../common/obs/log.ts';
import { metricsHandler } from '../common/obs/metrics.ts';
import type { Tracer } from '../common/obs/tracing.ts';
import { collectAtRest } from '../common/util/rest.ts';
import { openApiDocument } from '../common/openai/document.ts';
import { modelNotFound } from '../common/openai/errors.ts';
import { modelList, modelObject, printPoolingInUse } from '../common/openai/response.ts';
import type { ModelEntry } from '../common/openai/response.ts';
import type { RuntimeConfig } from './config.ts';
import { embeddingsRoute } from './embeddings.ts';
import type { Engine } from './engine/contract.ts';
import { checkVector, createLifecycle, resultHeaders } from './lifecycle.ts';
import type { Serving, Lifecycle } from './lifecycle.ts';
import { createRuntimeMetrics } from './metrics.ts';
import { promptsOfNames } from './model/prompts.ts';
import type { OpenedModel } from './model/snapshot.ts';

export interface ServeDeps {
  readonly config: RuntimeConfig;
  readonly log: Log;
  readonly registry: Registry;
  readonly version: string;
  /** Seconds since 1970. */
  readonly startedAt: number;
  /** Both are under way already. */
  readonly opening: Promise<OpenedModel>;
  readonly creating: Promise<Engine>;
}

/** Resolves once stopped, also when that came before the model was loaded. Rejects when the model cannot be served. */
export async function serve(deps: ServeDeps, stop: AbortSignal): Promise<void> {
  const { config, log } = deps;
  const lifecycle = createLifecycle();
  const parser = createEmbeddingsParser();
  // Who does not trace does not load the SDK.
  const tracer =
    config.tracing &&
    (await import('../common/obs/tracer.ts')).createTracer(config.tracing, {
      service: 'kubembed-runtime',
      version: deps.version,
    });
  const handler = createRuntimeApp({ ...deps, lifecycle, parser, tracer });
  const limits = { maxConnections: config.maxConnections };
  // Before the model is loaded: a taken port shows at once, and probes are answered while weights are read.
  const server = await startServer({ host: config.host, port: config.port, handler, limits });
  log.info({ url: server.url, model: config.model }, 'Listening');
  const stopped = aborted(stop);
  const loading = load(deps, stop);
  // When the stop comes first, nobody asks any more how the loading went.
  loading.catch(() => undefined);
  const loaded = await Promise.race([loading, stopped]);
  if (loaded !== undefined) {
    lifecycle.becomeReady(loaded);
    log.info({ revision: loaded.revision, ...loaded.engine.info }, 'Ready');
    await stopped;
  }
  log.info({ inFlight: server.inFlight(), deadlineMs: config.drainMs }, 'Draining');
  lifecycle.startDraining();
  const deadline = AbortSignal.timeout(config.drainMs);
  const cut = await server.drain(deadline);
  // Also when the stop came while it was loading: to leave with a session half made would abort the process.
  const closed = deps.creating.then(
    async (engine) => await engine.close(deadline),
    () => undefined,
  );
  // A worker that hangs does not hold the process back: a moment beyond the deadline, at which the engine itself gives up.
  const late = aborted(deadline).then(() => sleep(500));
  await Promise.race([closed, late]);
  await Promise.all([parser.close(), tracer?.close()]);
  if (cut > 0) log.warn({ cut }, 'Requests were cut at the deadline');
  log.info('Stopped');
}

const aborted = async (signal: AbortSignal): Promise<undefined> => {
  if (!signal.aborted) await once(signal, 'abort');
  return undefined;
};

async function load({ config, log, opening, creating }: ServeDeps, stop: AbortSignal): Promise<Serving> {
  const { files, description } = await opening;
  const { prompts } = description;
  const byName = promptsOfNames(prompts, config.prompts);
  const engine = await creating;
  const { pooling, declaredPooling = pooling } = engine.info;
  if (declaredPooling !== pooling) {
    log.warn({ declaredPooling, pooling }, 'The repository declares another pooling than the one in use');
  }
  await checkVector(engine, stop);
  const { revision } = files;
  const served = { revision, promptsOfNames: byName };
  return { engine, ...served, headers: resultHeaders(engine.info, served, config.overlongInput), prompts };
}

// The runtime's HTTP application: its routes over a lifecycle, ready to be listened with.

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

/** What is held for clients at once, in bodies of the largest size. */
const BODIES_AT_ONCE = 4;

export function createRuntimeApp(deps: AppDeps): RequestListener {
  const { config, lifecycle, parser, registry, log, tracer, version, startedAt } = deps;
  const { model, device, overlongInput, maxBodyBytes } = config;
  const metrics = createRuntimeMetrics(registry, lifecycle, { model, device });
  const bodies = createBodyReader({ maxBytes: maxBodyBytes });
  const memory = createMemoryBudget(maxBodyBytes * BODIES_AT_ONCE);
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
      ...probeRoutes(lifecycle.requireServing),
      '/metrics': { get: metricsHandler(registry) },
      ...docsRoutes(openApiDocument(version, { model })),
    },
  });
}

/** The one model of this process. */
function modelsRoutes(model: string, created: number, lifecycle: Lifecycle): Routes {
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
