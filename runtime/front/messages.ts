// What the main thread and a front thread tell each other, and questions with answers among it.
import type { LogLevel } from '../../common/obs/log.ts';
import type { EngineInfo } from '../engine/contract.ts';
import type { TokenizerOptions } from '../engine/tokenizer.ts';
import type { Phase, Serving } from '../lifecycle.ts';
import type { RuntimeConfig } from '../config.ts';
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
  readonly leavesOutPrompts: boolean;
  /** Whether the probe text must give a vector first: not where it has before. */
  readonly check: boolean;
}

export type ToFront =
  | { readonly kind: 'listen'; readonly listener: Listener }
  | { readonly kind: 'load'; readonly tokenizer: TokenizerOptions }
  | { readonly kind: 'serve'; readonly served: ServedFacts }
  | { readonly kind: 'results'; readonly results: Results }
  | { readonly kind: 'level'; readonly level: LogLevel }
  | { readonly kind: 'drain'; readonly withinMs: number }
  | Question<'alive' | 'metrics'>
  | Answer;

export type FromFront =
  | { readonly kind: 'listening'; readonly host: string; readonly port: number; readonly url: string }
  | { readonly kind: 'loaded' | 'serving' }
  /** It cannot do what it was told, and why: a condition's reason. */
  | { readonly kind: 'failed'; readonly reason: string; readonly message: string }
  | { readonly kind: 'work'; readonly tape: Int32Array }
  | { readonly kind: 'lines'; readonly lines: string; readonly isUrgent: boolean }
  | { readonly kind: 'drained'; readonly cut: number }
  | Question<'alive' | 'phase' | 'metrics'>
  | Answer;

interface Question<W extends string> {
  readonly kind: 'question';
  readonly id: number;
  readonly about: W;
}

interface Answer {
  readonly kind: 'answer';
  readonly id: number;
  readonly answer: unknown;
}

/** Of one thread to another. */
export interface Questions<W extends string> {
  ask(about: W): Promise<unknown>;
  readonly answered: (answer: Answer) => void;
  /** The other is no more: all that is open is answered by this. */
  end(answer: unknown): void;
}

export function createQuestions<W extends string>(send: (question: Question<W>) => void): Questions<W> {
  const open = new Map<number, (answer: unknown) => void>();
  let lastId = 0;
  return {
    ask: (about) =>
      new Promise((resolve) => {
        const id = lastId++;
        open.set(id, resolve);
        send({ kind: 'question', id, about });
      }),
    answered({ id, answer }) {
      open.get(id)?.(answer);
      open.delete(id);
    },
    end(answer) {
      for (const resolve of open.values()) resolve(answer);
      open.clear();
    },
  };
}

/** What a front asks of the main thread, by what it asks about. */
export interface Told {
  readonly phase: Phase;
  readonly metrics: { readonly page: string; readonly contentType: string };
}
