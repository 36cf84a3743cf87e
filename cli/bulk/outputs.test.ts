import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { idsFileOf, npyHeader, outputFormatOf, printNumbers, writeOutput } from './outputs.ts';
import type { OutputRow } from './outputs.ts';

let folder: string;
beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'kubembed-outputs-'))));
afterEach(async () => await rm(folder, { recursive: true, force: true }));

async function* streamed(rows: readonly OutputRow[]): AsyncGenerator<OutputRow> {
  yield* rows;
}

const rowsOf = (count: number, idOf: (at: number) => string | number): OutputRow[] =>
  Array.from({ length: count }, (_, at) => ({
    id: idOf(at),
    text: `text ${at} ü`,
    vector: Float32Array.of(Math.fround(Math.sin(at)), 1 - at / 3, 1e-30),
  }));

describe('printNumbers', () => {
  it('prints what reads as the same float32', () => {
    fc.assert(
      fc.property(fc.float32Array({ noNaN: true, noDefaultInfinity: true }), (vector) => {
        const text = JSON.stringify(printNumbers(vector));
        expect(Float32Array.from(JSON.parse(text) as number[])).toEqual(
          Float32Array.from(vector, (value) => value + 0),
        );
      }),
    );
    expect(JSON.stringify(printNumbers(Float32Array.of(0.1)))).toBe('[0.100000001]');
  });
});

describe('writeOutput', () => {
  it.each([true, false])('writes Parquet that reads back, ids as numbers: %s', async (idsAreNumbers) => {
    const file = join(folder, 'out.parquet');
    const rows = rowsOf(25_001, (at) => (idsAreNumbers ? 2 ** 50 + at : `id ${at}`));
    await writeOutput(streamed(rows), {
      file,
      format: 'parquet',
      shape: { rows: rows.length, dimensions: 3, idsAreNumbers, hasTexts: true },
    });
    const read = await parquetReadObjects({ file: await asyncBufferFromFile(file) });
    expect(read).toHaveLength(rows.length);
    for (const at of [0, 9999, 10_000, 25_000]) {
      const { id, text, embedding } = read[at]!;
      expect(idsAreNumbers ? Number(id as bigint) : id).toBe(rows[at]!.id);
      expect(text).toBe(rows[at]!.text);
      expect(Float32Array.from(embedding as number[])).toEqual(rows[at]!.vector);
    }
  });

  it('writes NumPy arrays with their ids beside them', async () => {
    const file = join(folder, 'out.npy');
    const rows = rowsOf(10_001, (at) => `id "${at}"`);
    await writeOutput(streamed(rows), {
      file,
      format: 'npy',
      shape: { rows: rows.length, dimensions: 3, idsAreNumbers: false, hasTexts: false },
    });
    const bytes = await readFile(file);
    const header = npyHeader({ rows: rows.length, dimensions: 3 });
    expect(header.length % 64).toBe(0);
    expect(bytes.subarray(0, header.length)).toEqual(header);
    expect(bytes.length - header.length).toBe(rows.length * 3 * 4);
    expect(bytes.readFloatLE(header.length + 4 * (3 * 7 + 1))).toBe(rows[7]!.vector[1]);
    expect(JSON.parse(await readFile(idsFileOf(file), 'utf8'))).toEqual(rows.map(({ id }) => id));
  });

  it.each(['jsonl', 'base64'] as const)('writes %s', async (format) => {
    const file = join(folder, 'out.jsonl');
    const rows = rowsOf(500, (at) => at);
    await writeOutput(streamed(rows), {
      file,
      format,
      shape: { rows: rows.length, dimensions: 3, idsAreNumbers: true, hasTexts: true },
    });
    const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
    const read = lines.map((line) => {
      const { id, text, embedding } = JSON.parse(line) as { id: number; text: string; embedding: string | number[] };
      const bytes = typeof embedding === 'string' ? Buffer.from(embedding, 'base64') : undefined;
      const numbers = bytes === undefined ? embedding : [0, 4, 8].map((at) => bytes.readFloatLE(at));
      return { id, text, vector: Float32Array.from(numbers as number[]) };
    });
    expect(read).toEqual(rows);
  });

  it('says that it cannot write', async () => {
    await expect(
      writeOutput(streamed(rowsOf(3, (at) => at)), {
        file: join(folder, 'none', 'out.jsonl'),
        format: 'jsonl',
        shape: { rows: 3, dimensions: 3, idsAreNumbers: true, hasTexts: false },
      }),
    ).rejects.toThrow('ENOENT');
    expect(() => outputFormatOf('vectors.csv', undefined)).toThrow('say it with --format');
  });
});
