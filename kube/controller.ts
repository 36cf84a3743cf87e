// Controller: workers that bring one object at a time to its desired state, again and again, whatever is thrown at them.
import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import { ApiError } from './client.ts';
import type { Environment, Log } from './clock.ts';
import type { Informer } from './informer.ts';
import { formatKey, keyOf, parseKey } from './types.ts';
import type { KubeObject, ObjectKey } from './types.ts';
import { createRateLimiter, createWorkQueue } from './workqueue.ts';
import type { Priority, WorkQueueMetrics } from './workqueue.ts';

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
  readonly metrics?: ControllerMetrics;
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
/** How long to wait for the caches at the start. */
const SYNC_TIMEOUT_MS = 120_000;

export function createController(options: ControllerOptions, environment: Environment): Controller {
  const { name, reconcile, workers = 1, deadlineMs = DEADLINE_MS, metrics } = options;
  const { clock, log } = environment;
  const queue = createWorkQueue(clock, metrics?.queue(name));
  const limiter = createRateLimiter(clock);
  const informers: Pick<Informer, 'whenSynced'>[] = [];
  let runs = 0;
  metrics?.observe(name, { depth: () => queue.depth, inProgress: queue.inProgress, now: () => clock.now() });

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
    const result = stop.aborted ? 'aborted' : after(key, settled, fields);
    metrics?.reconciled(name, result, (clock.now() - started) / 1000);
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

  function after(key: string, settled: Settled, fields: object): RunResult {
    if ('result' in settled) {
      limiter.forget(key);
      const { requeueAfterMs } = settled.result;
      if (requeueAfterMs === undefined) return 'success';
      queue.addAfter(key, requeueAfterMs);
      return 'requeue_after';
    }
    const { error } = settled;
    const delayMs = retryDelay(error, limiter.when(key));
    metrics?.retried(name);
    log.warn({ ...fields, error, delayMs, retries: limiter.retries(key) }, 'Reconcile failed');
    queue.addAfter(key, delayMs);
    return 'error';
  }

  async function waitForCaches(stop: AbortSignal): Promise<void> {
    const late = new AbortController();
    const cancel = clock.setTimeout(
      () => late.abort(new Error(`The caches of ${name} did not fill within ${SYNC_TIMEOUT_MS} ms`)),
      SYNC_TIMEOUT_MS,
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

// Metrics of queues and controllers, under the names that dashboards for client-go and controller-runtime know

type RunResult = 'success' | 'requeue_after' | 'error' | 'aborted';

/** What is read when metrics are scraped. */
export interface QueueState {
  readonly depth: () => number;
  readonly inProgress: () => readonly number[];
  readonly now: () => number;
}

export interface ControllerMetrics {
  queue(name: string): WorkQueueMetrics;
  observe(name: string, state: QueueState): void;
  retried(name: string): void;
  reconciled(name: string, result: RunResult, seconds: number): void;
}

const DECADES = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10];
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export function createControllerMetrics(registry: Registry): ControllerMetrics {
  const base = { registers: [registry] };
  const queued = { ...base, labelNames: ['name'] };
  const adds = new Counter({ ...queued, name: 'workqueue_adds_total', help: 'Keys added to the queue.' });
  const retries = new Counter({
    ...queued,
    name: 'workqueue_retries_total',
    help: 'Keys added again after a failure.',
  });
  const waited = new Histogram({
    ...queued,
    name: 'workqueue_queue_duration_seconds',
    help: 'How long keys waited before work began.',
    buckets: DECADES,
  });
  const worked = new Histogram({
    ...queued,
    name: 'workqueue_work_duration_seconds',
    help: 'How long work on a key took.',
    buckets: DECADES,
  });
  const runs = new Counter({
    ...base,
    labelNames: ['controller', 'result'],
    name: 'controller_reconcile_total',
    help: 'Runs of the reconciler by result.',
  });
  const times = new Histogram({
    ...base,
    labelNames: ['controller'],
    name: 'controller_reconcile_time_seconds',
    help: 'How long runs of the reconciler took.',
    buckets: SECONDS,
  });
  const states = new Map<string, QueueState>();
  const gauge = (name: string, help: string, read: (state: QueueState) => number): void => {
    new Gauge({
      ...queued,
      name,
      help,
      collect() {
        for (const [queue, state] of states) this.set({ name: queue }, read(state));
      },
    });
  };
  const running = ({ inProgress, now }: QueueState): readonly number[] =>
    inProgress().map((started) => (now() - started) / 1000);
  gauge('workqueue_depth', 'Keys that wait.', ({ depth }) => depth());
  gauge('workqueue_unfinished_work_seconds', 'Age of all work in progress, summed.', (state) =>
    running(state).reduce((sum, seconds) => sum + seconds, 0),
  );
  gauge('workqueue_longest_running_processor_seconds', 'Age of the oldest work in progress.', (state) =>
    Math.max(0, ...running(state)),
  );
  return {
    queue: (name) => ({
      added: () => adds.inc({ name }),
      taken: (seconds) => waited.observe({ name }, seconds),
      finished: (seconds) => worked.observe({ name }, seconds),
    }),
    observe: (name, state) => void states.set(name, state),
    retried: (name) => retries.inc({ name }),
    reconciled(controller, result, seconds) {
      runs.inc({ controller, result });
      times.observe({ controller }, seconds);
    },
  };
}
