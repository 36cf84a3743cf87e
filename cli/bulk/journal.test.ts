import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openJournal } from './journal.ts';
import type { Journal, JournalOptions } from './journal.ts';
import type { Row } from './rows.ts';

let parent: string;
let folder: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'kubembed-journal-'));
  folder = join(parent, 'out.partial');
});
afterEach(async () => await rm(parent, { recursive: true, force: true }));

const rowOf = (number: number, text = `text ${number}`): Row => ({
  number,
  id: `id ${number} ü`,
  text,
  place: { source: 'in.txt', unit: 'line', at: number + 1 },
});
const rowsOf = (count: number): Row[] => Array.from({ length: count }, (_, at) => rowOf(at));
const vectorOf = ({ number }: Row): Float32Array => Float32Array.of(number, -number, 0.5);

async function* streamed(rows: readonly Row[]): AsyncGenerator<Row> {
  yield* rows;
}

const opened = async (options: Partial<JournalOptions> = {}): Promise<Journal> =>
  await openJournal({
    folder,
    settings: { model: 'm' },
    keepTexts: false,
    restart: false,
    now: () => performance.now(),
    signal: new AbortController().signal,
    ...options,
  });

const write = async (journal: Journal, rows: readonly Row[], revision = 'a'): Promise<void> =>
  await journal.write({ rows, vectors: rows.map(vectorOf), tokens: rows.length, revision });

async function missing(journal: Journal, rows: readonly Row[]): Promise<number[]> {
  const numbers: number[] = [];
  for await (const { number } of journal.missing(streamed(rows))) numbers.push(number);
  return numbers;
}

async function stored(journal: Journal): Promise<[unknown, number[]][]> {
  const all: [unknown, number[]][] = [];
  for await (const { id, vector } of journal.stored()) all.push([id, [...vector]]);
  return all;
}

const expected = (rows: readonly Row[]): [unknown, number[]][] => rows.map((row) => [row.id, [...vectorOf(row)]]);

describe('the journal of a bulk job', () => {
  it('gives rows back in order, however their batches came', async () => {
    const rows = rowsOf(10);
    const journal = await opened();
    await Promise.all([
      write(journal, rows.slice(6)),
      write(journal, rows.slice(2, 6)),
      write(journal, rows.slice(0, 2)),
    ]);
    expect(await stored(journal)).toEqual(expected(rows));
    expect(await journal.summary()).toMatchObject({ rows: 10, tokens: 10, dimensions: 3, idsAreNumbers: false });
    await journal.close();
  });

  it('loses nothing and doubles nothing, wherever either file is torn', async () => {
    const rows = rowsOf(12);
    const journal = await opened();
    for (const from of [3, 0, 9, 6]) await write(journal, rows.slice(from, from + 3));
    await journal.close();
    const [log, vectors] = [join(folder, 'rows.jsonl'), join(folder, 'vectors.f32')];
    const [logBytes, vectorBytes] = await Promise.all([readFile(log), readFile(vectors)]);
    await fc.assert(
      fc.asyncProperty(
        fc.nat(logBytes.length),
        fc.oneof(fc.constant(vectorBytes.length), fc.nat(vectorBytes.length)),
        fc.boolean(),
        async (logEnd, vectorEnd, junk) => {
          await writeFile(log, logBytes.subarray(0, logEnd));
          await writeFile(vectors, vectorBytes.subarray(0, vectorEnd));
          // Vectors whose line was never written.
          if (junk && vectorEnd === vectorBytes.length) await appendFile(vectors, Buffer.alloc(7, 0xee));
          await using again = await opened();
          const numbers = await missing(again, rows);
          // What is missing is whole batches, and sending them makes the job whole.
          expect(numbers.length % 3).toBe(0);
          for (let at = 0; at < numbers.length; at += 3)
            await write(
              again,
              numbers.slice(at, at + 3).map((n) => rows[n]!),
            );
          expect(await stored(again)).toEqual(expected(rows));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('keeps all that was written before a kill', async () => {
    const rows = rowsOf(6);
    const journal = await opened();
    await write(journal, rows.slice(0, 3));
    await journal.close();
    const { size } = await stat(join(folder, 'rows.jsonl'));
    await appendFile(join(folder, 'rows.jsonl'), '{"first":3,"count":3,"at":3');
    const again = await opened();
    expect(again.resumedRows).toBe(3);
    expect((await stat(join(folder, 'rows.jsonl'))).size).toBe(size);
    expect(await missing(again, rows)).toEqual([3, 4, 5]);
    await again.close();
  });

  it('refuses another input, fewer rows, other settings, other weights', async () => {
    const rows = rowsOf(6);
    const journal = await opened();
    await write(journal, rows.slice(0, 3));
    await expect(write(journal, rows.slice(3), 'b')).rejects.toThrow('weights have changed, from a to b');
    await journal.close();
    const again = await opened();
    const changed = rows.with(1, rowOf(1, 'another'));
    await expect(missing(again, changed)).rejects.toThrow('the 3 rows up to in.txt, line 3 are not those');
    await expect(missing(again, rows.slice(0, 2))).rejects.toThrow('it has fewer rows');
    await again.close();
    await expect(opened({ settings: { model: 'n' } })).rejects.toThrow('begun with model: m, now it is n');
    const anew = await opened({ settings: { model: 'n' }, restart: true });
    expect(await missing(anew, rows)).toHaveLength(6);
    await anew.close();
  });

  it('is one job at a time', async () => {
    const journal = await opened();
    await expect(opened()).rejects.toThrow(`process ${process.pid} is writing to`);
    await journal.close();
    await (await opened()).close();
  });

  it('tells which rows were left out, and why', async () => {
    const rows = rowsOf(4);
    const journal = await opened({ keepTexts: true });
    await write(journal, rows.slice(0, 2));
    await journal.write({ rows: rows.slice(2, 3), vectors: [], tokens: 0, revision: undefined, leftOut: 'too long' });
    await write(journal, rows.slice(3));
    await journal.close();
    const again = await opened({ keepTexts: true });
    expect(await missing(again, rows)).toEqual([]);
    expect((await stored(again)).map(([id]) => id)).toEqual([0, 1, 3].map((at) => rows[at]!.id));
    const leftOut = [];
    for await (const row of again.leftOut()) leftOut.push(row);
    expect(leftOut).toEqual([{ id: rows[2]!.id, reason: 'too long' }]);
    expect(await again.summary()).toMatchObject({ rows: 3, leftOut: 1 });
    await again.close();
  });
});
