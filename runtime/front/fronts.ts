// The front threads as the main thread has them: started, told what to serve, replaced when one dies, drained together.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Registry } from 'prom-client';
import type { LogLevel } from '../../common/obs/log.ts';
import { createSum } from '../../common/obs/metrics.ts';
import type { MetricValues } from '../../common/obs/metrics.ts';
import { backoffMs } from '../../common/util/pacing.ts';
import { threadUrl } from '../../common/util/process.ts';
import type { Compute } from '../engine/compute.ts';
import type { EngineStats } from '../engine/contract.ts';
import type { TokenizerOptions } from '../engine/tokenizer.ts';
import type { Phase } from '../lifecycle.ts';
import { createQuestions } from './messages.ts';
import type { FromFront, FrontSetup, Listener, Questions, ServedFacts, Told, ToFront } from './messages.ts';
import { createFrontRequests } from './remote.ts';
import type { FrontRequests, Results } from './remote.ts';
import { clearTally, createTallies, heldBytesIn, unansweredIn } from './tallies.ts';

export interface FrontsOptions {
  readonly count: number;
  readonly setup: Omit<FrontSetup, 'tallies' | 'place'>;
  readonly listener: Listener;
  readonly drainMs: number;
  readonly writeLines: (lines: string, isUrgent: boolean) => void;
  readonly onDeath: (error: Error, restartInMs: number) => void;
}

/** What the fronts ask about. */
export interface ProcessView {
  readonly phase: () => Phase;
  readonly registry: Registry;
}

export type RemotelyUsed = Compute & { stats(): EngineStats };

export interface Fronts {
  /** All of them, on one port. Rejects when it is taken. */
  listen(view: ProcessView): Promise<string>;
  /** Rejects as `loadTokenizer` does. */
  loadTokenizers(options: TokenizerOptions): Promise<void>;
  /** Resolves when all of them serve. Rejects when the probe text gives no vector. */
  serve(compute: RemotelyUsed, served: Omit<ServedFacts, 'check'>): Promise<void>;
  setLevel(level: LogLevel): void;
  /** Requests unanswered. */
  inFlight(): number;
  /** For clients, by all of them. */
  heldBytes(): number;
  /** As that of a server. */
  drain(deadline: AbortSignal): Promise<number>;
  /** Ends those that are left. */
  close(): Promise<void>;
}

const frontUrl = threadUrl(new URL('./front.ts', import.meta.url), import.meta.url);

const RESTARTS = { initialMs: 100, maxMs: 10_000 };
/** For a front to end after it has drained, or in the middle of a start that has failed. */
const END_MS = 2000;

type Reply = 'listening' | 'loaded' | 'serving' | 'drained';
type ReplyOf<K extends Reply> = Extract<FromFront, { readonly kind: K }>;

interface Expected {
  readonly kind: Reply;
  readonly resolve: (reply: FromFront) => void;
  readonly reject: (error: Error) => void;
}

/** One front, and those that come after it in its place. */
interface Place {
  readonly number: number;
  worker: Worker | undefined;
  /** Settles when it is where the others are. */
  up: Promise<unknown>;
  isServing: boolean;
  requests: FrontRequests | undefined;
  questions: Questions<'alive' | 'metrics'> | undefined;
  expected: Expected[];
  /** As it last told them. */
  counted: MetricValues | undefined;
  /** Since it last had work. */
  deaths: number;
  timer: NodeJS.Timeout | undefined;
}

const placeOf = (number: number): Place => ({
  number,
  worker: undefined,
  up: Promise.resolve(),
  isServing: false,
  requests: undefined,
  questions: undefined,
  expected: [],
  counted: undefined,
  deaths: 0,
  timer: undefined,
});

const post = ({ worker }: Place, message: ToFront, transfer: ArrayBuffer[] = []): void =>
  worker?.postMessage(message, transfer);

/** Resolves to what it answers; rejects when it cannot do that, or dies. */
function tell<K extends Reply>(place: Place, message: ToFront, kind: K): Promise<ReplyOf<K>> {
  return new Promise((resolve, reject) => {
    place.expected.push({ kind, resolve: (reply) => resolve(reply as ReplyOf<K>), reject });
    post(place, message);
  });
}

function settle({ expected }: Place, reply: FromFront): void {
  const at = expected.findIndex(({ kind }) => kind === reply.kind);
  if (at >= 0) expected.splice(at, 1)[0]?.resolve(reply);
}

function failAll(place: Place, error: Error): void {
  for (const { reject } of place.expected.splice(0)) reject(error);
}

/** Threads that share a port would share it with another process as well: a taken one must show. */
async function requireFree({ host, port }: Listener): Promise<void> {
  if (port === 0) return;
  const probe = createServer();
  probe.listen({ ...(host === '::' ? {} : { host }), port });
  await once(probe, 'listening');
  probe.close();
  await once(probe, 'close');
}

export function startFronts(options: FrontsOptions): Fronts {
  const { count, writeLines, onDeath, drainMs } = options;
  const tallies = createTallies(count);
  const places = Array.from({ length: count }, (_, number) => placeOf(number));
  const sum = createSum();
  let { listener } = options;
  let { logLevel } = options.setup;
  let isBound = false;
  let view: ProcessView | undefined;
  let tokenizer: TokenizerOptions | undefined;
  let serving: { readonly compute: RemotelyUsed; readonly served: Omit<ServedFacts, 'check'> } | undefined;
  let isEnding = false;

  const all = <T>(act: (place: Place) => Promise<T>): Promise<T[]> => Promise.all(places.map(act));

  // What a front asks.

  /** A front that hangs leaves this unanswered, as a main thread that hangs would. */
  async function requireAlive(): Promise<true> {
    await all(async ({ isServing, questions }) => await (isServing ? questions?.ask('alive') : undefined));
    return true;
  }

  async function countAll(): Promise<Told['metrics'] | undefined> {
    if (view === undefined) return undefined;
    await all(async (place) => {
      const told = (await place.questions?.ask('metrics')) as MetricValues | undefined;
      // Undefined: it has died meanwhile, and what it told last is in the sum.
      if (told !== undefined) place.counted = told;
    });
    const { registry } = view;
    const counted = sum.with(places.flatMap(({ counted: told }) => (told === undefined ? [] : [told])));
    return { page: `${await registry.metrics()}${await counted.metrics()}`, contentType: registry.contentType };
  }

  const answers = { alive: requireAlive, phase: () => view?.phase(), metrics: countAll };

  function reply(place: Place, { id, about }: { readonly id: number; readonly about: keyof typeof answers }): void {
    void Promise.resolve(answers[about]())
      .catch(() => undefined)
      .then((answer) => post(place, { kind: 'answer', id, answer }));
  }

  // From start to end.

  function heard(place: Place, message: FromFront): void {
    switch (message.kind) {
      case 'work':
        place.deaths = 0;
        place.requests?.read(message.tape);
        break;
      case 'lines':
        writeLines(message.lines, message.isUrgent);
        break;
      case 'question':
        reply(place, message);
        break;
      case 'answer':
        place.questions?.answered(message);
        break;
      case 'failed':
        failAll(place, Object.assign(new Error(message.message), { reason: message.reason }));
        break;
      case 'listening':
      case 'loaded':
      case 'serving':
      case 'drained':
        settle(place, message);
    }
  }

  function start(place: Place): void {
    const workerData: FrontSetup = { ...options.setup, logLevel, tallies, place: place.number };
    const worker = new Worker(frontUrl, { workerData });
    place.worker = worker;
    place.questions = createQuestions((question) => post(place, question));
    let cause = new Error('the thread ended');
    worker.on('message', (message: FromFront) => heard(place, message));
    worker.on('error', (error) => (cause = error instanceof Error ? error : new Error(String(error))));
    worker.on('exit', () => ended(place, cause));
  }

  function ended(place: Place, cause: Error): void {
    place.worker = undefined;
    place.isServing = false;
    place.requests?.release();
    place.requests = undefined;
    place.questions?.end(undefined);
    place.questions = undefined;
    if (place.counted !== undefined) sum.keep(place.counted);
    place.counted = undefined;
    clearTally(tallies, place.number);
    failAll(place, cause);
    if (isEnding) return;
    place.deaths++;
    const delayMs = backoffMs(RESTARTS, place.deaths);
    onDeath(cause, delayMs);
    place.timer = setTimeout(() => {
      start(place);
      // What cannot be brought up is replaced again, after a longer while.
      place.up = bringUp(place).catch(() => place.worker?.terminate());
    }, delayMs);
  }

  /** It listens last: until then the others take what comes. */
  async function bringUp(place: Place): Promise<void> {
    if (tokenizer !== undefined) await tell(place, { kind: 'load', tokenizer }, 'loaded');
    if (serving !== undefined) await beginServing(place, false);
    if (isBound) await tell(place, { kind: 'listen', listener }, 'listening');
  }

  async function beginServing(place: Place, check: boolean): Promise<void> {
    if (serving === undefined) return;
    const { compute, served } = serving;
    const send = (results: Results): void =>
      post(place, { kind: 'results', results }, [results.bytes.buffer, results.numbers.buffer]);
    place.requests = createFrontRequests({ compute, send });
    await tell(place, { kind: 'serve', served: { ...served, check } }, 'serving');
    place.isServing = true;
  }

  async function drainOne(place: Place): Promise<number> {
    clearTimeout(place.timer);
    if (place.worker === undefined) return 0;
    const { cut } = await tell(place, { kind: 'drain', withinMs: drainMs }, 'drained');
    return cut;
  }

  for (const place of places) start(place);
  return {
    async listen(shown) {
      view = shown;
      await requireFree(listener);
      const [first, ...others] = places;
      if (first === undefined) throw new RangeError('there is no front');
      const { host, port, url } = await tell(first, { kind: 'listen', listener }, 'listening');
      listener = { host: listener.host === '::' ? '::' : host, port };
      isBound = true;
      await Promise.all(others.map((place) => tell(place, { kind: 'listen', listener }, 'listening')));
      return url;
    },
    async loadTokenizers(given) {
      tokenizer = given;
      await all((place) => tell(place, { kind: 'load', tokenizer: given }, 'loaded'));
    },
    async serve(compute, served) {
      serving = { compute, served };
      await all(async (place) => {
        await place.up;
        if (!place.isServing) await beginServing(place, true);
      });
    },
    setLevel(level) {
      logLevel = level;
      for (const place of places) post(place, { kind: 'level', level });
    },
    inFlight: () => unansweredIn(tallies),
    heldBytes: () => heldBytesIn(tallies),
    async drain(deadline) {
      isEnding = true;
      const late = (deadline.aborted ? Promise.resolve() : once(deadline, 'abort')).then(() => sleep(END_MS / 4));
      const cuts = await all((place) => Promise.race([drainOne(place).catch(() => 0), late.then(() => 0)]));
      return cuts.reduce((cut, more) => cut + more, 0);
    },
    async close() {
      isEnding = true;
      const exits = places.flatMap((place) => {
        clearTimeout(place.timer);
        if (place.worker === undefined) return [];
        // One that has drained hears this no more.
        post(place, { kind: 'drain', withinMs: 0 });
        return [once(place.worker, 'exit')];
      });
      await Promise.race([Promise.all(exits), sleep(END_MS)]);
    },
  };
}
