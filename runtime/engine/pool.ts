// The worker threads: started, handed one batch at a time, replaced when one dies.
import type { Worker } from 'node:worker_threads';
import { EngineError, EngineStartError } from './errors.ts';
import type { EngineStartReason } from './errors.ts';
import type { RunMessage, RunReply, SetupMessage, WorkerReply, WorkerRequest, WorkerSetup } from './protocol.ts';
import { startThread, workerUrl } from './threads.ts';
import type { StartedThreads } from './threads.ts';

export interface PoolEvents {
  /** A worker has become free: there may be work for it. */
  readonly onIdle: () => void;
  /** A worker died, counted from 0; it is replaced after `delayMs`. */
  readonly onCrash: (error: Error, delayMs: number, worker: number) => void;
}

export interface Pool {
  idle(): number;
  /** Sends a batch to an idle worker; `wide` to the first. */
  run(message: RunMessage): Promise<RunReply>;
  /**
   * Gives the first worker a session with so many threads instead of the one it has. One that dies of it is replaced by what
   * it was at start.
   */
  refit(threads: number): Promise<'done' | 'busy' | 'died'>;
  readonly dimensions: number;
  readonly restarts: number;
  /** Ends the workers, each after the batch it runs. */
  close(): Promise<void>;
}

interface Job {
  done(reply: WorkerReply): void;
  reject(error: EngineError): void;
}

interface Slot {
  setup: WorkerSetup;
  worker: Worker | undefined;
  ready: boolean;
  job: Job | undefined;
  /** Deaths since it last finished a batch. */
  deaths: number;
  timer: NodeJS.Timeout | undefined;
  /** Making its sessions or running a batch: inside of ONNX Runtime. */
  inside: boolean;
  /** Called when it comes out. */
  onOutside: (() => void) | undefined;
}

export interface PoolOptions {
  /** For tests: what the threads run. */
  readonly url?: URL;
  /** What replacements are made from; default: the same. */
  readonly again?: readonly WorkerSetup[];
  /** Taken before new ones are started. */
  readonly started?: StartedThreads | undefined;
}

const FIRST_BACKOFF_MS = 100;
const LAST_BACKOFF_MS = 10_000;

const backoffMs = (deaths: number): number => Math.min(LAST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (deaths - 1));

function comeOut(slot: Slot): void {
  slot.inside = false;
  slot.onOutside?.();
}

const isIdle = (slot: Slot): boolean => slot.ready && slot.job === undefined;

/** Starts a worker for each setup; resolves when all are ready and rejects when one cannot be. */
export async function createPool(
  setups: readonly WorkerSetup[],
  events: PoolEvents,
  { url = workerUrl, again = setups, started }: PoolOptions = {},
): Promise<Pool> {
  const slots = setups.map((setup): Slot => ({
    setup,
    worker: undefined,
    ready: false,
    job: undefined,
    deaths: 0,
    timer: undefined,
    inside: false,
    onOutside: undefined,
  }));
  let closing = false;
  let restarts = 0;
  let dimensions = 0;

  function settle(slot: Slot, reply: WorkerReply): void {
    const { job } = slot;
    slot.job = undefined;
    slot.deaths = 0;
    comeOut(slot);
    if (reply.kind === 'failed')
      job?.reject(new EngineError('worker_failed', `The batch could not be run: ${reply.message}`));
    else job?.done(reply);
    events.onIdle();
  }

  function give(slot: Slot, job: Job, request: WorkerRequest, transfer: ArrayBuffer[] = []): void {
    slot.job = job;
    slot.inside = true;
    slot.worker?.postMessage(request, transfer);
  }

  function bury(slot: Slot, error: Error): void {
    slot.worker = undefined;
    slot.ready = false;
    comeOut(slot);
    const { job } = slot;
    slot.job = undefined;
    job?.reject(new EngineError('worker_failed', 'The worker died while it ran the batch.', { cause: error }));
    if (closing) return;
    slot.deaths++;
    const delayMs = backoffMs(slot.deaths);
    events.onCrash(error, delayMs, slots.indexOf(slot));
    slot.timer = setTimeout(() => {
      restarts++;
      // A failure shows as another death, which is buried in turn.
      start(slot).then(events.onIdle, () => undefined);
    }, delayMs);
  }

  function start(slot: Slot): Promise<void> {
    return new Promise((resolve, reject) => {
      const worker = started?.take() ?? startThread(url);
      worker.postMessage({ kind: 'setup', setup: slot.setup } satisfies SetupMessage);
      slot.worker = worker;
      slot.inside = true;
      let cause = new Error('the worker ended');
      const startFailed = (error: Error): void => {
        cause = error;
        reject(error);
      };
      worker.on('message', (reply: WorkerReply) => {
        if (reply.kind === 'ready') {
          slot.ready = true;
          slot.setup = again[slots.indexOf(slot)] ?? slot.setup;
          ({ dimensions } = reply);
          comeOut(slot);
          resolve();
        } else if (reply.kind === 'unusable') {
          comeOut(slot);
          startFailed(new EngineStartError(reply.reason as EngineStartReason, reply.message));
        } else {
          settle(slot, reply);
        }
      });
      worker.on('error', (error) => startFailed(error instanceof Error ? error : new Error(String(error))));
      worker.on('exit', () => {
        reject(cause);
        bury(slot, cause);
      });
    });
  }

  /** A worker that is ended inside of ONNX Runtime takes the whole process with it: its binding throws where nobody catches. */
  async function end(slot: Slot): Promise<void> {
    if (slot.inside) await new Promise<void>((resolve) => (slot.onOutside = resolve));
    await slot.worker?.terminate();
  }

  async function close(): Promise<void> {
    closing = true;
    for (const slot of slots) clearTimeout(slot.timer);
    await Promise.all(slots.map(end));
  }

  try {
    const [first, ...others] = slots;
    // What the first one prepares, the others load.
    if (first?.setup.prepareIn !== undefined) await start(first);
    else others.push(...slots.slice(0, 1));
    await Promise.all(others.map(start));
  } catch (error) {
    await close();
    throw error;
  }

  return {
    idle: () => slots.reduce((count, slot) => count + (isIdle(slot) ? 1 : 0), 0),
    run(message) {
      return new Promise((resolve, reject) => {
        // The first worker may be wide, so others are preferred for everything else.
        const slot = message.wide ? slots[0] : slots.findLast(isIdle);
        if (!slot || !isIdle(slot)) {
          reject(new EngineError('worker_failed', 'No worker is free.'));
          return;
        }
        const done = (reply: WorkerReply): void => {
          if (reply.kind === 'done') resolve(reply.reply);
        };
        const { ids, lengths, dimensions: asked } = message;
        const transfer = [ids.buffer, lengths.buffer, asked.buffer] as ArrayBuffer[];
        give(slot, { done, reject }, { kind: 'run', run: message }, transfer);
      });
    },
    refit: (threads) =>
      new Promise((resolve) => {
        const [slot] = slots;
        if (!slot || !isIdle(slot)) {
          resolve('busy');
          return;
        }
        const job = { done: () => resolve('done'), reject: () => resolve('died') };
        give(slot, job, { kind: 'refit', setup: { ...slot.setup, threads } });
      }),
    get dimensions() {
      return dimensions;
    },
    get restarts() {
      return restarts;
    },
    close,
  };
}
