// When a request's work ends for reasons of its own: its client is gone, or its time is up.
import type { Exchange } from '../../common/http/exchange.ts';
import type { Failure } from '../routing/retry.ts';

export type CutReason = Extract<Failure, 'aborted' | 'deadline'>;
export type OnCut = (reason: CutReason) => void;

/** What an AbortSignal does, at a fraction of its cost. */
export interface Cutoff {
  /** Set once the work has to end. */
  readonly reason: () => CutReason | undefined;
  /** Calls it when the work has to end, at once if it has. */
  readonly on: (listener: OnCut) => void;
  readonly off: (listener: OnCut) => void;
  /** Milliseconds left, never negative. */
  readonly leftMs: () => number;
  /** To be called when the request is over. */
  readonly clear: () => void;
}

interface Ending extends Pick<Cutoff, 'reason' | 'on' | 'off'> {
  readonly cut: OnCut;
}

const createEnding = (): Ending => {
  const listeners = new Set<OnCut>();
  let reason: CutReason | undefined;
  return {
    reason: () => reason,
    on: (listener) => {
      if (reason === undefined) listeners.add(listener);
      else listener(reason);
    },
    off: (listener) => void listeners.delete(listener),
    cut: (given) => {
      if (reason !== undefined) return;
      reason = given;
      for (const listener of [...listeners]) listener(given);
      listeners.clear();
    },
  };
};

export const createCutoff = (exchange: Pick<Exchange, 'onGone'>, ms: number, now: () => number): Cutoff => {
  const { cut, ...ending } = createEnding();
  const endsMs = now() + ms;
  const timer = setTimeout(cut, ms, 'deadline' satisfies CutReason).unref();
  exchange.onGone(() => cut('aborted'));
  return {
    ...ending,
    leftMs: () => Math.max(0, endsMs - now()),
    clear: () => {
      clearTimeout(timer);
      exchange.onGone(undefined);
    },
  };
};

/** Ends with another, or before it by `stop`. */
export const cutoffWithin = (outer: Cutoff): { readonly cutoff: Cutoff; readonly stop: () => void } => {
  const { cut, ...ending } = createEnding();
  outer.on(cut);
  const cutoff = { ...ending, leftMs: outer.leftMs, clear: () => outer.off(cut) };
  return { cutoff, stop: () => cut('aborted') };
};
