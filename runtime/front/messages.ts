// What the main thread and a front thread tell each other: calls that are answered, and what goes one way.
import type { LogLevel } from '../../common/obs/log-level.ts';
import type { MetricValues } from '../../common/obs/metrics.ts';
import type { RuntimeConfig } from '../config.ts';
import type { EngineInfo } from '../engine/contract.ts';
import type { TokenizerOptions } from '../engine/tokenizer.ts';
import { failureOf } from '../lifecycle.ts';
import type { Failure, Phase, Serving } from '../lifecycle.ts';
import type { Results } from './remote.ts';

/** What a front thread is started with. */
export interface FrontSetup {
  readonly config: Pick<RuntimeConfig, 'model' | 'overlongInput' | 'maxBodyBytes' | 'maxConnections' | 'tracing'>;
  readonly logLevel: LogLevel;
  /** Whether a person reads the log. */
  readonly readable: boolean;
  readonly version: string;
  readonly startedAt: number;
  /** Rows of `tallies.ts`, one for each front. */
  readonly tallies: SharedArrayBuffer;
  readonly place: number;
}

export interface Listener {
  readonly host: string;
  readonly port: number;
}

/** What is served, for threads that have no engine of their own. */
export interface ServedFacts extends Omit<Serving, 'engine'> {
  readonly info: EngineInfo;
  readonly includePrompt: boolean;
}

/** What a front does when the main thread calls it. */
export interface FrontCalls {
  readonly listen: (listener: Listener) => Promise<{ readonly port: number; readonly url: string }>;
  /** Rejects as `loadTokenizer` does. */
  readonly load: (tokenizer: TokenizerOptions) => Promise<void>;
  /** Rejects with `VectorCheckFailed`. */
  readonly serve: (served: ServedFacts) => Promise<void>;
  /** Within so many milliseconds; gives the number of requests that were cut, and ends the thread. */
  readonly drain: (withinMs: number) => Promise<number>;
  readonly alive: () => void;
  readonly counts: () => Promise<MetricValues>;
}

/** What the main thread says of the process when a front calls it. */
export interface MainCalls {
  /** Unanswered while one of the fronts does not answer. */
  readonly alive: () => Promise<void>;
  readonly phase: () => Phase;
  readonly metrics: () => Promise<{ readonly page: string; readonly contentType: string }>;
}

export type ToFront =
  | { readonly kind: 'results'; readonly results: Results }
  | { readonly kind: 'level'; readonly level: LogLevel }
  | Call
  | Answer;

export type FromFront =
  | { readonly kind: 'work'; readonly tape: Int32Array }
  | { readonly kind: 'lines'; readonly lines: string; readonly isUrgent: boolean }
  | Call
  | Answer;

interface Call {
  readonly kind: 'call';
  readonly id: number;
  readonly name: string;
  readonly argument: unknown;
}

interface Answer {
  readonly kind: 'answer';
  readonly id: number;
  readonly value?: unknown;
  /** It could not do that. */
  readonly failure?: Failure;
}

type Calls<C> = { readonly [N in keyof C]: (argument: never) => unknown };

export interface Caller<C extends Calls<C>> {
  readonly call: <N extends keyof C & string>(
    name: N,
    ...argument: Parameters<C[N]>
  ) => Promise<Awaited<ReturnType<C[N]>>>;
  readonly answered: (answer: Answer) => void;
  /** The other is no more: what it has not answered fails. */
  readonly end: (why: Error) => void;
}

export function createCaller<C extends Calls<C>>(send: (call: Call) => void): Caller<C> {
  const open = new Map<number, PromiseWithResolvers<unknown>>();
  let lastId = 0;
  return {
    call(name, argument?: unknown) {
      const id = lastId++;
      const waiting = Promise.withResolvers<unknown>();
      open.set(id, waiting);
      send({ kind: 'call', id, name, argument });
      return waiting.promise as ReturnType<Caller<C>['call']>;
    },
    answered({ id, value, failure }) {
      const waiting = open.get(id);
      open.delete(id);
      if (failure === undefined) waiting?.resolve(value);
      else waiting?.reject(Object.assign(new Error(failure.message), { reason: failure.reason }));
    },
    end(why) {
      for (const { reject } of open.values()) reject(why);
      open.clear();
    },
  };
}

/** Does what was called for, and tells how it went. */
export async function answerCall<C extends Calls<C>>(
  calls: C,
  { id, name, argument }: Call,
  send: (answer: Answer) => void,
): Promise<void> {
  try {
    send({ kind: 'answer', id, value: await calls[name as keyof C](argument as never) });
  } catch (error) {
    send({ kind: 'answer', id, failure: failureOf(error, 'CrashLooping') });
  }
}
