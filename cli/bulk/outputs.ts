// What a bulk job writes: rows of id and vector as JSON lines, base64, Parquet or NumPy, from a stream and in its order.
import { createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { once } from 'node:events';
import { vectorToBytes } from '../../common/openai/response.ts';
import { CommandError } from '../command.ts';
import type { Id } from './rows.ts';

export interface OutputRow {
  readonly id: Id;
  /** Only where it is asked for. */
  readonly text: string | undefined;
  readonly vector: Float32Array;
}

export const OUTPUT_FORMATS = ['jsonl', 'base64', 'parquet', 'npy'] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

/** Formats made of lines, which can be written before the end is known. */
export type LineFormat = 'jsonl' | 'base64';

/** What has to be known before the first row is written. */
export interface Shape {
  readonly rows: number;
  readonly dimensions: number;
  readonly idsAreNumbers: boolean;
  readonly hasTexts: boolean;
}

const EXTENSIONS: Readonly<Record<string, OutputFormat>> = {
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  parquet: 'parquet',
  pq: 'parquet',
  npy: 'npy',
};

/** By the name's end, unless it is given. @throws CommandError */
export function outputFormatOf(file: string, format: OutputFormat | undefined): OutputFormat {
  const known = format ?? EXTENSIONS[/\.([^./]+)$/.exec(file)?.[1]?.toLowerCase() ?? ''];
  if (known !== undefined) return known;
  throw new CommandError(
    `${file}: its name does not tell its format; say it with --format (${OUTPUT_FORMATS.join(', ')})`,
  );
}

/** Nine digits read as the same float32; printed as doubles they would have twice as many. */
export const printNumbers = (vector: Float32Array): number[] =>
  Array.from(vector, (value) => Number(value.toPrecision(9)));

const ENCODERS: Readonly<Record<LineFormat, (vector: Float32Array) => unknown>> = {
  jsonl: printNumbers,
  base64: (vector) => Buffer.from(vectorToBytes(vector)).toString('base64'),
};

export function printLine({ id, text, vector }: OutputRow, format: LineFormat): string {
  return `${JSON.stringify({ id, ...(text === undefined ? {} : { text }), embedding: ENCODERS[format](vector) })}\n`;
}

async function writeLines(file: string, rows: AsyncIterable<string | Uint8Array>): Promise<void> {
  const stream = createWriteStream(file, { flush: true });
  const failed = once(stream, 'error').then(([error]) => Promise.reject(error as Error));
  failed.catch(() => undefined);
  for await (const row of rows) if (!stream.write(row)) await Promise.race([once(stream, 'drain'), failed]);
  stream.end();
  await Promise.race([once(stream, 'finish'), failed]);
}

async function* printed(rows: AsyncIterable<OutputRow>, format: LineFormat): AsyncGenerator<string> {
  for await (const row of rows) yield printLine(row, format);
}

/** Rows held in memory at a time. */
const ROW_GROUP = 10_000;

const NPY_ALIGNMENT = 64;

/** https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0 */
export function npyHeader({ rows, dimensions }: Pick<Shape, 'rows' | 'dimensions'>): Buffer {
  const magic = Buffer.from([0x93, ...Buffer.from('NUMPY'), 1, 0]);
  const dictionary = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows}, ${dimensions}), }`;
  const length =
    Math.ceil((magic.length + 2 + dictionary.length + 1) / NPY_ALIGNMENT) * NPY_ALIGNMENT - magic.length - 2;
  const size = Buffer.alloc(2);
  size.writeUInt16LE(length);
  return Buffer.concat([magic, size, Buffer.from(`${dictionary.padEnd(length - 1)}\n`)]);
}

/** Rows of a NumPy array have no names: ids lie beside it. */
export const idsFileOf = (file: string): string => `${file.replace(/\.npy$/, '')}.ids.json`;

async function writeNpy(file: string, rows: AsyncIterable<OutputRow>, shape: Shape): Promise<void> {
  await using ids = await open(idsFileOf(file), 'w');
  let held = '[';
  let count = 0;
  async function* bytes(): AsyncGenerator<Uint8Array> {
    yield npyHeader(shape);
    for await (const { id, vector } of rows) {
      held += `${count++ === 0 ? '' : ',\n'}${JSON.stringify(id)}`;
      if (count % ROW_GROUP === 0) {
        await ids.appendFile(held);
        held = '';
      }
      yield vectorToBytes(vector);
    }
  }
  await writeLines(file, bytes());
  await ids.appendFile(`${held}]\n`);
  await ids.datasync();
}

async function writeParquet(file: string, rows: AsyncIterable<OutputRow>, shape: Shape): Promise<void> {
  const { ParquetWriter, fileWriter } = await import('hyparquet-writer');
  const id = shape.idsAreNumbers
    ? ({ name: 'id', type: 'INT64', repetition_type: 'REQUIRED' } as const)
    : ({ name: 'id', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' } as const);
  const text = { name: 'text', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' } as const;
  const embedding = [
    { name: 'embedding', repetition_type: 'REQUIRED', num_children: 1, converted_type: 'LIST' },
    { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
    { name: 'element', type: 'FLOAT', repetition_type: 'REQUIRED' },
  ] as const;
  const writer = new ParquetWriter({
    writer: fileWriter(file),
    schema: [
      { name: 'root', num_children: shape.hasTexts ? 3 : 2 },
      id,
      ...(shape.hasTexts ? [text] : []),
      ...embedding,
    ],
    // Vectors do not compress.
    codec: 'UNCOMPRESSED',
    statistics: false,
  });
  let group: OutputRow[] = [];
  const flush = async (): Promise<void> => {
    const ids = group.map(({ id }) => (shape.idsAreNumbers ? BigInt(id) : String(id)));
    await writer.write({
      columnData: [
        { name: 'id', data: ids },
        ...(shape.hasTexts ? [{ name: 'text', data: group.map(({ text }) => text ?? '') }] : []),
        { name: 'embedding', data: group.map(({ vector }) => Array.from(vector)) },
      ],
      rowGroupSize: ROW_GROUP,
    });
    group = [];
  };
  for await (const row of rows) if (group.push(row) === ROW_GROUP) await flush();
  if (group.length > 0) await flush();
  await writer.finish();
  await using handle = await open(file, 'r+');
  await handle.datasync();
}

const WRITERS: Readonly<
  Record<OutputFormat, (file: string, rows: AsyncIterable<OutputRow>, shape: Shape) => Promise<void>>
> = {
  jsonl: (file, rows) => writeLines(file, printed(rows, 'jsonl')),
  base64: (file, rows) => writeLines(file, printed(rows, 'base64')),
  npy: writeNpy,
  parquet: writeParquet,
};

export interface Output {
  readonly file: string;
  readonly format: OutputFormat;
  readonly shape: Shape;
}

/** The file is whole and on disk when this resolves. */
export const writeOutput = async (rows: AsyncIterable<OutputRow>, { file, format, shape }: Output): Promise<void> =>
  await WRITERS[format](file, rows, shape);
