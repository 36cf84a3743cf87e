// The journal of a bulk job: what survives `kill -9`, so that the same command goes on where the last one ended.
//
// Beside the output OUT lies the folder OUT.partial while the job is not done:
//   vectors.f32   little-endian float32 vectors, appended as answers come, in whatever order they come
//   rows.jsonl    line 1: the settings that decide what a vector is. Then a line for each finished batch: which rows it holds,
//                 their ids, where their vectors begin, and a hash of the ids and texts that were sent
//   kubembed-N.lock   one job at a time
//
// A batch counts when its line is whole. Its vectors are on disk before that line is written (fdatasync, then the line, then
// fdatasync), so a line never speaks of vectors that are not there. What a kill tears is at the end of either file: half a line,
// or vectors that no line names. Opening cuts both off, and those rows are sent again. No row can count twice, because a job
// sends only rows that no line names, and a row belongs to one batch.
//
// Which rows these are is told by their number in the input, so the input must be the same: as it is read again, rows that are
// done are hashed and compared with their line, and a difference ends the job. The output is written from the journal in the
// order of the rows, under another name, and renamed when it is whole; only then the folder goes.
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { acquireLock, isAlive, readIdentity } from '../../hub/lock.ts';
import type { Lock } from '../../hub/lock.ts';
import { vectorFromBytes, vectorToBytes } from '../../common/openai/response.ts';
import { CommandError } from '../command.ts';
import { loadJournal, NOTHING, ROWS_FILE, VECTORS_FILE } from './journal-files.ts';
import type { Entry, Kept, Loaded, Settings } from './journal-files.ts';
import { printPlace } from './rows.ts';
import type { Id, Row } from './rows.ts';

/** A finished batch: rows that follow one another, and their vectors; none for rows that were left out. */
export interface Finished {
  readonly rows: readonly Row[];
  readonly vectors: readonly Float32Array[];
  readonly tokens: number;
  /** Commit of the weights, where the service tells. */
  readonly revision: string | undefined;
  /** Why these rows have no vectors. */
  readonly leftOut?: string;
}

export interface StoredRow {
  readonly id: Id;
  readonly text: string | undefined;
  readonly vector: Float32Array;
}

export interface JournalOptions {
  readonly folder: string;
  readonly settings: Settings;
  readonly keepTexts: boolean;
  /** What is there already does not count. */
  readonly restart: boolean;
  readonly now: () => number;
  readonly signal: AbortSignal;
}

/** A heartbeat older than this is of a dead machine, as when the folder is shared. */
const STALE_MS = 60_000;

function hashInto(hash: Hash, { id, text }: Row): void {
  hash.update(`${JSON.stringify(id)} ${text.length} ${text}\n`);
}

export function hashOf(rows: readonly Row[]): string {
  const hash = createHash('sha256');
  for (const row of rows) hashInto(hash, row);
  return hash.digest('hex');
}

async function takeLock(folder: string, { now, signal }: JournalOptions): Promise<Lock> {
  const taken = new AbortController();
  let holder = '';
  const lock = await acquireLock({
    folder,
    self: await readIdentity(),
    staleMs: STALE_MS,
    signal: AbortSignal.any([signal, taken.signal]),
    now,
    isAlive,
    onWait: (by) => {
      holder = by;
      taken.abort();
    },
    isNeedless: () => Promise.resolve(false),
  }).catch((error: unknown) => {
    if (!taken.signal.aborted) throw error;
    throw new CommandError(`${holder} is writing to ${folder}; two jobs cannot write one output`);
  });
  if (lock === undefined) throw new CommandError(`${folder} is in use`);
  return lock;
}

const printSetting = (value: Settings[string] | undefined): string => String(value ?? 'none');

function requireSame(folder: string, was: Settings, now: Settings): void {
  const [changed] = Object.keys({ ...was, ...now }).filter((name) => was[name] !== now[name]);
  if (changed === undefined) return;
  throw new CommandError(
    `${folder} holds a job that was begun with ${changed}: ${printSetting(was[changed])}, now it is ${printSetting(now[changed])}. Give the same, or --restart to start again from the beginning.`,
  );
}

/** @throws CommandError when the folder is another job's, or in use */
export async function openJournal(options: JournalOptions): Promise<Journal> {
  const { folder, settings } = options;
  const lock = await takeLock(folder, options);
  try {
    const loaded = options.restart ? NOTHING : await loadJournal(folder);
    if (loaded.header !== undefined) requireSame(folder, loaded.header, settings);
    for (const [name, bytes] of [
      [ROWS_FILE, loaded.rowBytes],
      [VECTORS_FILE, loaded.vectorBytes],
    ] as const) {
      await using handle = await open(join(folder, name), 'a');
      await handle.truncate(bytes);
    }
    const [rows, vectors] = await Promise.all([
      open(join(folder, ROWS_FILE), 'a+'),
      open(join(folder, VECTORS_FILE), 'a+'),
    ]);
    const journal = new Journal({ ...options, ...loaded, lock, rows, vectors });
    if (loaded.header === undefined) await journal.begin(settings);
    return journal;
  } catch (error) {
    await lock.release();
    throw error;
  }
}

interface JournalParts extends JournalOptions, Loaded {
  readonly lock: Lock;
  readonly rows: FileHandle;
  readonly vectors: FileHandle;
}

export class Journal {
  readonly #parts: JournalParts;
  /** By the first row; each batch that was there when the journal was opened, in order. */
  readonly #before: readonly Kept[];
  readonly #kept: Kept[];
  #rowBytes: number;
  #vectorBytes: number;
  #dimensions: number | undefined;
  #revision: string | undefined;
  #waiting: { readonly finished: Finished; readonly settle: (error?: Error) => void }[] = [];
  #writing: Promise<void> | undefined;

  constructor(parts: JournalParts) {
    this.#parts = parts;
    this.#kept = [...parts.kept];
    this.#before = parts.kept.toSorted((a, b) => a.first - b.first);
    this.#rowBytes = parts.rowBytes;
    this.#vectorBytes = parts.vectorBytes;
    this.#dimensions = parts.dimensions;
    this.#revision = parts.revision;
  }

  /** Rows that were done when it was opened. */
  get resumedRows(): number {
    return this.#before.reduce((sum, { count }) => sum + count, 0);
  }

  async begin(settings: Settings): Promise<void> {
    await this.#append(`${JSON.stringify(settings)}\n`);
    await this.#parts.rows.datasync();
  }

  async #append(text: string): Promise<void> {
    const bytes = Buffer.from(text);
    await this.#parts.rows.appendFile(bytes);
    this.#rowBytes += bytes.byteLength;
  }

  /** Passes on the rows that are not done yet; those that are must be what they were. @throws CommandError */
  async *missing(rows: AsyncIterable<Row>): AsyncGenerator<Row> {
    let at = 0;
    let hash = createHash('sha256');
    for await (const row of rows) {
      const batch = this.#before[at];
      if (batch === undefined || row.number < batch.first) {
        yield row;
        continue;
      }
      hashInto(hash, row);
      if (row.number < batch.first + batch.count - 1) continue;
      if (hash.digest('hex') !== batch.sha256) {
        throw new CommandError(
          `The input has changed since the job was begun: the ${batch.count} rows up to ${printPlace(row.place)} are not those that were embedded. Give the same input, or --restart to start again from the beginning.`,
        );
      }
      hash = createHash('sha256');
      at += 1;
    }
    const gone = this.#before[at];
    if (gone !== undefined)
      throw new CommandError(
        `The input has changed since the job was begun: it has fewer rows than were embedded (row ${gone.first + gone.count} is missing). Give the same input, or --restart to start again from the beginning.`,
      );
  }

  #check({ vectors: [vector], revision }: Finished): void {
    if (vector !== undefined) {
      this.#dimensions ??= vector.length;
      if (vector.length !== this.#dimensions)
        throw new CommandError(
          `The service answered with vectors of ${vector.length} numbers, and of ${this.#dimensions} before: another model serves this name now.`,
        );
    }
    this.#revision ??= revision;
    if (revision !== undefined && revision !== this.#revision)
      throw new CommandError(
        `The service's weights have changed, from ${this.#revision ?? ''} to ${revision}: vectors of both must not be mixed. Use --restart to start again from the beginning, or pin spec.revision.`,
      );
  }

  /** Resolves when the batch is on disk. */
  async write(finished: Finished): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const settle = (error?: Error): void => (error === undefined ? resolve() : reject(error));
      this.#waiting.push({ finished, settle });
      this.#writing ??= this.#writeAll().finally(() => (this.#writing = undefined));
    });
  }

  /** All that came while the last group was written makes the next: two syncs a group, however many batches. */
  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      try {
        await this.#writeGroup(group.map(({ finished }) => finished));
        for (const { settle } of group) settle();
      } catch (error) {
        for (const { settle } of group) settle(error as Error);
      }
    }
  }

  async #writeGroup(group: readonly Finished[]): Promise<void> {
    const { vectors: file, rows: log, keepTexts, lock } = this.#parts;
    lock.lost.throwIfAborted();
    const entries: Entry[] = [];
    for (const finished of group) {
      this.#check(finished);
      const { rows, vectors, tokens, revision, leftOut } = finished;
      entries.push({
        first: rows[0]?.number ?? 0,
        count: rows.length,
        at: this.#vectorBytes,
        dimensions: vectors[0]?.length ?? 0,
        ids: rows.map(({ id }) => id),
        sha256: hashOf(rows),
        tokens,
        ...(revision === undefined ? {} : { revision }),
        ...(keepTexts ? { texts: rows.map(({ text }) => text) } : {}),
        ...(leftOut === undefined ? {} : { leftOut }),
      });
      const bytes = Buffer.concat(vectors.map(vectorToBytes));
      await file.appendFile(bytes);
      this.#vectorBytes += bytes.byteLength;
    }
    await file.datasync();
    for (const entry of entries) {
      const offset = this.#rowBytes;
      await this.#append(`${JSON.stringify(entry)}\n`);
      const { first, count, sha256 } = entry;
      this.#kept.push({ first, count, sha256, offset, length: this.#rowBytes - offset });
    }
    await log.datasync();
  }

  async #entryOf({ offset, length }: Kept): Promise<Entry> {
    const { buffer } = await this.#parts.rows.read(Buffer.alloc(length), 0, length, offset);
    return JSON.parse(buffer.toString()) as Entry;
  }

  /** Every row that has a vector, in the order of the input. */
  async *stored(): AsyncGenerator<StoredRow> {
    for (const kept of this.#kept.toSorted((a, b) => a.first - b.first)) {
      const { ids, texts, at, count, dimensions, leftOut } = await this.#entryOf(kept);
      if (leftOut !== undefined) continue;
      const bytes = Buffer.alloc(4 * dimensions * count);
      await this.#parts.vectors.read(bytes, 0, bytes.byteLength, at);
      for (const [index, id] of ids.entries()) {
        const vector = vectorFromBytes(bytes.subarray(4 * dimensions * index, 4 * dimensions * (index + 1)));
        yield { id, text: texts?.[index], vector };
      }
    }
  }

  /** Every row that has none, and why. */
  async *leftOut(): AsyncGenerator<{ readonly id: Id; readonly reason: string }> {
    for (const kept of this.#kept.toSorted((a, b) => a.first - b.first)) {
      const { ids, leftOut } = await this.#entryOf(kept);
      if (leftOut !== undefined) for (const id of ids) yield { id, reason: leftOut };
    }
  }

  /** What the whole job came to. */
  async summary(): Promise<{
    rows: number;
    leftOut: number;
    tokens: number;
    dimensions: number;
    idsAreNumbers: boolean;
  }> {
    let [rows, leftOut, tokens] = [0, 0, 0];
    let idsAreNumbers = true;
    for (const kept of this.#kept) {
      const entry = await this.#entryOf(kept);
      tokens += entry.tokens;
      if (entry.leftOut === undefined) rows += entry.count;
      else leftOut += entry.count;
      idsAreNumbers &&= entry.ids.every((id) => typeof id === 'number');
    }
    return { rows, leftOut, tokens, dimensions: this.#dimensions ?? 0, idsAreNumbers };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async close(): Promise<void> {
    await this.#writing;
    await Promise.all([this.#parts.rows.close(), this.#parts.vectors.close()]);
    await this.#parts.lock.release();
  }
}

/** Of a job that is done, or to be begun anew. */
export const dropJournal = async (folder: string): Promise<void> => await rm(folder, { recursive: true, force: true });
