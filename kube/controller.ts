// Controller: workers that bring one object at a time to its desired state, again and again, whatever is thrown at them.
import { ApiError } from './errors.ts';
import type { Informer } from './informer.ts';
import { formatKey, keyOf, parseKey } from './key.ts';
import type { Log } from './log.ts';
import type { ControllerMetrics, RunOutcome } from './metrics.ts';
import { createRateLimiter } from './ratelimiter.ts';
import type { RateLimiter } from './ratelimiter.ts';
import type { Environment } from './reflector.ts';
import type { KubeObject, ObjectKey } from './types.ts';
import { createWorkQueue } from './workqueue.ts';
import type { Priority } from './workqueue.ts';

/** A failure that trying again can't cure; the next change of the object is the next try. */
export class TerminalError extends Error {
  override readonly name = 'TerminalError';
}

export interface RunContext {
  /** Aborts at the run's deadline and when the controller stops. */
  readonly signal: AbortSignal;
  readonly log: Log;
}

export interface ReconcileResult {
  /** Look again after this long, even if nothing changes. */
  readonly requeueAfterMs?: number;
}

export type Reconcile = (key: ObjectKey, context: RunContext) => Promise<ReconcileResult>;

export interface ControllerOptions {
  readonly name: string;
  readonly reconcile: Reconcile;
  readonly workers?: number;
  /** Of one run. */
  readonly deadlineMs?: number;
  /** How long to wait for the caches at the start. */
  readonly syncTimeoutMs?: number;
  readonly metrics?: ControllerMetrics;
  readonly rateLimiter?: RateLimiter;
}

export interface Controller {
  /** Every change seen by the informer enqueues the keys that it maps to; the informer is run by the caller. */
  watch<T extends KubeObject>(informer: Informer<T>, keysOf?: (object: T) => readonly ObjectKey[]): void;
  enqueue(key: ObjectKey, priority?: Priority): void;
  enqueueAfter(key: ObjectKey, delayMs: number): void;
  /** Resolves when the signal has aborted and the last run is over; rejects if the caches do not fill in time. */
  run(signal: AbortSignal): Promise<void>;
}

const DEADLINE_MS = 60_000;
const SYNC_TIMEOUT_MS = 120_000;

export function createController(options: ControllerOptions, environment: Environment): Controller {
  const { name, reconcile, workers = 1, deadlineMs = DEADLINE_MS, syncTimeoutMs = SYNC_TIMEOUT_MS } = options;
  const { clock, log } = environment;
  const queue = createWorkQueue(clock, options.metrics?.queue(name));
  const limiter = options.rateLimiter ?? createRateLimiter(clock);
  const informers: Pick<Informer, 'whenSynced'>[] = [];
  let runs = 0;
  options.metrics?.observe(name, { depth: () => queue.depth, inProgress: queue.inProgress, now: () => clock.now() });

  async function work(stop: AbortSignal): Promise<void> {
    for (let key = await queue.take(); key !== undefined; key = await queue.take()) {
      try {
        await runOnce(key, stop);
      } finally {
        queue.done(key);
      }
    }
  }

  async function runOnce(key: string, stop: AbortSignal): Promise<void> {
    runs += 1;
    const fields = { controller: name, key, run: runs };
    const started = clock.now();
    const settled = await attempt(key, stop, withFields(log, fields));
    const outcome = stop.aborted ? 'aborted' : after(key, settled, fields);
    options.metrics?.reconciled(name, outcome, (clock.now() - started) / 1000);
  }

  async function attempt(key: string, stop: AbortSignal, runLog: Log): Promise<Settled> {
    const deadline = new AbortController();
    const cancel = clock.setTimeout(
      () => deadline.abort(new Error(`The run took longer than ${deadlineMs} ms`)),
      deadlineMs,
    );
    try {
      const signal = AbortSignal.any([stop, deadline.signal]);
      return { result: await reconcile(parseKey(key), { signal, log: runLog }) };
    } catch (error) {
      return { error };
    } finally {
      cancel();
    }
  }

  function after(key: string, settled: Settled, fields: object): RunOutcome {
    if ('result' in settled) {
      limiter.forget(key);
      const { requeueAfterMs } = settled.result;
      if (requeueAfterMs === undefined) return 'success';
      queue.addAfter(key, requeueAfterMs);
      return 'requeue_after';
    }
    const { error } = settled;
    if (error instanceof TerminalError) {
      limiter.forget(key);
      log.error({ ...fields, error }, 'Reconcile failed for good');
      return 'terminal';
    }
    const delayMs = retryDelay(error, limiter.when(key));
    options.metrics?.retried(name);
    log.warn({ ...fields, error, delayMs, retries: limiter.retries(key) }, 'Reconcile failed');
    queue.addAfter(key, delayMs);
    return 'error';
  }

  async function waitForCaches(stop: AbortSignal): Promise<void> {
    const late = new AbortController();
    const cancel = clock.setTimeout(
      () => late.abort(new Error(`The caches of ${name} did not fill within ${syncTimeoutMs} ms`)),
      syncTimeoutMs,
    );
    try {
      const signal = AbortSignal.any([stop, late.signal]);
      await Promise.all(informers.map(async (informer) => await informer.whenSynced(signal)));
    } catch (error) {
      if (!stop.aborted) throw error;
    } finally {
      cancel();
    }
  }

  return {
    watch(informer, keysOf = (object) => [keyOf(object)]) {
      informers.push(informer);
      let replayed = false;
      informer.onChange((old, next) => {
        // What was there before is no news.
        const priority = old === next || !replayed || !informer.hasSynced() ? 'resync' : 'live';
        const keys = [...(old ? keysOf(old) : []), ...(next && next !== old ? keysOf(next) : [])];
        for (const key of keys) queue.add(formatKey(key), priority);
      });
      replayed = true;
    },
    enqueue: (key, priority) => queue.add(formatKey(key), priority),
    enqueueAfter: (key, delayMs) => queue.addAfter(formatKey(key), delayMs),
    async run(signal) {
      await waitForCaches(signal);
      if (!signal.aborted) {
        signal.addEventListener('abort', () => queue.shutDown(), { once: true });
        await Promise.all(Array.from({ length: workers }, async () => await work(signal)));
      }
      queue.shutDown();
    },
  };
}

type Settled = { readonly result: ReconcileResult } | { readonly error: unknown };

/** The server knows best when it will have time. */
const retryDelay = (error: unknown, backoffMs: number): number =>
  error instanceof ApiError ? (error.retryAfterMs ?? backoffMs) : backoffMs;

/** Lets every line of a run be found by its key and number. */
function withFields(log: Log, fields: object): Log {
  const add =
    (level: keyof Log): Log['info'] =>
    (more, message) =>
      log[level]({ ...fields, ...more }, message);
  return { debug: add('debug'), info: add('info'), warn: add('warn'), error: add('error') };
}
