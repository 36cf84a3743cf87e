import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inputOf, readRows } from './rows.ts';
import type { Columns, InputFormat, Row } from './rows.ts';

const FIXTURES = fileURLToPath(new URL('../../tests/fixtures/bulk/', import.meta.url));

let folder: string;
beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'kubembed-rows-'))));
afterEach(async () => await rm(folder, { recursive: true, force: true }));

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

interface Given {
  readonly columns?: Partial<Columns>;
  readonly format?: InputFormat;
  readonly stdin?: Uint8Array;
  readonly pieceSize?: number;
}

async function read(files: readonly string[], given: Given = {}): Promise<Row[]> {
  const { columns = {}, format, stdin = Buffer.alloc(0), pieceSize = 3 } = given;
  const rows: Row[] = [];
  const shares: number[] = [];
  for await (const row of readRows(
    files.map((file) => inputOf(file, format)),
    {
      columns: { text: undefined, id: undefined, ...columns },
      stdin: () => pieces(stdin, pieceSize),
      onProgress: (share) => shares.push(share),
    },
  ))
    rows.push(row);
  expect(shares).toEqual(shares.toSorted((a, b) => a - b));
  expect(rows.map(({ number }) => number)).toEqual(rows.map((_, at) => at));
  return rows;
}

const readText = async (text: string | Uint8Array, format: InputFormat, given: Given = {}) =>
  (await read(['-'], { ...given, format, stdin: Buffer.from(text) })).map(({ id, text: content, place: { at } }) => [
    id,
    content,
    at,
  ]);

const write = async (name: string, content: string | Uint8Array): Promise<string> => {
  await writeFile(join(folder, name), content);
  return join(folder, name);
};

/** Of a spreadsheet: quoted where need be. */
const csvField = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

const anyText = fc.string({ unit: 'grapheme', maxLength: 30 });
const line = anyText.filter((text) => !/[\r\n]/.test(text));

describe('readRows', () => {
  it('reads lines of text, empty ones too, however the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 20 }), fc.integer({ min: 1, max: 9 }), async (texts, pieceSize) => {
        // A byte order mark at the beginning is no part of the text.
        fc.pre(!(texts[0] ?? '').startsWith('\uFEFF'));
        const rows = await readText(texts.map((text) => `${text}\n`).join(''), 'text', { pieceSize });
        expect(rows).toEqual(texts.map((text, at) => [at + 1, text, at + 1]));
      }),
    );
    expect(await readText('\uFEFFa\r\nb', 'text')).toEqual([
      [1, 'a', 1],
      [2, 'b', 2],
    ]);
  });

  it('reads what JSON and CSV writers write, to the letter', async () => {
    const records = fc.array(fc.record({ id: anyText.filter((id) => id !== ''), text: anyText }), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(records, fc.integer({ min: 1, max: 9 }), async (rows, pieceSize) => {
        const expected = rows.map(({ id, text }) => [id, text]);
        const json = rows.map((row) => JSON.stringify(row)).join('\n');
        expect((await readText(json, 'jsonl', { pieceSize })).map((row) => row.slice(0, 2))).toEqual(expected);
        const csv = ['id,text', ...rows.map(({ id, text }) => `${csvField(id)},${csvField(text)}`)].join('\n');
        expect((await readText(csv, 'csv', { pieceSize })).map((row) => row.slice(0, 2))).toEqual(expected);
      }),
    );
  });

  it('knows columns by name, or the only one', async () => {
    const csv = 'title,body,key\nT,hello,k1\n';
    expect(await readText(csv, 'csv', { columns: { text: 'body', id: 'key' } })).toEqual([['k1', 'hello', 2]]);
    expect(await readText('whatever\nhello\n', 'csv')).toEqual([[1, 'hello', 2]]);
    expect(await readText('id\ttext\n7\t"a\tb"\n', 'tsv')).toEqual([['7', 'a\tb', 2]]);
    expect(await readText('"plain"\n\n{"text":"object","id":9}\n', 'jsonl')).toEqual([
      [1, 'plain', 1],
      [9, 'object', 3],
    ]);
  });

  it.each([
    ['jsonl', '{"text":"a"}\n{"text":', 'standard input, line 2: it is not JSON'],
    ['jsonl', '{"text":"a"}\n[1]', 'standard input, line 2: expected an object or a text, got a list'],
    ['jsonl', '{"text":"a"}\n{"text":5}', 'standard input, line 2: column "text": expected a text, got a number'],
    ['jsonl', '{"text":"a","id":1}\n{"text":"b"}', 'line 2: column "id": expected an id'],
    ['jsonl', '{"text":"a","id":1.5}', 'line 1: column "id": expected an id'],
    [
      'jsonl',
      '{"content":"a","title":"b"}',
      'say which column holds the text with --text-column; there are content, title',
    ],
    ['csv', 'id,text\n1,a\n2,b,c\n', 'standard input, line 3: '],
    ['csv', 'id,text\n1,"a\n', 'standard input, line 2: '],
    ['csv', 'a,b\n1,2\n', 'there are a, b'],
    ['parquet', 'no parquet at all', 'standard input: it cannot be read as Parquet'],
  ] as const)('says where %s is at fault: %j', async (format, text, words) => {
    await expect(readText(text, format)).rejects.toThrow(words);
  });

  it('does not replace bytes that are no text', async () => {
    const bytes = Buffer.concat([Buffer.from('good\n'), Buffer.from([0xff, 0xfe, 10])]);
    for (const format of ['text', 'csv', 'jsonl'] as const)
      await expect(readText(bytes, format)).rejects.toThrow('it is not UTF-8');
    await expect(readText(Buffer.from([0x61, 0xe2, 0x82]), 'text')).rejects.toThrow('it is not UTF-8');
  });

  it('says which column there is not', async () => {
    await expect(readText('a,b\n1,2\n', 'csv', { columns: { text: 'c' } })).rejects.toThrow(
      'there is no column "c" (--text-column); there are a, b',
    );
    await expect(readText('a,text\n1,2\n', 'csv', { columns: { id: 'c' } })).rejects.toThrow('(--id-column)');
  });

  it.each(['snappy', 'zstd', 'gzip', 'brotli', 'lz4', 'none'])('reads Parquet of other programs, %s', async (codec) => {
    const rows = await read([`${FIXTURES}${codec}.parquet`]);
    expect(rows).toHaveLength(120);
    expect(rows[119]).toMatchObject({
      id: 2 ** 40 + 119,
      text: 'passage 119: größer, 日本語',
      place: { unit: 'row', at: 120 },
    });
  });

  it('reads other types of Parquet, and names the row of a null', async () => {
    const rows = await read([`${FIXTURES}large-string.parquet`], { columns: { text: 'body', id: 'key' } });
    expect(rows[3]).toMatchObject({ id: 'doc-3', text: 'passage 3: größer, 日本語' });
    expect((await read([`${FIXTURES}big-ids.parquet`]))[1]!.id).toBe(String(2n ** 60n + 1n));
    await expect(read([`${FIXTURES}null.parquet`])).rejects.toThrow(
      'null.parquet, row 71: column "text": expected a text, got null',
    );
  });

  it('reads several files one after the other, packed ones too', async () => {
    const files = [await write('a.txt', 'one\ntwo\n'), await write('b.jsonl.gz', gzipSync('{"text":"three"}\n'))];
    const rows = await read(files);
    expect(rows.map(({ id, text }) => [id, text])).toEqual([
      [1, 'one'],
      [2, 'two'],
      [3, 'three'],
    ]);
    expect(rows[2]!.place).toEqual({ source: files[1], unit: 'line', at: 1 });
    await expect(read([await write('c.txt.gz', 'not packed')])).rejects.toThrow('c.txt.gz');
  });

  it('says what it cannot read', async () => {
    expect(() => inputOf('passages.docx', undefined)).toThrow('say it with --input-format');
    await expect(read([join(folder, 'none.txt')])).rejects.toThrow('none.txt cannot be read (ENOENT)');
    await expect(read([folder], { format: 'text' })).rejects.toThrow('cannot be read (EISDIR');
  });
});
