// An NVIDIA card as nvidia-smi sees it: what it is, how busy it is and how much of its memory is taken. The parsers are pure.
import { execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { errorText } from '../common/util/text.ts';

export interface CardReading {
  readonly atMs: number;
  /** Per cent of the last moments in which anything ran; NaN where the card does not tell, as slices of one do not. */
  readonly busyPercent: number;
  readonly memoryMb: number;
}

export interface CardUse {
  /** From 0 to 1; NaN where the card does not tell. */
  readonly busyShare: number;
  /** At most, of the process that was measured. */
  readonly memoryMb: number;
}

export interface CardFacts {
  readonly name: string;
  readonly driver: string;
  readonly memoryMb: number;
}

/** Others than numbers are `[N/A]`, `[Not Supported]` and the like. */
const numberIn = (text = ''): number => (/^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN);
const fieldsOf = (line: string): string[] => line.split(',').map((field) => field.trim());

/** Of `utilization.gpu,memory.used`; undefined for a line that is none. */
export function parseReading(line: string, atMs: number): CardReading | undefined {
  const [busy, memory] = fieldsOf(line);
  const memoryMb = numberIn(memory);
  return Number.isNaN(memoryMb) ? undefined : { atMs, busyPercent: numberIn(busy), memoryMb };
}

/** Of `name,driver_version,memory.total`. */
export function parseFacts(text: string): CardFacts | undefined {
  const [name = '', driver = '', memory] = fieldsOf(text.trim().split('\n', 1)[0] ?? '');
  const memoryMb = numberIn(memory);
  return Number.isNaN(memoryMb) ? undefined : { name, driver, memoryMb };
}

/** What the card says looks back so far. */
const LAG_MS = 1000;

/** How busy from one moment on; the first second is left out where there is more. */
export function busyShareOf(readings: readonly CardReading[], fromMs: number): number {
  const settled = readings.filter(({ atMs }) => atMs >= fromMs + LAG_MS);
  const counted = settled.length > 0 ? settled : readings;
  return counted.reduce((sum, { busyPercent }) => sum + busyPercent, 0) / counted.length / 100;
}

const EVERY_MS = 100;
const options = (fields: string): string[] => [`--query-gpu=${fields}`, '--format=csv,noheader,nounits'];
const READING_OPTIONS = options('utilization.gpu,memory.used');

export interface Card {
  readonly facts: CardFacts;
  memoryMb(): Promise<number>;
  /** Watches from now on; the returned function ends that. */
  watch(): () => { readonly busyShare: number; readonly memoryMb: number };
  close(): void;
}

/** The first of those that programs may use. */
const chosen = (): string => process.env['CUDA_VISIBLE_DEVICES']?.split(',')[0] ?? '0';

/** Rejects with why there is no card. */
export async function openCard(): Promise<Card> {
  const ask = async (args: readonly string[]): Promise<string> =>
    (await promisify(execFile)('nvidia-smi', [`--id=${chosen()}`, ...args])).stdout;
  const told = await ask(options('name,driver_version,memory.total')).catch((error: unknown) => {
    throw new Error(`nvidia-smi finds no NVIDIA GPU (${errorText(error).trim().split('\n').at(-1)})`, { cause: error });
  });
  const facts = parseFacts(told);
  if (facts === undefined) throw new Error(`nvidia-smi tells of no GPU: ${told.trim()}`);
  const readings: CardReading[] = [];
  const child = spawn('nvidia-smi', [`--id=${chosen()}`, ...READING_OPTIONS, `--loop-ms=${EVERY_MS}`], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  createInterface({ input: child.stdout }).on('line', (line) => {
    const reading = parseReading(line, performance.now());
    if (reading !== undefined) readings.push(reading);
  });
  const close = (): void => void child.kill();
  process.once('exit', close);
  return {
    facts,
    memoryMb: async () => parseReading(await ask(READING_OPTIONS), 0)?.memoryMb ?? Number.NaN,
    watch: () => {
      const fromMs = performance.now();
      return () => {
        const seen = readings.filter(({ atMs }) => atMs >= fromMs);
        return { busyShare: busyShareOf(seen, fromMs), memoryMb: Math.max(...seen.map(({ memoryMb }) => memoryMb)) };
      };
    },
    close: () => {
      process.removeListener('exit', close);
      close();
    },
  };
}
