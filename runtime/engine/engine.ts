// The inference engine: takes requests in, has them tokenised, scheduled and run, and answers them.
import { setImmediate } from 'node:timers/promises';
import { costModelFor } from '../scheduler/cost.ts';
import { createScheduler } from '../scheduler/scheduler.ts';
import type { Admission, Batch, Piece, Scheduler } from '../scheduler/types.ts';
import { writeCalibration } from './calibration-store.ts';
import { createCapacityMeter, measureCapacity } from './capacity.ts';
import { createDispatcher } from './dispatch.ts';
import { EngineError } from './errors.ts';
import { checkTokenLists, cutTokenList, distinctInputs, estimateTokens, refuseOverlong } from './inputs.ts';
import { createFitting } from './fitting.ts';
import { openRequest } from './requests.ts';
import type { OpenRequest } from './requests.ts';
import { layFoundation } from './startup.ts';
import type { Foundation, ModelOptions } from './startup.ts';
import type { Tokens } from './tokenizer.ts';
import { tuneWhenQuiet } from './tuning.ts';
import type { EmbedRequest, EmbedResult, Engine, EngineInput, EngineInfo, EngineRun } from './types.ts';

export type EngineEvent =
  | { readonly kind: 'worker-died'; readonly error: Error; readonly restartInMs: number }
  /** The tokens from which a lone text gains by all cores; absent: it never does. */
  | { readonly kind: 'calibrated'; readonly wideFrom?: number }
  /** The first worker got another session, for a lone text or for its share of many. */
  | { readonly kind: 'refitted'; readonly threads: number; readonly tookMs: number };

export interface EngineOptions extends ModelOptions {
  /** Tokens that may wait; default two million. */
  readonly maxQueueTokens?: number;
  readonly onEvent?: (event: EngineEvent) => void;
  /** From the start to the first attempt at measuring the topology, and between attempts; default three seconds. */
  readonly calibrationPauseMs?: number;
}

const DEFAULT_QUEUE_TOKENS = 2_000_000;
/** Texts tokenised before the workers get their first pieces of a request. */
const CHUNK = 32;

/** A CPU core is busy with a few hundred tokens; more would only make the others wait. A GPU wants thousands. */
const CPU_RUNS = { runTokens: 256, minRunTokens: 96 };
const GPU_RUNS = { runTokens: 16_384, minRunTokens: 2048 };

const CALIBRATION_PAUSE_MS = 3000;

const now = (): number => performance.now();

const isThere = (tokens: Tokens | Promise<Tokens>): tokens is Tokens => !(tokens instanceof Promise);

const schedulerFor = ({ description, device, maxQueueTokens }: EngineOptions, base: Foundation): Scheduler =>
  createScheduler({
    ...(device === 'gpu' ? GPU_RUNS : CPU_RUNS),
    workers: base.topology.workers,
    maxQueueTokens: maxQueueTokens ?? DEFAULT_QUEUE_TOKENS,
    smallRequestInputs: 8,
    bulkShare: 0.25,
    // Until it is measured every text is taken to gain.
    wideFrom: base.topology.wideThreads === undefined ? undefined : (base.calibrated ?? { wideFrom: 1 }).wideFrom,
    isWide: false,
    aloneMs: 100,
    gatherMs: 2,
    returnMs: 1.5,
    longestGatherMs: 4,
    packing: base.packing,
    cost: costModelFor(description.hiddenSize, device),
  });

const infoOf = ({ description, pooling, precision }: EngineOptions, { pool, topology }: Foundation) => ({
  dimensions: pool.dimensions,
  maxTokens: description.maxTokens,
  vocabularySize: description.vocabularySize,
  pooling,
  precision,
  architecture: description.architecture,
  workers: topology.workers,
  threadsPerWorker: topology.threadsPerWorker,
});

function refuse(admission: Exclude<Admission, 'admitted'>, tokens: number, maxQueueTokens: number): EngineError {
  const details = { tokens, maxQueueTokens };
  return admission === 'queue_full'
    ? new EngineError('queue_full', `The queue of ${maxQueueTokens} tokens is full; try again.`, details)
    : new EngineError(
        'too_large',
        `The request holds about ${tokens} tokens; the queue takes at most ${maxQueueTokens}. Send it in parts.`,
        details,
      );
}

export async function createEngine(options: EngineOptions): Promise<Engine> {
  let wake = (): void => undefined;
  let crashed: (worker: number) => void = () => undefined;
  const base = await layFoundation(options, {
    onIdle: () => wake(),
    onCrash: (error, restartInMs, worker) => {
      crashed(worker);
      options.onEvent?.({ kind: 'worker-died', error, restartInMs });
    },
  });
  const { pool, tokenizer } = base;
  const info: EngineInfo = infoOf(options, base);
  const { maxTokens, vocabularySize } = info;
  const maxQueueTokens = options.maxQueueTokens ?? DEFAULT_QUEUE_TOKENS;
  const tokenLimits = { maxTokens, vocabularySize, finalToken: tokenizer.finalToken };
  const scheduler = schedulerFor(options, base);
  const capacity = createCapacityMeter(info.workers);
  try {
    await measureCapacity(pool, capacity, info);
  } catch (error) {
    await pool.close();
    throw error;
  }
  const { threadsPerWorker, wideThreads = threadsPerWorker } = base.topology;
  const fitting = createFitting({
    pool,
    scheduler,
    threads: { narrow: threadsPerWorker, wide: wideThreads },
    now,
    onRefit: (threads, tookMs) => options.onEvent?.({ kind: 'refitted', threads, tookMs }),
  });
  crashed = (worker) => {
    if (worker === 0) fitting.reset();
  };
  const requests = new Map<number, OpenRequest>();
  let watcher: (run: EngineRun) => void = () => undefined;
  const onBatch = (batch: Batch, durationMs: number): void => {
    capacity.ran(batch, durationMs);
    watcher({ inputs: batch.pieces.length, tokens: batch.tokens });
  };
  const dispatcher = createDispatcher({ scheduler, pool, requests, now, onEnd: fitting.ran, onBatch });
  ({ wake } = dispatcher);
  let nextId = 0;
  let draining = false;
  let emptied = (): void => undefined;

  const tokensOf = (input: EngineInput): Tokens | Promise<Tokens> =>
    typeof input === 'string'
      ? tokenizer.encode(input)
      : { ids: cutTokenList(input, tokenLimits), untruncated: input.length };

  async function tokenize(open: OpenRequest, request: EmbedRequest, inputs: readonly EngineInput[]): Promise<void> {
    const started = now();
    for (let start = 0; start < inputs.length && requests.has(open.id); start += CHUNK) {
      // Many inputs must not keep the event loop from other requests.
      if (start > 0) await setImmediate();
      const begun = inputs.slice(start, start + CHUNK).map(tokensOf);
      const chunk = begun.every(isThere) ? begun : await Promise.all(begun.map(async (tokens) => await tokens));
      const pieces = chunk.map(({ ids, untruncated }, offset): Piece => {
        const index = start + offset;
        refuseOverlong(request, untruncated, { input: open.firstInput(index), maxTokens });
        open.tokenized(index, { ids, truncated: untruncated > maxTokens }, now());
        return { request: open.id, index, length: ids.length };
      });
      open.tokenizing(started, now());
      scheduler.add(open.id, pieces, start + CHUNK >= inputs.length);
      dispatcher.wake();
    }
  }

  function admit(request: EmbedRequest): { readonly open: OpenRequest; readonly inputs: readonly EngineInput[] } {
    if (draining) throw new EngineError('draining', 'The runtime is shutting down.');
    checkTokenLists(request.inputs, tokenLimits);
    const { inputs, places } = distinctInputs(request.inputs);
    const tokens = inputs.reduce((sum, input) => sum + estimateTokens(input, maxTokens), 0);
    const id = nextId++;
    const admission = scheduler.admit({ id, lane: request.priority, inputs: inputs.length, tokens }, now());
    if (admission !== 'admitted') throw refuse(admission, tokens, maxQueueTokens);
    const open = openRequest({ id, request, places, distinct: inputs.length });
    requests.set(id, open);
    return { open, inputs };
  }

  async function embed(request: EmbedRequest): Promise<EmbedResult> {
    const { open, inputs } = admit(request);
    const { signal } = request;
    const abort = (): void => open.fail(new EngineError('aborted', 'The request was aborted.'));
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    try {
      tokenize(open, request, inputs).catch(open.fail);
      return await open.result;
    } finally {
      signal.removeEventListener('abort', abort);
      requests.delete(open.id);
      scheduler.leave(open.id, now());
      // Others may have waited for its tokens.
      dispatcher.wake();
      if (requests.size === 0) emptied();
    }
  }

  const tuning = new AbortController();
  async function tune(): Promise<void> {
    const { topology, calibrated, calibrationKey } = base;
    if (topology.wideThreads === undefined || calibrated !== undefined) return;
    const found = await tuneWhenQuiet({
      pool,
      model: info,
      isQuiet: () => requests.size === 0 && !draining,
      widen: () => fitting.become('wide'),
      pauseMs: options.calibrationPauseMs ?? CALIBRATION_PAUSE_MS,
      signal: tuning.signal,
    });
    if (found === undefined || draining) return;
    scheduler.retune({ wideFrom: found.wideFrom });
    if (found.wideFrom === undefined) await fitting.become('narrow');
    options.onEvent?.({ kind: 'calibrated', ...found });
    await writeCalibration(options.files.snapshotDir, calibrationKey, found);
  }
  void tune();

  async function close(signal: AbortSignal): Promise<void> {
    draining = true;
    tuning.abort();
    if (requests.size > 0 && !signal.aborted) {
      await new Promise<void>((resolve) => {
        emptied = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
    for (const open of requests.values()) open.fail(new EngineError('draining', 'The runtime is shutting down.'));
    await pool.close();
  }

  return {
    info,
    embed,
    watchRuns: (listener) => void (watcher = listener),
    close,
    stats: () => ({
      ...scheduler.reading(),
      ...dispatcher.counters(),
      capacityTokensPerSecond: capacity.tokensPerSecond(),
      workerRestarts: pool.restarts,
    }),
  };
}
