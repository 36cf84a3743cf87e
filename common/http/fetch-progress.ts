// How far a replica is that fetches its weights, as the fetching process tells it over HTTP and the operator asks for it.
import { isRecord, printBytes } from '../util/text.ts';

export const PROGRESS_PATH = '/progress';
export const MAX_PROGRESS_BYTES = 1024;

export interface FetchProgress {
  readonly bytes: number;
  readonly total: number;
  readonly bytesPerSecond: number;
}

const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0;

/** Undefined for what is no progress. */
export function parseProgress(text: string): FetchProgress | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (!isRecord(value)) return undefined;
    const { bytes, total, bytesPerSecond } = value;
    if (!isCount(bytes) || !isCount(total) || !isCount(bytesPerSecond) || bytes > total) return undefined;
    return { bytes, total, bytesPerSecond };
  } catch {
    return undefined;
  }
}

const percent = ({ bytes, total }: FetchProgress): string =>
  `${total === 0 ? 100 : Math.floor((bytes / total) * 100)} %`;

const duration = (seconds: number): string => {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.ceil(seconds / 60)} min` : `${Math.ceil(seconds / 3600)} h`;
};

/** What is left, in time; undefined without an idea of it. */
const remaining = ({ bytes, total, bytesPerSecond }: FetchProgress): string | undefined =>
  bytesPerSecond > 0 && bytes < total ? duration((total - bytes) / bytesPerSecond) : undefined;

const listed = (...parts: readonly (string | undefined)[]): string =>
  parts.filter((part) => part !== undefined).join(', ');

/** `43 %, 2 min` */
export const printShortProgress = (progress: FetchProgress): string => listed(percent(progress), remaining(progress));

/** `43 % of 1.1 GB, 50 MB/s, 2 min left` */
export function printProgress(progress: FetchProgress): string {
  const left = remaining(progress);
  return listed(
    `${percent(progress)} of ${printBytes(progress.total)}`,
    `${printBytes(progress.bytesPerSecond)}/s`,
    left === undefined ? undefined : `${left} left`,
  );
}
