// Shows a fetch to a person: one redrawn line with a bar on a terminal, a plain line every few seconds elsewhere.
import { printBytes } from '../common/util/text.ts';
import type { FetchEvent } from './fetch.ts';

const BAR_WIDTH = 28;
const REDRAW_MS = 100;
const PLAIN_MS = 5_000;

const duration = (seconds: number): string =>
  seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;

interface Progress {
  readonly bytes: number;
  readonly total: number;
  readonly bytesPerSecond: number;
}

const describeProgress = ({ bytes, total, bytesPerSecond }: Progress): string => {
  const percent = total === 0 ? 100 : Math.floor((bytes / total) * 100);
  const rest = bytesPerSecond > 0 && bytes < total ? `, ${duration((total - bytes) / bytesPerSecond)} left` : '';
  return `${percent}% of ${printBytes(total)}, ${printBytes(bytesPerSecond)}/s${rest}`;
};

export const drawBar = (progress: Progress): string => {
  const part = progress.total === 0 ? 1 : Math.min(1, progress.bytes / progress.total);
  const full = Math.round(part * BAR_WIDTH);
  return `[${'█'.repeat(full)}${'░'.repeat(BAR_WIDTH - full)}] ${describeProgress(progress)}`;
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
  let started: { at: number; bytes: number } | undefined;
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
    started ??= { at: now, bytes };
    const done = bytes >= total;
    if (!done && now - drawnAt < (target.isTerminal ? REDRAW_MS : PLAIN_MS)) return;
    drawnAt = now;
    const seconds = (now - started.at) / 1000;
    const progress = { bytes, total, bytesPerSecond: seconds > 0 ? Math.max(0, bytes - started.bytes) / seconds : 0 };
    if (target.isTerminal) redraw(drawBar(progress), done);
    else print(describeProgress(progress), { model: target.modelId, bytes, total });
  };
};
