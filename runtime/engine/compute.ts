// What runs tokenised texts: admission, the scheduler and the workers of a process, and how their results get back to the requests.
import { ownBlock } from '../graph/layout.ts';
import { choosePooling, declaredPooling, printPooling } from '../model/modules.ts';
import { cpuCosts, createCapacityMeter, gpuCosts, int8Costs } from '../scheduler/batching.ts';
import type { CapacityMeter, Sequence } from '../scheduler/batching.ts';
import { gatherTimes } from '../scheduler/gathering.ts';
import { createScheduler } from '../scheduler/scheduler.ts';
import type { Admission, Batch, RequestOffer, Scheduler } from '../scheduler/scheduler.ts';
import { EngineError } from './contract.ts';
import type { EngineCore, EngineInfo, EngineRun } from './contract.ts';
import { loadModel } from './load.ts';
import type { LoadedModel, Mixing, ModelOptions } from './load.ts';
import type { Pool } from './pool.ts';
import type { OpenRequest } from './requests.ts';
import { createSolo } from './solo.ts';
import type { Solo, SoloEvent } from './solo.ts';
import type { RunMessage, RunReply } from './worker.ts';

export type EngineEvent =
  { readonly kind: 'worker-died'; readonly error: Error; readonly restartInMs: number } | SoloEvent;

export interface EngineOptions extends ModelOptions {
  /** Tokens that may wait. */
  readonly maxQueueTokens: number;
  readonly onEvent?: (event: EngineEvent) => void;
}

/** A request as the runs see it: where its tokens are, and who takes its vectors. */
export type RunTarget = Pick<
  OpenRequest,
  'id' | 'encoding' | 'dimensions' | 'tokensOf' | 'skipOf' | 'complete' | 'fail'
>;

/** Takes requests and their tokens: in this thread, or by messages in that of the workers. */
export interface Compute {
  nextId(): number;
  /** Takes a request in, or says why not. Where the answer comes from another thread, it comes as the target's failure. */
  admit(target: RunTarget, offer: Omit<RequestOffer, 'id'>): EngineError | undefined;
  /** Queues tokenised texts of an admitted request; `last` says that no more will come. */
  add(id: number, sequences: readonly Sequence[], last: boolean): void;
  /** The request is answered or dead. */
  leave(id: number): void;
}

/** That of this thread, with what the process wants to know of it. */
export interface OwnCompute extends Compute, EngineCore {}

/** A CPU core is busy with a few hundred tokens; more would only make the others wait. A GPU wants thousands. */
const CPU_RUNS = { runTokens: 256, minRunTokens: 96 };
const GPU_RUNS = { runTokens: 16_384, minRunTokens: 2048 };

const COMPANIES: Readonly<Record<Mixing, (length: number) => number>> = {
  any: () => 0,
  blocks: ownBlock,
  none: (length) => length,
};

const now = (): number => performance.now();

/** Where all cores are no more than one worker has, nothing ever runs solo. */
const NEVER_SOLO: Solo = { takes: () => false, ran: () => undefined, reset: () => undefined };

type Loaded = Omit<LoadedModel<unknown>, 'beside'>;

function soloFor({ pool, topology }: Loaded, onEvent: (event: SoloEvent) => void): Solo {
  const { soloThreads, threadsPerWorker } = topology;
  if (soloThreads === undefined) return NEVER_SOLO;
  return createSolo({ pool, threads: { solo: soloThreads, shared: threadsPerWorker }, now, onEvent });
}

type RunOptions = Pick<EngineOptions, 'description' | 'device' | 'maxQueueTokens'>;

function schedulerFor(
  { description, device, maxQueueTokens }: RunOptions,
  loaded: Loaded,
  solo: Solo,
  capacity: CapacityMeter,
): Scheduler {
  const costs = device === 'gpu' ? gpuCosts : loaded.precision === 'int8' ? int8Costs : cpuCosts;
  const cost = costs(description.hiddenSize);
  return createScheduler({
    ...(device === 'gpu' ? GPU_RUNS : CPU_RUNS),
    // On a GPU a run of many tokens takes as long as one of few, and says nothing of a token.
    gatherTimes: () => gatherTimes(cost, device === 'gpu' ? 0 : capacity.msPerToken()),
    workers: loaded.topology.workers,
    maxQueueTokens,
    smallShare: 0.125,
    smallRequestInputs: 8,
    bulkShare: 0.25,
    takesSolo: solo.takes,
    aloneMs: 100,
    gatherMs: 2,
    companyOf: COMPANIES[loaded.mixing],
    cost,
  });
}

const infoOf = (options: EngineOptions, { pool, topology, precision }: Loaded): EngineInfo => ({
  dimensions: pool.dimensions,
  maxTokens: options.description.maxTokens,
  vocabularySize: options.description.vocabularySize,
  pooling: printPooling(choosePooling(options.description, options.pooling)),
  declaredPooling: declaredPooling(options.description),
  precision,
  architecture: options.description.architecture,
  workers: topology.workers,
  threadsPerWorker: topology.threadsPerWorker,
});

function refusal(admission: Exclude<Admission, 'admitted'>, tokens: number, maxQueueTokens: number): EngineError {
  const details = { tokens, maxQueueTokens };
  return admission === 'queue_full'
    ? new EngineError('queue_full', `The queue of ${maxQueueTokens} tokens is full; try again.`, details)
    : new EngineError(
        'too_large',
        `The request holds about ${tokens} tokens; the queue takes at most ${maxQueueTokens}. Send it in parts.`,
        details,
      );
}

const shuttingDown = (): EngineError => new EngineError('draining', 'The runtime is shutting down.');

/** Loads the model, and something beside it meanwhile. Rejects with EngineStartError. */
export async function openCompute<T>(
  options: EngineOptions,
  loadBeside: () => Promise<T>,
): Promise<{ readonly compute: OwnCompute; readonly beside: T }> {
  const loaded = await loadModel(options, loadBeside);
  return { compute: computeOn(loaded, infoOf(options, loaded), options), beside: loaded.beside };
}

export function computeOn(
  loaded: Loaded,
  info: EngineInfo,
  options: RunOptions & Pick<EngineOptions, 'onEvent'>,
): OwnCompute {
  const { onEvent = () => undefined, maxQueueTokens } = options;
  const { pool } = loaded;
  const solo = soloFor(loaded, onEvent);
  const capacity = createCapacityMeter(info.workers);
  for (const { tokens, ms } of loaded.trials) capacity.ran(tokens, ms);
  const scheduler = schedulerFor(options, loaded, solo, capacity);
  const requests = new Map<number, RunTarget>();
  const counters = { computedTokens: 0, paddedTokens: 0, batches: 0 };
  let onRun: (run: EngineRun) => void = () => undefined;

  function count(batch: Batch, { paddedTokens, inferMs, serializeMs }: RunReply): void {
    counters.computedTokens += batch.tokens;
    counters.paddedTokens += paddedTokens;
    counters.batches++;
    // A run on all cores says nothing of several workers side by side.
    if (!batch.solo) capacity.ran(batch.tokens, inferMs + serializeMs);
    onRun({ inputs: batch.sequences.length, tokens: batch.tokens });
  }

  const wake = createDispatcher({ scheduler, pool, requests, now, onEnd: solo.ran, onResults: count });
  pool.watch({
    onIdle: wake,
    onCrash: (error, restartInMs, worker) => {
      if (worker === 0) solo.reset();
      onEvent({ kind: 'worker-died', error, restartInMs });
    },
  });
  let lastId = 0;
  let draining = false;
  let onEmpty = (): void => undefined;

  async function close(signal: AbortSignal): Promise<void> {
    draining = true;
    if (requests.size > 0 && !signal.aborted) {
      await new Promise<void>((resolve) => {
        onEmpty = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
    for (const target of requests.values()) target.fail(shuttingDown());
    await pool.close();
  }

  return {
    info,
    nextId: () => lastId++,
    admit(target, offer) {
      if (draining) return shuttingDown();
      const admission = scheduler.admit({ ...offer, id: target.id }, now());
      if (admission !== 'admitted') return refusal(admission, offer.tokens, maxQueueTokens);
      requests.set(target.id, target);
      return undefined;
    },
    add(id, sequences, last) {
      scheduler.add(id, sequences, last);
      wake();
    },
    leave(id) {
      requests.delete(id);
      scheduler.leave(id, now());
      // Others may have waited for its tokens.
      wake();
      if (requests.size === 0) onEmpty();
    },
    watchRuns: (listener) => void (onRun = listener),
    close,
    stats: () => ({
      ...scheduler.stats(),
      ...counters,
      capacityTokensPerSecond: capacity.tokensPerSecond(),
      workerRestarts: pool.restarts(),
    }),
  };
}

// Batches from the scheduler to the workers, and their results back to the requests.

export interface DispatcherDeps {
  readonly scheduler: Scheduler;
  readonly pool: Pick<Pool, 'idle' | 'run'>;
  readonly requests: ReadonlyMap<number, RunTarget>;
  readonly now: () => number;
  /** A run has ended, without its time where it failed; its worker is idle, and has not been given another. */
  readonly onEnd: (batch: Batch, inferMs: number | undefined) => void;
  /** Its results are with their requests. */
  readonly onResults: (batch: Batch, reply: RunReply) => void;
}

type Targets = readonly (RunTarget | undefined)[];

/** Requests that are gone get room in the message all the same: the batch is formed, and counted. */
function messageOf({ tokens, sequences }: Batch, targets: Targets): RunMessage {
  const ids = new Int32Array(tokens);
  let start = 0;
  for (const [order, { index, length }] of sequences.entries()) {
    const found = targets[order]?.tokensOf(index);
    if (found) ids.set(found, start);
    start += length;
  }
  return {
    ids,
    lengths: Int32Array.from(sequences, ({ length }) => length),
    encodings: targets.map((target) => target?.encoding ?? 'base64'),
    dimensions: Int32Array.from(targets, (target) => target?.dimensions ?? 0),
    skips: Int32Array.from(sequences, ({ index }, order) => targets[order]?.skipOf(index) ?? 0),
  };
}

function deliver(batch: Batch, targets: Targets, startedMs: number, reply: RunReply): void {
  let start = 0;
  for (const [order, { index }] of batch.sequences.entries()) {
    const end = reply.ends[order] ?? start;
    targets[order]?.complete(index, reply.bytes.subarray(start, end), startedMs, reply);
    start = end;
  }
}

const tokensIn = (sequences: readonly Sequence[]): number => sequences.reduce((sum, { length }) => sum + length, 0);

/**
 * The parts of a run that failed, to be run again: by halves of its requests, or each by itself where the run has cost a
 * worker. One of the requests is to blame, and the others shall not fail with it. None for a run of one request.
 */
function takeApart({ sequences }: Batch, hasCostWorker: boolean): Batch[] {
  const byRequest = [...Map.groupBy(sequences, ({ request }) => request).values()];
  if (byRequest.length < 2) return [];
  const half = Math.ceil(byRequest.length / 2);
  const parts = hasCostWorker ? byRequest : [byRequest.slice(0, half).flat(), byRequest.slice(half).flat()];
  return parts.map((part) => ({ alone: false, solo: false, sequences: part, tokens: tokensIn(part) }));
}

/** Returns what gives idle workers all that waits, once this turn of the event loop has brought in all it has. */
export function createDispatcher(deps: DispatcherDeps): () => void {
  const { scheduler, pool, requests, now: clock } = deps;
  /** Parts of failed runs: they have waited already. */
  const again: Batch[] = [];
  let waking = false;
  let later: NodeJS.Timeout | undefined;

  async function run(batch: Batch): Promise<void> {
    const startedMs = clock();
    const targets = batch.sequences.map(({ request }) => requests.get(request));
    const running = pool.run(messageOf(batch, targets), batch.solo ? 'first' : 'last');
    let parts: Batch[] = [];
    const reply = await running.catch((error: unknown) => {
      parts = takeApart(batch, error instanceof EngineError && error.details.isWorkerLost === true);
      again.push(...parts);
      if (parts.length === 0) for (const target of new Set(targets)) target?.fail(error);
      return undefined;
    });
    // Its parts are still running, as far as the scheduler is concerned.
    if (parts.length === 0) scheduler.finished(batch);
    deps.onEnd(batch, reply?.inferMs);
    // To answer the clients of a run takes milliseconds, in which its worker would rest. Where little waits, what they ask next is worth waiting for.
    if (scheduler.isDeep()) dispatch();
    if (reply !== undefined) {
      deliver(batch, targets, startedMs, reply);
      deps.onResults(batch, reply);
    }
    wake();
  }

  /** Without what nobody waits for any more: that one may be the one to blame. */
  function nextAgain(): Batch | undefined {
    for (let part = again.shift(); part !== undefined; part = again.shift()) {
      if (part.sequences.some(({ request }) => requests.has(request))) return part;
      scheduler.finished(part);
    }
    return undefined;
  }

  function dispatch(): void {
    waking = false;
    clearTimeout(later);
    for (let idle = pool.idle(); idle > 0; idle--) {
      const batch = nextAgain() ?? scheduler.next(idle, clock());
      if (!batch) break;
      void run(batch);
    }
    // Without an idle worker there was no look at what waits, and the last answer is of the past.
    const until = pool.idle() > 0 ? scheduler.waitUntil() : undefined;
    if (until !== undefined) later = setTimeout(wake, Math.max(0, Math.ceil(until - clock())));
  }

  function wake(): void {
    if (waking) return;
    waking = true;
    setImmediate(dispatch);
  }

  return wake;
}
