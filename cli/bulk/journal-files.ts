// The files of a bulk job's journal, read back: what a line says, and everything up to the first line that is not whole.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Id } from './rows.ts';

export const ROWS_FILE = 'rows.jsonl';
export const VECTORS_FILE = 'vectors.f32';
const NEWLINE = '\n';

/** All that decides what a vector is and which rows there are. */
export type Settings = Readonly<Record<string, string | number | boolean | null>>;

export interface Entry {
  readonly first: number;
  readonly count: number;
  /** Of the vectors, in bytes. */
  readonly at: number;
  readonly dimensions: number;
  readonly ids: readonly Id[];
  readonly sha256: string;
  readonly tokens: number;
  readonly revision?: string;
  readonly texts?: readonly string[];
  readonly leftOut?: string;
}

/** What is kept in memory of a batch: all else is read again when the output is written. */
export interface Kept {
  readonly first: number;
  readonly count: number;
  readonly sha256: string;
  /** Of its line. */
  readonly offset: number;
  readonly length: number;
}

function parseEntry(line: string): Entry | undefined {
  try {
    return JSON.parse(line) as Entry;
  } catch {
    return undefined;
  }
}

const byteLength = async (file: string): Promise<number> =>
  await stat(file).then(
    ({ size }) => size,
    () => 0,
  );

export interface Loaded {
  readonly header: Settings | undefined;
  readonly kept: Kept[];
  readonly rowBytes: number;
  readonly vectorBytes: number;
  readonly dimensions: number | undefined;
  readonly revision: string | undefined;
}

export const NOTHING: Loaded = {
  header: undefined,
  kept: [],
  rowBytes: 0,
  vectorBytes: 0,
  dimensions: undefined,
  revision: undefined,
};

const endOf = ({ at, count, dimensions, leftOut }: Entry): number =>
  at + (leftOut === undefined ? 4 * dimensions * count : 0);

/** Everything up to the first line that is not whole, or that speaks of vectors that are not there. */
export async function loadJournal(folder: string): Promise<Loaded> {
  const vectorsOnDisk = await byteLength(join(folder, VECTORS_FILE));
  let loaded: Loaded = { ...NOTHING, kept: [] };
  for await (const line of wholeLines(join(folder, ROWS_FILE))) {
    const length = Buffer.byteLength(line) + 1;
    const offset = loaded.rowBytes;
    const entry = parseEntry(line);
    if (entry === undefined || endOf(entry) > vectorsOnDisk) break;
    if (loaded.header === undefined) {
      loaded = { ...loaded, header: entry as unknown as Settings, rowBytes: length };
      continue;
    }
    const { first, count, sha256 } = entry;
    loaded.kept.push({ first, count, sha256, offset, length });
    const dimensions = entry.leftOut === undefined ? entry.dimensions : loaded.dimensions;
    const vectorBytes = Math.max(loaded.vectorBytes, endOf(entry));
    loaded = {
      ...loaded,
      rowBytes: offset + length,
      vectorBytes,
      dimensions,
      revision: entry.revision ?? loaded.revision,
    };
  }
  return loaded;
}

async function* wholeLines(file: string): AsyncGenerator<string> {
  if ((await byteLength(file)) === 0) return;
  // A line is cut by bytes and decoded whole: a chunk may end within a character.
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    rest = Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(NEWLINE); end !== -1; end = rest.indexOf(NEWLINE)) {
      yield rest.toString('utf8', 0, end);
      rest = rest.subarray(end + 1);
    }
  }
}
