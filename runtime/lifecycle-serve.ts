// `serve`: listens at once, loads the model, becomes ready when the probe text passed, drains when told to stop.
import type { Registry } from 'prom-client';
import { createEmbeddingsParser } from '../common/http/embeddings-parser.ts';
import { startServer } from '../common/http/server.ts';
import type { Log } from '../common/obs/log.ts';
import { startTracing } from '../common/obs/tracing.ts';
import { createRuntimeApp } from './app.ts';
import type { RuntimeConfig } from './config.ts';
import type { Engine } from './engine/types.ts';
import { createLifecycle } from './lifecycle.ts';
import type { OpenedModel } from './lifecycle-model.ts';
import { checkVector } from './lifecycle-probe.ts';

export interface ServeDeps {
  readonly config: RuntimeConfig;
  readonly log: Log;
  readonly registry: Registry;
  readonly version: string;
  /** Seconds since 1970. */
  readonly startedAt: number;
  readonly openModel: (config: RuntimeConfig) => Promise<OpenedModel>;
  readonly createEngine: (opened: OpenedModel) => Promise<Engine>;
}

/** Resolves once stopped, also when that came before the model was loaded. Rejects when the model cannot be served. */
export async function serve(deps: ServeDeps, stop: AbortSignal): Promise<void> {
  const { config, log } = deps;
  const lifecycle = createLifecycle();
  const parser = createEmbeddingsParser();
  const tracer = await startTracing(config.tracing, { service: 'kubembed-runtime', version: deps.version });
  const handler = createRuntimeApp({ ...deps, lifecycle, parser, tracer });
  // Before the model is loaded: a taken port shows at once, and probes are answered while weights are read.
  const server = await startServer({ host: config.host, port: config.port, handler });
  log.info({ url: server.url, model: config.model }, 'Listening');
  const stopped = new Promise<'stopped'>((resolve) => {
    if (stop.aborted) resolve('stopped');
    stop.addEventListener('abort', () => resolve('stopped'), { once: true });
  });
  const opening = open(deps);
  const loading = opening.then(async (loaded) => {
    await checkVector(loaded.engine, stop);
    return loaded;
  });
  // When the stop comes first, nobody asks any more how the loading went.
  loading.catch(() => undefined);
  const loaded = await Promise.race([loading, stopped]);
  if (loaded !== 'stopped') {
    lifecycle.becomeReady(loaded);
    log.info({ revision: loaded.revision, ...loaded.engine.info }, 'Ready');
    await stopped;
  }
  log.info({ inFlight: server.inFlight(), deadlineMs: config.drainMs }, 'Draining');
  lifecycle.startDraining();
  const deadline = AbortSignal.timeout(config.drainMs);
  const cut = await server.drain(deadline);
  // Also when the stop came while it was loading: to leave with a session half made would abort the process.
  const closed = opening.then(
    async ({ engine }) => await engine.close(deadline),
    () => undefined,
  );
  await within(deadline, closed);
  await Promise.all([parser.close(), tracer?.close()]);
  if (cut > 0) log.warn({ cut }, 'Requests were cut at the deadline');
  log.info('Stopped');
}

async function open({ config, log, openModel, createEngine }: ServeDeps) {
  const opened = await openModel(config);
  const { declaredPooling } = opened.description;
  if (declaredPooling !== undefined && declaredPooling !== config.pooling) {
    log.warn(
      { declaredPooling, pooling: config.pooling },
      'The repository declares another pooling than the one asked for',
    );
  }
  const engine = await createEngine(opened);
  return { engine, revision: opened.files.revision };
}

/** A worker that hangs does not hold the process back. */
async function within(deadline: AbortSignal, work: Promise<void>): Promise<void> {
  const late = new Promise<void>((resolve) => {
    // A moment beyond the deadline, at which the engine itself gives up.
    deadline.addEventListener('abort', () => setTimeout(resolve, 500), { once: true });
    if (deadline.aborted) setTimeout(resolve, 500);
  });
  await Promise.race([work, late]);
}
