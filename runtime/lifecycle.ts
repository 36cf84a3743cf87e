// Where the process stands between start and end, and what it serves: the one state that the routes read.
import { OpenAIError } from '../common/openai/errors.ts';
import type { Engine } from './engine/contract.ts';

export interface Serving {
  readonly engine: Engine;
  /** Commit of the weights. */
  readonly revision: string;
}

export type Phase = 'starting' | 'ready' | 'draining';

export interface Lifecycle {
  phase(): Phase;
  /** What is served now, draining included; undefined before. */
  serving(): Serving | undefined;
  /** What is served, or the 503 that says why nothing is. */
  requireServing(): Serving;
  becomeReady(serving: Serving): void;
  /** Called when it becomes ready. */
  onReady(listener: (serving: Serving) => void): void;
  startDraining(): void;
}

export function createLifecycle(): Lifecycle {
  let phase: Phase = 'starting';
  let serving: Serving | undefined;
  const listeners: ((serving: Serving) => void)[] = [];
  return {
    phase: () => phase,
    serving: () => serving,
    requireServing: () => {
      if (phase === 'ready' && serving !== undefined) return serving;
      throw unavailable(phase);
    },
    becomeReady: (loaded) => {
      serving = loaded;
      for (const listener of listeners) listener(loaded);
      if (phase === 'starting') phase = 'ready';
    },
    onReady: (listener) => void listeners.push(listener),
    startDraining: () => {
      phase = 'draining';
    },
  };
}

export function unavailable(phase: Phase): OpenAIError {
  const why = phase === 'draining' ? 'This replica is shutting down.' : 'The model is still loading.';
  return new OpenAIError('service_unavailable', why, { retryAfterMs: 1000 });
}
