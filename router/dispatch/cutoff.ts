// When a request's work ends for reasons of its own: its client is gone, or its time is up.
import type { Failure } from '../routing/retry.ts';

export type CutReason = Extract<Failure, 'aborted' | 'deadline'>;

export interface Cutoff {
  /** Aborted with a `CutReason`. */
  readonly signal: AbortSignal;
  /** Milliseconds left, never negative. */
  readonly leftMs: () => number;
  /** To be called when the request is over. */
  readonly clear: () => void;
}

export const cutReason = (signal: AbortSignal): CutReason => (signal.reason === 'deadline' ? 'deadline' : 'aborted');

export const createCutoff = (gone: AbortSignal, ms: number, now: () => number): Cutoff => {
  const controller = new AbortController();
  const endsMs = now() + ms;
  const onGone = (): void => controller.abort('aborted' satisfies CutReason);
  if (gone.aborted) onGone();
  gone.addEventListener('abort', onGone, { once: true });
  const timer = setTimeout(() => controller.abort('deadline' satisfies CutReason), ms).unref();
  return {
    signal: controller.signal,
    leftMs: () => Math.max(0, endsMs - now()),
    clear: () => {
      clearTimeout(timer);
      gone.removeEventListener('abort', onGone);
    },
  };
};
