// `serve`: listens at once, loads the model, becomes ready when the probe text passed, drains when told to stop.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Registry } from 'prom-client';
import { createEmbeddingsParser } from '../common/http/embeddings-parser.ts';
import { startServer } from '../common/http/server.ts';
import type { Log } from '../common/obs/log.ts';
import type { RuntimeConfig } from './config.ts';
import type { Engine } from './engine/contract.ts';
import type { OpenedModel } from './model/snapshot.ts';
import { checkVector, createLifecycle } from './lifecycle.ts';
import type { Serving } from './lifecycle.ts';
import { createRuntimeApp } from './routes.ts';

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
  // Before the model is loaded: a taken port shows at once, and probes are answered while weights are read.
  const server = await startServer({ host: config.host, port: config.port, handler });
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
  const { description, files } = await opening;
  const { declaredPooling } = description;
  if (declaredPooling !== undefined && declaredPooling !== config.pooling) {
    log.warn(
      { declaredPooling, pooling: config.pooling },
      'The repository declares another pooling than the one asked for',
    );
  }
  const engine = await creating;
  await checkVector(engine, stop);
  return { engine, revision: files.revision };
}
