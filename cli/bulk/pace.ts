// How much a bulk job sends at once: requests in flight, and characters in each. Pure.
//
// Concurrency climbs while it pays: it grows as long as each step brings at least 5 % more characters a second, steps back
// when one does not, holds, and tries again later, because a service may have been scaled out meanwhile. A refusal (429, 503)
// halves it. The size of requests follows their latency: doubled while answers come fast, halved when they take long.

export interface Pace {
  /** Requests in flight at most. */
  readonly concurrency: number;
  /** Characters a request. */
  readonly chars: number;
  /** Concurrency doubles until the first step that brings nothing, or the first refusal. */
  readonly doubling: boolean;
  readonly window: Window;
  /** Of the last window that was better than all before it. */
  readonly best: { readonly concurrency: number; readonly rate: number };
  /** Windows to stay as it is. */
  readonly hold: number;
  /** Refusals of requests sent before the last cut tell nothing new. */
  readonly cutAtMs: number;
}

interface Window {
  readonly startedMs: number;
  readonly answers: number;
  readonly chars: number;
}

export type PaceEvent =
  | { readonly kind: 'answered'; readonly atMs: number; readonly tookMs: number; readonly chars: number }
  | { readonly kind: 'refused'; readonly atMs: number; readonly sentMs: number }
  /** The service says that it takes no request as large as this, or did not finish one in time. */
  | { readonly kind: 'too-large'; readonly chars: number };

export interface PaceLimits {
  readonly maxConcurrency: number;
}

export const MIN_CHARS = 500;
export const MAX_CHARS = 256_000;
const FIRST_CHARS = 16_000;
const FIRST_CONCURRENCY = 2;
const FAST_MS = 1000;
const SLOW_MS = 10_000;
const WORTH_IT = 1.05;
const HOLD_WINDOWS = 12;
const MIN_WINDOW_MS = 1000;

const openWindow = (atMs: number): Window => ({ startedMs: atMs, answers: 0, chars: 0 });

export const firstPace = (nowMs: number, { maxConcurrency }: PaceLimits): Pace => ({
  concurrency: Math.min(FIRST_CONCURRENCY, maxConcurrency),
  chars: FIRST_CHARS,
  doubling: true,
  window: openWindow(nowMs),
  best: { concurrency: 1, rate: 0 },
  hold: 0,
  cutAtMs: -Infinity,
});

const clampChars = (chars: number): number => Math.round(Math.min(MAX_CHARS, Math.max(MIN_CHARS, chars)));

/** A small request answers fast whatever the size of others: only one as large as allowed says that larger ones are welcome. */
function sizeAfter(chars: number, tookMs: number, sent: number): number {
  if (tookMs > SLOW_MS) return clampChars(Math.min(chars, sent / 2));
  return tookMs < FAST_MS && sent > chars / 2 ? clampChars(chars * 2) : chars;
}

function climb(
  pace: Pace,
  rate: number,
  { maxConcurrency }: PaceLimits,
): Pick<Pace, 'concurrency' | 'doubling' | 'best' | 'hold'> {
  const { concurrency, doubling, best, hold } = pace;
  if (hold > 0) return { concurrency, doubling, hold: hold - 1, best: hold === 1 ? { concurrency, rate } : best };
  if (rate > best.rate * WORTH_IT) {
    const next = doubling ? concurrency * 2 : concurrency + 1;
    return { concurrency: Math.min(maxConcurrency, next), doubling, best: { concurrency, rate }, hold: 0 };
  }
  // After a hold the first window is its own measure: a step up follows it, and is judged by the next.
  if (concurrency === best.concurrency)
    return { concurrency: Math.min(maxConcurrency, concurrency + 1), doubling: false, best, hold: 0 };
  return { concurrency: best.concurrency, doubling: false, best, hold: HOLD_WINDOWS };
}

function answered(pace: Pace, event: PaceEvent & { kind: 'answered' }, limits: PaceLimits): Pace {
  const window = { ...pace.window, answers: pace.window.answers + 1, chars: pace.window.chars + event.chars };
  const chars = sizeAfter(pace.chars, event.tookMs, event.chars);
  const elapsedMs = event.atMs - window.startedMs;
  // Requests sent before the last step are no measure of it: a window has to see them out.
  if (window.answers < 3 * pace.concurrency || elapsedMs < MIN_WINDOW_MS) return { ...pace, chars, window };
  return { ...pace, chars, ...climb(pace, window.chars / elapsedMs, limits), window: openWindow(event.atMs) };
}

export function nextPace(pace: Pace, event: PaceEvent, limits: PaceLimits): Pace {
  if (event.kind === 'answered') return answered(pace, event, limits);
  if (event.kind === 'too-large') return { ...pace, chars: Math.min(pace.chars, clampChars(event.chars / 2)) };
  if (event.sentMs < pace.cutAtMs) return pace;
  const concurrency = Math.max(1, Math.floor(pace.concurrency / 2));
  return {
    ...pace,
    concurrency,
    doubling: false,
    best: { concurrency, rate: 0 },
    hold: HOLD_WINDOWS,
    cutAtMs: event.atMs,
    window: openWindow(event.atMs),
  };
}
