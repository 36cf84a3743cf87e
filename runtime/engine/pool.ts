// The worker threads: started, handed one batch at a time, replaced when one dies.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { backoffMs } from '../../common/util/pacing.ts';
import { threadUrl } from '../../common/util/process.ts';
import { EngineError, EngineStartError } from './contract.ts';
import type { FirstMessage, RunMessage, RunReply, WorkerReply, WorkerRequest, WorkerSetup } from './worker.ts';

// Threads may be started before it is known what they will run, so that their own start-up passes meanwhile.

export interface StartedThreads {
  /** One that waits for its setup; undefined when none is left. */
  take(): Worker | undefined;
  /** Ends those that nobody took. They are asked to: a thread that is ended while it loads native code can crash the process. */
  close(): Promise<void>;
}

const workerUrl = threadUrl(new URL('./worker.ts', import.meta.url), import.meta.url);

/**
 * A run leaves nothing behind that lives on. Left to itself, V8 lets the garbage of each thread grow to 48 MB before it is worth
 * collecting; collected early, it also frees the vectors and token ids that hang on it.
 */
const YOUNG_GENERATION_MB = 3;

const startThread = (url: URL): Worker =>
  new Worker(url, { resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB } });

const sayFirst = (worker: Worker, message: FirstMessage): void => worker.postMessage(message);

export function startThreads(count: number, url: URL = workerUrl): StartedThreads {
  const waiting = Array.from({ length: count }, () => startThread(url));
  const end = async (worker: Worker): Promise<void> => {
    const ended = once(worker, 'exit');
    sayFirst(worker, { kind: 'end' });
    await ended.catch(() => undefined);
  };
  return {
    take: () => waiting.shift(),
    close: async () => {
      await Promise.all(waiting.splice(0).map(end));
    },
  };
}

export interface PoolEvents {
  /** A worker has become free: there may be work for it. */
  readonly onIdle: () => void;
  /** A worker died, counted from 0; it is replaced after `delayMs`. */
  readonly onCrash: (error: Error, delayMs: number, worker: number) => void;
}

export interface Pool {
  /** Has one listener told of what happens from now on. */
  watch(events: PoolEvents): void;
  idle(): number;
  /** Sends a batch to an idle worker: to the last one or, when that is asked for, to the first. */
  run(message: RunMessage, place: 'first' | 'last'): Promise<RunReply>;
  /**
   * Gives the first worker a session with so many intra-op threads instead of the one it has. One that dies of it is replaced
   * by what it was at start.
   */
  replaceSession(threads: number): Promise<'done' | 'busy' | 'died'>;
  readonly dimensions: number;
  restarts(): number;
  /** Ends the workers, each after the batch it runs. */
  close(): Promise<void>;
}

export interface PoolOptions {
  /** For tests: what the threads run. */
  readonly url?: URL;
  /** What replacements are made from; default: the same. */
  readonly again?: readonly WorkerSetup[];
  /** Taken before new ones are started. */
  readonly started?: StartedThreads | undefined;
}

/** What a worker was asked for and has not answered. */
interface Pending {
  done(reply: WorkerReply): void;
  reject(error: EngineError): void;
}

class Place {
  setup: WorkerSetup;
  worker: Worker | undefined;
  ready = false;
  pending: Pending | undefined;
  /** Deaths since it last finished a batch. */
  deaths = 0;
  timer: NodeJS.Timeout | undefined;
  /** Making its session or running a batch: inside of ONNX Runtime. */
  busy = false;
  /** Called when it no longer is. */
  onIdle: (() => void) | undefined;

  constructor(setup: WorkerSetup) {
    this.setup = setup;
  }
}

const RESTARTS = { initialMs: 100, maxMs: 10_000 };

const isIdle = (place: Place): boolean => place.ready && place.pending === undefined;

function becameIdle(place: Place): void {
  place.busy = false;
  place.onIdle?.();
}

/** A worker that is ended inside of ONNX Runtime takes the whole process with it: its binding throws where nobody catches. */
async function end(place: Place): Promise<void> {
  if (place.busy) await new Promise<void>((resolve) => (place.onIdle = resolve));
  await place.worker?.terminate();
}

/** Starts a worker for each setup; resolves when all are ready and rejects when one cannot be. */
export async function createPool(
  setups: readonly WorkerSetup[],
  { url = workerUrl, again = setups, started }: PoolOptions = {},
): Promise<Pool> {
  const places = setups.map((setup) => new Place(setup));
  let closing = false;
  let restarts = 0;
  let dimensions = 0;
  let events: PoolEvents = { onIdle: () => undefined, onCrash: () => undefined };

  function start(place: Place): Promise<void> {
    return new Promise((resolve, reject) => {
      const worker = started?.take() ?? startThread(url);
      sayFirst(worker, { kind: 'setup', setup: place.setup });
      place.worker = worker;
      place.busy = true;
      let cause = new Error('the worker ended');
      const startFailed = (error: Error): void => {
        cause = error;
        reject(error);
      };
      worker.on('message', (reply: WorkerReply) => {
        if (reply.kind === 'ready') {
          place.ready = true;
          place.setup = again[places.indexOf(place)] ?? place.setup;
          ({ dimensions } = reply);
          becameIdle(place);
          resolve();
        } else if (reply.kind === 'unusable') {
          becameIdle(place);
          startFailed(new EngineStartError(reply.reason, reply.message));
        } else {
          onAnswer(place, reply);
        }
      });
      worker.on('error', (error) => startFailed(error instanceof Error ? error : new Error(String(error))));
      worker.on('exit', () => {
        reject(cause);
        onExit(place, cause);
      });
    });
  }

  function ask(place: Place, pending: Pending, request: WorkerRequest, transfer: ArrayBuffer[] = []): void {
    place.pending = pending;
    place.busy = true;
    place.worker?.postMessage(request, transfer);
  }

  function onAnswer(place: Place, reply: WorkerReply): void {
    const { pending } = place;
    place.pending = undefined;
    place.deaths = 0;
    becameIdle(place);
    if (reply.kind === 'failed')
      pending?.reject(new EngineError('worker_failed', `The batch could not be run: ${reply.message}`));
    else pending?.done(reply);
    events.onIdle();
  }

  function onExit(place: Place, error: Error): void {
    place.worker = undefined;
    place.ready = false;
    becameIdle(place);
    const { pending } = place;
    place.pending = undefined;
    const details = { cause: error, isWorkerLost: true };
    pending?.reject(new EngineError('worker_failed', 'The worker died while it ran the batch.', details));
    if (closing) return;
    place.deaths++;
    const delayMs = backoffMs(RESTARTS, place.deaths);
    events.onCrash(error, delayMs, places.indexOf(place));
    place.timer = setTimeout(() => {
      restarts++;
      // A failure shows as another death, which is followed by another start.
      start(place).then(
        () => events.onIdle(),
        () => undefined,
      );
    }, delayMs);
  }

  async function close(): Promise<void> {
    closing = true;
    for (const place of places) clearTimeout(place.timer);
    await Promise.all(places.map(end));
  }

  try {
    const [first, ...others] = places;
    // What the first one prepares, the others load.
    if (first?.setup.prepared?.write === true) await start(first);
    else others.push(...places.slice(0, 1));
    await Promise.all(others.map(start));
  } catch (error) {
    await close();
    throw error;
  }

  return {
    watch: (listener) => void (events = listener),
    idle: () => places.reduce((count, place) => count + (isIdle(place) ? 1 : 0), 0),
    run(message, where) {
      return new Promise((resolve, reject) => {
        // The first worker may have all cores, so others are preferred for everything else.
        const place = where === 'first' ? places[0] : places.findLast(isIdle);
        if (!place || !isIdle(place)) {
          reject(new EngineError('worker_failed', 'No worker is free.'));
          return;
        }
        const done = (reply: WorkerReply): void => {
          if (reply.kind === 'done') resolve(reply.reply);
        };
        const { ids, lengths, dimensions: asked } = message;
        const transfer = [ids.buffer, lengths.buffer, asked.buffer] as ArrayBuffer[];
        ask(place, { done, reject }, { kind: 'run', run: message }, transfer);
      });
    },
    replaceSession: (threads) =>
      new Promise((resolve) => {
        const [place] = places;
        if (!place || !isIdle(place)) {
          resolve('busy');
          return;
        }
        const pending = { done: () => resolve('done'), reject: () => resolve('died') };
        ask(place, pending, { kind: 'replace', setup: { ...place.setup, threads } });
      }),
    dimensions,
    restarts: () => restarts,
    close,
  };
}
