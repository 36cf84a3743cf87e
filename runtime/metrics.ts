// The runtime's metrics. What the engine counts is read when scraped; what only a request knows is observed as it ends.
import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import type { FinishedExchange } from '../common/http/exchange.ts';
import { DURATION_BUCKETS } from '../common/obs/metrics.ts';
import { EMBEDDING_PATHS } from '../common/openai/request.ts';
import type { EmbedResult, EngineCore, EngineInput, EngineStats } from './engine/contract.ts';
import type { Lifecycle } from './lifecycle.ts';

/** Of the requests that one thread takes. */
export interface RequestMetrics {
  readonly finished: (exchange: FinishedExchange) => void;
  embedded(inputs: readonly EngineInput[], result: EmbedResult): void;
}

export interface MetricsFacts {
  readonly model: string;
  readonly device: string;
}

/** What is served by whatever runs in this process. */
type Watched = Pick<Lifecycle<EngineCore>, 'phase' | 'serving' | 'onReady' | 'startTimes'>;

const PREFIX = 'kubembed_runtime_';

// Everything that the engine keeps count of: name, help, and how to read it.
const TOTALS: readonly [string, string, (stats: EngineStats) => number][] = [
  ['computed_tokens_total', 'Token positions computed, without padding.', ({ computedTokens }) => computedTokens],
  ['padded_tokens_total', 'Token positions computed that held padding.', ({ paddedTokens }) => paddedTokens],
  ['batches_total', 'Inference runs. Computed tokens divided by it is the mean batch size.', ({ batches }) => batches],
  ['worker_restarts_total', 'Compute threads restarted after a failure.', ({ workerRestarts }) => workerRestarts],
];
const LEVELS: readonly [string, string, (stats: EngineStats) => number][] = [
  ['queue_inputs', 'Inputs waiting for a compute thread.', ({ queuedInputs }) => queuedInputs],
  ['queue_tokens', 'Tokens waiting for a compute thread.', ({ queuedTokens }) => queuedTokens],
  ['running_tokens', 'Tokens in inference runs at the moment.', ({ runningTokens }) => runningTokens],
  [
    'capacity_tokens_per_second',
    'Tokens per second when busy, as measured; 0 until known.',
    (s) => s.capacityTokensPerSecond,
  ],
  [
    'padding_ratio',
    'Share of computed positions that held padding.',
    ({ paddedTokens, computedTokens }) => (paddedTokens === 0 ? 0 : paddedTokens / (paddedTokens + computedTokens)),
  ],
];

/** Where one thread does everything. */
export function createRuntimeMetrics(register: Registry, lifecycle: Watched, facts: MetricsFacts): RequestMetrics {
  observeProcess(register, lifecycle, facts);
  return createRequestMetrics(register);
}

/** All that is not of single requests. */
export function observeProcess(register: Registry, lifecycle: Watched, facts: MetricsFacts): void {
  const registers = [register];
  const stats = (): EngineStats | undefined => lifecycle.serving()?.engine.stats();
  observeEngine(registers, stats);
  describeModel(registers, lifecycle, facts);
  new Gauge({
    name: `${PREFIX}ready`,
    help: '1 when ready to serve requests.',
    registers,
    collect() {
      this.set(lifecycle.phase() === 'ready' ? 1 : 0);
    },
  });
  new Gauge({
    name: `${PREFIX}start_seconds`,
    help: 'Time from the beginning of the process until it listened, had its model loaded, and was ready.',
    labelNames: ['stage'],
    registers,
    collect() {
      for (const [stage, ms] of Object.entries(lifecycle.startTimes() ?? {})) this.set({ stage }, Number(ms) / 1000);
    },
  });
  observeRuns(registers, lifecycle);
}

export function createRequestMetrics(register: Registry): RequestMetrics {
  const registers = [register];
  const counter = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Counter({ name: `${PREFIX}${name}`, help, labelNames, registers });
  const histogram = <L extends string>(name: string, help: string, labelNames: L[], buckets: readonly number[]) =>
    new Histogram({ name: `${PREFIX}${name}`, help, labelNames, buckets: [...buckets], registers });

  const requests = counter('requests_total', 'Requests by route and status.', ['route', 'status']);
  const errors = counter('errors_total', 'Failed requests by reason.', ['reason']);
  const inputs = counter('inputs_total', 'Inputs embedded by kind.', ['kind']);
  const tokens = counter('tokens_total', 'Tokens of answered requests, as reported in their usage.', []);
  const truncated = counter('truncated_inputs_total', "Inputs truncated to the model's limit.", []);
  const durations = histogram('request_duration_seconds', 'Duration of embedding requests.', [], DURATION_BUCKETS);
  const stages = histogram(
    'stage_duration_seconds',
    'Duration of embedding requests by stage.',
    ['stage'],
    DURATION_BUCKETS,
  );
  const sizes = histogram(
    'request_inputs',
    'Inputs per request.',
    [],
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048],
  );

  return {
    finished: ({ exchange: { route, error }, status, seconds }) => {
      requests.inc({ route: route ?? 'unknown', status });
      if (error !== undefined || status === 499) errors.inc({ reason: error?.kind ?? 'client_closed_request' });
      if (route !== undefined && EMBEDDING_PATHS.has(route)) durations.observe(seconds);
    },
    embedded: (given, { promptTokens, truncatedInputs, stages: times }) => {
      sizes.observe(given.length);
      inputs.inc({ kind: typeof given[0] === 'string' ? 'text' : 'tokens' }, given.length);
      tokens.inc(promptTokens);
      truncated.inc(truncatedInputs);
      stages.observe({ stage: 'queue' }, times.queueMs / 1000);
      stages.observe({ stage: 'tokenize' }, times.tokenizeMs / 1000);
      stages.observe({ stage: 'infer' }, times.inferMs / 1000);
      stages.observe({ stage: 'serialize' }, times.serializeMs / 1000);
    },
  };
}

const BATCH_INPUTS = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/** The first is a short text, the last what a GPU gets at once. */
const BATCH_TOKENS = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384];

function observeRuns(registers: Registry[], lifecycle: Watched): void {
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name: `${PREFIX}${name}`, help, buckets, registers });
  const inputs = histogram('batch_inputs', 'Inputs per inference run.', BATCH_INPUTS);
  const tokens = histogram('batch_tokens', 'Tokens per inference run, without padding.', BATCH_TOKENS);
  lifecycle.onReady(({ engine }) =>
    engine.watchRuns((run) => {
      inputs.observe(run.inputs);
      tokens.observe(run.tokens);
    }),
  );
}

function observeEngine(registers: Registry[], stats: () => EngineStats | undefined): void {
  for (const [name, help, read] of TOTALS) {
    new Counter({
      name: `${PREFIX}${name}`,
      help,
      registers,
      collect() {
        const now = stats();
        this.reset();
        this.inc(now === undefined ? 0 : read(now));
      },
    });
  }
  for (const [name, help, read] of LEVELS) {
    new Gauge({
      name: `${PREFIX}${name}`,
      help,
      registers,
      collect() {
        const now = stats();
        this.set(now === undefined ? 0 : read(now));
      },
    });
  }
}

function describeModel(registers: Registry[], lifecycle: Watched, { model, device }: MetricsFacts): void {
  new Gauge({
    name: `${PREFIX}model_info`,
    help: 'The model served; always 1.',
    labelNames: [
      'model',
      'revision',
      'architecture',
      'pooling',
      'precision',
      'device',
      'workers',
      'threads',
      'dimensions',
    ],
    registers,
    collect() {
      const serving = lifecycle.serving();
      if (serving === undefined) return;
      const { architecture, pooling, precision, workers, threadsPerWorker, dimensions } = serving.engine.info;
      const { revision } = serving;
      this.set(
        { model, revision, architecture, pooling, precision, device, workers, threads: threadsPerWorker, dimensions },
        1,
      );
    },
  });
}
