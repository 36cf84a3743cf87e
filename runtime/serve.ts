// `serve`: listens at once, loads the model, becomes ready when the probe text passed, drains when told to stop.
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Registry } from 'prom-client';
import type { Log } from '../common/obs/log.ts';
import { openTracer } from '../common/obs/open-tracer.ts';
import type { RuntimeConfig } from './config.ts';
import type { EngineCore } from './engine/contract.ts';
import { createLifecycle, resultHeaders } from './lifecycle.ts';
import type { Lifecycle, Serving, StartTimes } from './lifecycle.ts';
import { promptsOfNames } from './model/prompts.ts';
import type { OpenedModel } from './model/snapshot.ts';
import { traceStart } from './start.ts';

/** How requests come in. */
export interface Door<E extends EngineCore> {
  /** Before the model is loaded: a taken port shows at once, and probes are answered while weights are read. */
  open(lifecycle: Lifecycle<E>): Promise<string>;
  /** Lets requests in. Rejects with `VectorCheckFailed`. */
  admit(serving: Serving<E>, stop: AbortSignal): Promise<void>;
  inFlight(): number;
  /** As that of a server. */
  drain(deadline: AbortSignal): Promise<number>;
  /** When all is over, or nothing has begun. */
  close(): Promise<void>;
}

/** What a door needs as well. */
export interface ProcessParts {
  readonly config: RuntimeConfig;
  readonly log: Log;
  readonly registry: Registry;
  readonly version: string;
  /** Seconds since 1970. */
  readonly startedAt: number;
  /** Under way already. */
  readonly opening: Promise<OpenedModel>;
}

export interface ServeDeps<E extends EngineCore> extends ProcessParts {
  /** Under way already. */
  readonly creating: Promise<E>;
  readonly door: Door<E>;
}

/** Resolves once stopped, also when that came before the model was loaded. Rejects when the model cannot be served. */
export async function serve<E extends EngineCore>(deps: ServeDeps<E>, stop: AbortSignal): Promise<void> {
  const { config, log, creating, door } = deps;
  const lifecycle = createLifecycle<E>();
  const url = await door.open(lifecycle);
  const listening = performance.now();
  log.info({ url, model: config.model }, 'Listening');
  const stopped = aborted(stop);
  const loading = load(deps, stop);
  // When the stop comes first, nobody asks any more how the loading went.
  loading.catch(() => undefined);
  const loaded = await Promise.race([loading, stopped]);
  let told: Promise<void> | undefined;
  if (loaded !== undefined) {
    const times = { listening, loaded: loaded.atMs, ready: performance.now() };
    lifecycle.becomeReady(loaded.serving, times);
    const { revision, engine } = loaded.serving;
    log.info({ revision, ...engine.info }, 'Ready');
    told = tellOfStart(deps, times, revision);
    await stopped;
  }
  log.info({ inFlight: door.inFlight(), deadlineMs: config.drainMs }, 'Draining');
  lifecycle.startDraining();
  const deadline = AbortSignal.timeout(config.drainMs);
  const cut = await door.drain(deadline);
  // Also when the stop came while it was loading: to leave with a session half made would abort the process.
  const closed = creating.then(
    async (engine) => await engine.close(deadline),
    () => undefined,
  );
  // A worker that hangs does not hold the process back: a moment beyond the deadline, at which the engine itself gives up.
  const late = aborted(deadline).then(() => sleep(500));
  await Promise.race([closed, late]);
  await Promise.all([door.close(), told]);
  if (cut > 0) log.warn({ cut }, 'Requests were cut at the deadline');
  log.info('Stopped');
}

/**
 * After a failure, as when the port turns out to be taken. To leave with a session half made would abort the process, so what loads may
 * end first; once somebody asks for the end, for no longer than requests would have got.
 */
export async function abandon<E extends EngineCore>(
  {
    config,
    creating,
    door,
  }: Pick<ServeDeps<E>, 'creating' | 'door'> & { readonly config: Pick<RuntimeConfig, 'drainMs'> },
  stop: AbortSignal,
): Promise<void> {
  const closing = creating.then(
    async (engine) => await engine.close(AbortSignal.abort()),
    () => undefined,
  );
  const late = aborted(stop).then(() => sleep(config.drainMs));
  await Promise.race([Promise.all([closing, door.close()]), late]);
}

const aborted = async (signal: AbortSignal): Promise<undefined> => {
  if (!signal.aborted) await once(signal, 'abort');
  return undefined;
};

async function load<E extends EngineCore>(
  { config, log, opening, creating, door }: ServeDeps<E>,
  stop: AbortSignal,
): Promise<{ readonly serving: Serving<E>; readonly atMs: number }> {
  const { files, description } = await opening;
  const { prompts } = description;
  const byName = promptsOfNames(prompts, config.prompts);
  const engine = await creating;
  const atMs = performance.now();
  const { pooling, declaredPooling = pooling } = engine.info;
  if (declaredPooling !== pooling) {
    log.warn({ declaredPooling, pooling }, 'The repository declares another pooling than the one in use');
  }
  const { revision } = files;
  const served = { revision, promptsOfNames: byName };
  const headers = resultHeaders(engine.info, served, config.overlongInput);
  const serving = { engine, ...served, headers, prompts };
  await door.admit(serving, stop);
  return { serving, atMs };
}

/** When all is done: nothing of it may delay the start. */
async function tellOfStart({ config, version }: ProcessParts, times: StartTimes, revision: string): Promise<void> {
  const tracer = await openTracer(config.tracing, { service: 'kubembed-runtime', version });
  if (tracer === undefined) return;
  traceStart(tracer, times, { 'gen_ai.request.model': config.model, 'kubembed.revision': revision });
  await tracer.close();
}
