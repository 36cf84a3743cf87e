// A deadline that also follows a caller's signal, on an injected clock.
import type { Clock } from './clock.ts';

export interface Deadline {
  readonly signal: AbortSignal;
  readonly passed: () => boolean;
  /** Time no longer counts; the outer signal still does. */
  opened(): void;
  release(): void;
}

export function createDeadline(clock: Clock, timeoutMs: number, outer: AbortSignal | undefined): Deadline {
  let late = false;
  const controller = new AbortController();
  const follow = (): void => controller.abort(outer?.reason);
  const opened = clock.setTimeout(() => {
    late = true;
    controller.abort(new Error('Deadline passed'));
  }, timeoutMs);
  if (outer?.aborted === true) follow();
  outer?.addEventListener('abort', follow);
  return {
    signal: controller.signal,
    passed: () => late,
    opened,
    release() {
      opened();
      outer?.removeEventListener('abort', follow);
    },
  };
}
