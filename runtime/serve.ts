// `serve`: listens at once, loads the model, becomes ready when the probe text passed, drains when told to stop.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Registry } from 'prom-client';
import type { Log } from '../common/obs/log.ts';
import type { RuntimeConfig } from './config.ts';
import type { EngineCore } from './engine/contract.ts';
import { createLifecycle, resultHeaders } from './lifecycle.ts';
import type { Lifecycle, Serving } from './lifecycle.ts';
import { promptsOfNames } from './model/prompts.ts';
import type { OpenedModel } from './model/snapshot.ts';

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
  log.info({ url, model: config.model }, 'Listening');
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
  await door.close();
  if (cut > 0) log.warn({ cut }, 'Requests were cut at the deadline');
  log.info('Stopped');
}

const aborted = async (signal: AbortSignal): Promise<undefined> => {
  if (!signal.aborted) await once(signal, 'abort');
  return undefined;
};

async function load<E extends EngineCore>(
  { config, log, opening, creating, door }: ServeDeps<E>,
  stop: AbortSignal,
): Promise<Serving<E>> {
  const { files, description } = await opening;
  const { prompts } = description;
  const byName = promptsOfNames(prompts, config.prompts);
  const engine = await creating;
  const { pooling, declaredPooling = pooling } = engine.info;
  if (declaredPooling !== pooling) {
    log.warn({ declaredPooling, pooling }, 'The repository declares another pooling than the one in use');
  }
  const { revision } = files;
  const served = { revision, promptsOfNames: byName };
  const headers = resultHeaders(engine.info, served, config.overlongInput);
  const serving = { engine, ...served, headers, prompts };
  await door.admit(serving, stop);
  return serving;
}
