// Shows a fetch to a person: one redrawn line with a bar on a terminal, a plain line every few seconds elsewhere.
import { printProgress } from '../common/http/fetch-progress.ts';
import type { FetchProgress } from '../common/http/fetch-progress.ts';
import type { FetchEvent } from './fetch.ts';

const BAR_WIDTH = 28;
const REDRAW_MS = 100;
const PLAIN_MS = 5_000;

type ProgressEvent = Pick<Extract<FetchEvent, { kind: 'progress' }>, 'bytes' | 'total'>;

/** The rate is that of this fetch: what an earlier one left behind does not count. */
export const measureProgress = (now: () => number): ((event: ProgressEvent) => FetchProgress) => {
  let started: { readonly atMs: number; readonly bytes: number } | undefined;
  return ({ bytes, total }) => {
    const nowMs = now();
    started ??= { atMs: nowMs, bytes };
    const seconds = (nowMs - started.atMs) / 1000;
    return { bytes, total, bytesPerSecond: seconds > 0 ? Math.max(0, bytes - started.bytes) / seconds : 0 };
  };
};

export const drawBar = (progress: FetchProgress): string => {
  const part = progress.total === 0 ? 1 : Math.min(1, progress.bytes / progress.total);
  const full = Math.round(part * BAR_WIDTH);
  return `[${'█'.repeat(full)}${'░'.repeat(BAR_WIDTH - full)}] ${printProgress(progress)}`;
};

interface ProgressTarget {
  readonly write: (text: string) => void;
  readonly isTerminal: boolean;
  /** Plain lines as JSON, for logs that a machine reads. */
  readonly json?: boolean;
  readonly now: () => number;
  readonly modelId: string;
}

const wordsOf = (event: Exclude<FetchEvent, { kind: 'progress' }>): string => {
  switch (event.kind) {
    case 'source':
      return event.source === 'store' ? `found at ${event.detail}` : `fetching from ${event.detail}`;
    case 'retry':
      return `${event.what}: ${event.why}; trying again in ${(event.delayMs / 1000).toFixed(1)} s`;
    case 'waiting':
      return `waiting: ${event.detail}`;
  }
};

/** A listener for `ensureSnapshot`'s events. */
export const showProgress = (target: ProgressTarget): ((event: FetchEvent) => void) => {
  const measure = measureProgress(target.now);
  let drawnAt = Number.NEGATIVE_INFINITY;
  let lineOpen = false;
  const print = (message: string, fields: object): void => {
    if (lineOpen) target.write('\n');
    lineOpen = false;
    const line = target.json === true ? JSON.stringify({ msg: message, ...fields }) : `${target.modelId}: ${message}`;
    target.write(`${line}\n`);
  };
  const redraw = (line: string, done: boolean): void => {
    target.write(`\r\u001B[K${line}${done ? '\n' : ''}`);
    lineOpen = !done;
  };
  return (event) => {
    if (event.kind !== 'progress') {
      print(wordsOf(event), { model: target.modelId, ...event });
      return;
    }
    const { bytes, total } = event;
    const now = target.now();
    const progress = measure(event);
    const done = bytes >= total;
    if (!done && now - drawnAt < (target.isTerminal ? REDRAW_MS : PLAIN_MS)) return;
    drawnAt = now;
    if (target.isTerminal) redraw(drawBar(progress), done);
    else print(printProgress(progress), { model: target.modelId, bytes, total });
  };
};
