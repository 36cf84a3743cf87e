// How far a bulk job is: what it does a second of late, and when it will be done. Pure.
import { printAge, printRate } from '../terminal.ts';

export interface Sample {
  readonly atMs: number;
  readonly rows: number;
  readonly tokens: number;
}

/** What is behind: the oldest sample is the beginning of what counts as late. */
export interface Progress {
  readonly samples: readonly Sample[];
  /** Rows that were done before this run. */
  readonly resumed: number;
}

const RECENT_MS = 30_000;
const BAR = 24;

export const beginProgress = (atMs: number, resumed: number): Progress => ({
  samples: [{ atMs, rows: 0, tokens: 0 }],
  resumed,
});

/** One sample of what is older than the span is kept: it is where the span begins. */
export function addSample(progress: Progress, sample: Sample): Progress {
  const all = [...progress.samples, sample];
  const first = all.findLastIndex(({ atMs }) => atMs <= sample.atMs - RECENT_MS);
  return { ...progress, samples: all.slice(Math.max(0, first)) };
}

export interface Rate {
  readonly rowsPerSecond: number;
  readonly tokensPerSecond: number;
}

export function rateOf({ samples }: Progress): Rate {
  const [first, last] = [samples[0], samples.at(-1)];
  const seconds = first === undefined || last === undefined ? 0 : (last.atMs - first.atMs) / 1000;
  if (first === undefined || last === undefined || seconds <= 0) return { rowsPerSecond: 0, tokensPerSecond: 0 };
  return {
    rowsPerSecond: (last.rows - first.rows) / seconds,
    tokensPerSecond: (last.tokens - first.tokens) / seconds,
  };
}

export interface Position {
  /** Rows read from the input so far, done or not. */
  readonly rowsRead: number;
  /** Share of the input read so far; 0 where its size is not known. */
  readonly shareRead: number;
}

/** Share of the input that is done: of what was read, the rows under way are not. */
export function shareDone({ resumed, samples }: Progress, { rowsRead, shareRead }: Position): number {
  const done = resumed + (samples.at(-1)?.rows ?? 0);
  return rowsRead === 0 ? 0 : Math.min(1, (shareRead * done) / rowsRead);
}

/** Undefined where the size of the input is not known, or nothing was done yet. */
export function secondsLeft(progress: Progress, position: Position): number | undefined {
  const share = shareDone(progress, position);
  const { rowsPerSecond } = rateOf(progress);
  if (share === 0 || rowsPerSecond === 0) return undefined;
  const done = progress.resumed + (progress.samples.at(-1)?.rows ?? 0);
  return (done / share - done) / rowsPerSecond;
}

export const printCount = (count: number): string => Math.round(count).toLocaleString('en-US');

export function printProgress(progress: Progress, position: Position): string {
  const share = shareDone(progress, position);
  const { rowsPerSecond, tokensPerSecond } = rateOf(progress);
  const done = progress.resumed + (progress.samples.at(-1)?.rows ?? 0);
  const left = secondsLeft(progress, position);
  const full = Math.floor(share * BAR);
  const bar = share === 0 ? '' : `[${'█'.repeat(full)}${'░'.repeat(BAR - full)}] ${Math.floor(share * 100)} % · `;
  const rates = `${printRate(rowsPerSecond)} rows/s · ${printCount(tokensPerSecond)} tokens/s`;
  return `${bar}${printCount(done)} rows · ${rates}${left === undefined ? '' : ` · ${printAge(left)} left`}`;
}
