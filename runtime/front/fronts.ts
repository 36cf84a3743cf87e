// The front threads as the main thread has them: started, told what to serve, asked, drained together. The process lives as long as all of them do.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Registry } from 'prom-client';
import type { LogLevel } from '../../common/obs/log-level.ts';
import type { LogHandle } from '../../common/obs/log.ts';
import { sumOf } from '../../common/obs/metrics.ts';
import { threadUrl } from '../../common/util/process.ts';
import type { Compute } from '../engine/compute.ts';
import type { EngineStats } from '../engine/contract.ts';
import type { TokenizerOptions } from '../engine/tokenizer.ts';
import type { Phase } from '../lifecycle.ts';
import { answerCall, createCaller } from './messages.ts';
import type {
  Caller,
  FromFront,
  FrontCalls,
  FrontSetup,
  Listener,
  MainCalls,
  ServedFacts,
  ToFront,
} from './messages.ts';
import { createFrontRequests } from './remote.ts';
import type { FrontRequests, Results } from './remote.ts';
import { createTallies, heldBytesIn, unansweredIn } from './tallies.ts';

export interface FrontsOptions {
  readonly count: number;
  readonly setup: Omit<FrontSetup, 'tallies' | 'place'>;
  readonly listener: Listener;
  readonly drainMs: number;
  readonly writeLines: LogHandle['write'];
  /** As fatal as an error that nobody catches is where one thread does everything. */
  readonly onDeath: (error: Error) => void;
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
  /** Resolves when all of them serve. Rejects with `VectorCheckFailed`. */
  serve(compute: RemotelyUsed, served: ServedFacts): Promise<void>;
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

/** For a front to end after it has drained, or in the middle of a start that has failed. */
const END_MS = 2000;

interface Front extends Pick<Caller<FrontCalls>, 'call'> {
  readonly post: (message: ToFront, transfer?: ArrayBuffer[]) => void;
  readonly ended: Promise<unknown>;
  /** Once there is something to serve. */
  requests: FrontRequests | undefined;
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

export function startFronts({ count, setup, listener, drainMs, writeLines, onDeath }: FrontsOptions): Fronts {
  const tallies = createTallies(count);
  let view: ProcessView = { phase: () => 'starting', registry: sumOf([]) };
  let isEnding = false;

  const calls: MainCalls = {
    async alive() {
      await Promise.all(fronts.map(({ call }) => call('alive')));
    },
    phase: () => view.phase(),
    async metrics() {
      const { registry } = view;
      const requests = sumOf(await Promise.all(fronts.map(({ call }) => call('counts'))));
      return { page: `${await registry.metrics()}${await requests.metrics()}`, contentType: registry.contentType };
    },
  };

  function start(place: number): Front {
    const workerData: FrontSetup = { ...setup, tallies, place };
    const worker = new Worker(frontUrl, { workerData });
    const post: Front['post'] = (message, transfer = []) => worker.postMessage(message, transfer);
    const { call, answered, end } = createCaller<FrontCalls>(post);
    const ended = new Promise((resolve) => worker.once('exit', resolve));
    const front: Front = { call, post, ended, requests: undefined };
    let cause = new Error('A front thread has ended');
    worker.on('error', (error) => (cause = error instanceof Error ? error : new Error(String(error))));
    worker.on('exit', () => {
      end(cause);
      if (!isEnding) onDeath(cause);
    });
    worker.on('message', (message: FromFront) => {
      switch (message.kind) {
        case 'work':
          front.requests?.read(message.tape);
          break;
        case 'lines':
          writeLines(message.lines, message.isUrgent);
          break;
        case 'call':
          void answerCall(calls, message, post);
          break;
        case 'answer':
          answered(message);
      }
    });
    return front;
  }

  const fronts = Array.from({ length: count }, (_, place) => start(place));
  return {
    async listen(shown) {
      view = shown;
      await requireFree(listener);
      const [first, ...others] = fronts;
      if (first === undefined) throw new RangeError('there is no front');
      const { port, url } = await first.call('listen', listener);
      await Promise.all(others.map(({ call }) => call('listen', { ...listener, port })));
      return url;
    },
    async loadTokenizers(options) {
      await Promise.all(fronts.map(({ call }) => call('load', options)));
    },
    async serve(compute, served) {
      for (const front of fronts) {
        const send = (results: Results): void =>
          front.post({ kind: 'results', results }, [results.bytes.buffer, results.numbers.buffer]);
        front.requests = createFrontRequests({ compute, send });
      }
      await Promise.all(fronts.map(({ call }) => call('serve', served)));
    },
    setLevel(level) {
      for (const { post } of fronts) post({ kind: 'level', level });
    },
    inFlight: () => unansweredIn(tallies),
    heldBytes: () => heldBytesIn(tallies),
    async drain(deadline) {
      isEnding = true;
      const late = (deadline.aborted ? Promise.resolve() : once(deadline, 'abort')).then(() => sleep(END_MS / 4));
      const none = (): number => 0;
      const cuts = fronts.map(({ call }) => Promise.race([call('drain', drainMs).catch(none), late.then(none)]));
      return (await Promise.all(cuts)).reduce((sum, cut) => sum + cut, 0);
    },
    async close() {
      isEnding = true;
      // Those that have drained hear this no more.
      for (const { call } of fronts) call('drain', 0).catch(() => undefined);
      await Promise.race([Promise.all(fronts.map(({ ended }) => ended)), sleep(END_MS)]);
    },
  };
}
