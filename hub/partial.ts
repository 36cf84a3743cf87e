// A file that is still coming: its ranges, what a killed fetch left of each, and the hash that follows the bytes on disk.
import { EventEmitter, once } from 'node:events';
import { open, readFile, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { startHash } from './proof.ts';
import type { Proof } from './proof.ts';

/** Bytes `start` (inclusive) to `end` (exclusive), of which the first `have` are on disk. */
export interface Range {
  /** Its number in the file. */
  readonly at: number;
  readonly start: number;
  readonly end: number;
  readonly have: number;
}

const SMALLEST_RANGE = 8 << 20;
/** So that the largest file costs the hub this many questions and no more. */
const MOST_RANGES = 64;

/** How a file is divided. It follows from the size alone, so that a later fetch divides it alike. */
export const divide = (size: number): readonly Range[] => {
  const length = Math.max(SMALLEST_RANGE, Math.ceil(size / MOST_RANGES));
  const count = Math.max(1, Math.ceil(size / length));
  return Array.from({ length: count }, (_, at) => ({
    at,
    start: at * length,
    end: Math.min(size, (at + 1) * length),
    have: 0,
  }));
};

/** For a server that sends whole files only. */
export const undivided = (size: number): readonly Range[] => [{ at: 0, start: 0, end: size, have: 0 }];

export const isWhole = ({ start, end, have }: Range): boolean => start + have === end;

const filled = (range: Range, have: number): Range => ({
  ...range,
  have: Math.min(range.end - range.start, Math.max(0, have)),
});

/** The ranges of which the file's first `bytes` bytes are there: what one connection from the start leaves behind. */
export const withPrefix = (ranges: readonly Range[], bytes: number): readonly Range[] =>
  ranges.map((range) => filled(range, bytes - range.start));

// The note beside the file: a 64-bit little-endian count for each range. It may say less than is there, never more.

const NOTE_BYTES = 8;

const withNote = (ranges: readonly Range[], note: Buffer): readonly Range[] | undefined =>
  note.length === ranges.length * NOTE_BYTES
    ? ranges.map((range) => filled(range, Number(note.readBigUInt64LE(range.at * NOTE_BYTES))))
    : undefined;

const printNote = (ranges: readonly Range[]): Buffer => {
  const note = Buffer.alloc(ranges.length * NOTE_BYTES);
  for (const [at, { have }] of ranges.entries()) note.writeBigUInt64LE(BigInt(have), at * NOTE_BYTES);
  return note;
};

const NOTED_EVERY = 1 << 20;
const READ_BYTES = 1 << 20;

const openOrCreate = async (path: string): Promise<FileHandle> => {
  await (await open(path, 'a+')).close();
  return await open(path, 'r+');
};

export interface PartialPaths {
  readonly file: string;
  /** Of a file in several ranges. */
  readonly note: string;
}

export const removePartial = async ({ file, note }: PartialPaths): Promise<void> => {
  await rm(file, { force: true });
  await rm(note, { force: true });
};

/** A range while it comes, and how much of it the note knows of. */
interface ComingRange extends Range {
  have: number;
  noted: number;
}

/** One such file on disk. Writers of different ranges may work side by side; each range has one writer. */
export class PartialFile {
  /** They grow. */
  readonly ranges: readonly Range[];
  readonly #ranges: readonly ComingRange[];
  readonly #file: FileHandle;
  readonly #note: FileHandle | undefined;
  readonly #grown = new EventEmitter();

  private constructor(file: FileHandle, note: FileHandle | undefined, ranges: readonly Range[]) {
    this.#file = file;
    this.#note = note;
    this.#ranges = ranges.map((range) => ({ ...range, noted: range.have }));
    this.ranges = this.#ranges;
  }

  /** Goes on with what lies there, by the note or, without one, as a beginning of the file. */
  static async open(paths: PartialPaths, layout: readonly Range[], size: number): Promise<PartialFile> {
    const file = await openOrCreate(paths.file);
    try {
      const found = (await file.stat()).size;
      if (found > size) await file.truncate(0);
      const bytes = found > size ? 0 : found;
      const begun = withPrefix(layout, bytes);
      if (layout.length === 1) return new PartialFile(file, undefined, begun);
      const noted = await readFile(paths.note).catch(() => undefined);
      const ranges = (bytes > 0 && noted !== undefined ? withNote(layout, noted) : undefined) ?? begun;
      const note = await openOrCreate(paths.note);
      await note.write(printNote(ranges), 0, ranges.length * NOTE_BYTES, 0);
      return new PartialFile(file, note, ranges);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get bytes(): number {
    return this.#ranges.reduce((sum, { have }) => sum + have, 0);
  }

  /** Puts `chunks` behind what range `at` has. */
  async append(at: number, chunks: readonly Buffer[]): Promise<void> {
    const range = this.#ranges[at];
    const bytes = chunks.reduce((sum, { length }) => sum + length, 0);
    if (range === undefined || range.start + range.have + bytes > range.end) {
      throw new RangeError(`range ${at} has no room for ${bytes} bytes more`);
    }
    await this.#file.writev(chunks, range.start + range.have);
    range.have += bytes;
    this.#grown.emit('grown');
    if (range.have - range.noted >= NOTED_EVERY || isWhole(range)) await this.#noteDown(range);
  }

  async #noteDown(range: ComingRange): Promise<void> {
    range.noted = range.have;
    await this.#note?.write(printNote([range]), 0, NOTE_BYTES, range.at * NOTE_BYTES);
  }

  /** Up to where the file is there without a gap. */
  #frontier(size: number): number {
    const first = this.#ranges.find((range) => !isWhole(range));
    return first === undefined ? size : first.start + first.have;
  }

  /** The hash of the whole file. It follows the writers, so that little is left to do when the last has ended. */
  async hash(proof: Proof, signal: AbortSignal): Promise<string> {
    const hash = startHash(proof);
    const buffer = Buffer.alloc(READ_BYTES);
    let hashed = 0;
    while (hashed < proof.size) {
      signal.throwIfAborted();
      const there = Math.min(READ_BYTES, this.#frontier(proof.size) - hashed);
      if (there === 0) {
        await once(this.#grown, 'grown', { signal });
        continue;
      }
      const { bytesRead } = await this.#file.read(buffer, 0, there, hashed);
      // A file cut from outside has less than its note says.
      if (bytesRead === 0) return '';
      hash.update(buffer.subarray(0, bytesRead));
      hashed += bytesRead;
    }
    return hash.digest('hex');
  }

  /** Without it a power cut after the rename could leave a whole name on a hollow file. */
  async sync(): Promise<void> {
    await this.#file.sync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
    await this.#note?.close();
  }
}
