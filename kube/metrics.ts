// Metrics of queues and controllers, under the names that dashboards for client-go and controller-runtime know.
import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import type { WorkQueueMetrics } from './workqueue.ts';

export type RunOutcome = 'success' | 'requeue_after' | 'error' | 'terminal' | 'aborted';

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
  reconciled(name: string, outcome: RunOutcome, seconds: number): void;
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
