// What a bulk job reads: rows with an id and a text, from plain text, JSON lines, CSV and Parquet, in order and one by one.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { isRecord } from '../../common/util/text.ts';
import { CommandError } from '../command.ts';

export type Id = string | number;

export interface Row {
  /** Counts from 0 through all inputs. */
  readonly number: number;
  readonly id: Id;
  readonly text: string;
  readonly place: Place;
}

/** Where a person finds a row. */
export interface Place {
  readonly source: string;
  readonly unit: 'line' | 'row' | 'argument';
  /** Counts from 1. */
  readonly at: number;
}

export const printPlace = ({ source, unit, at }: Place): string => `${source}, ${unit} ${at}`;

export const INPUT_FORMATS = ['text', 'jsonl', 'csv', 'tsv', 'parquet'] as const;
export type InputFormat = (typeof INPUT_FORMATS)[number];

export interface Input {
  /** `-` is standard input. */
  readonly file: string;
  readonly format: InputFormat;
  readonly isGzip: boolean;
}

/** Names of columns; undefined: `text` and `id`, where they exist. */
export interface Columns {
  readonly text: string | undefined;
  readonly id: string | undefined;
}

export interface ReadOptions {
  readonly columns: Columns;
  readonly stdin: () => AsyncIterable<Uint8Array>;
  /** Called with the share of all inputs read so far, 0 to 1. */
  readonly onProgress: (share: number) => void;
}

const EXTENSIONS: Readonly<Record<string, InputFormat>> = {
  txt: 'text',
  text: 'text',
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  csv: 'csv',
  tsv: 'tsv',
  parquet: 'parquet',
  pq: 'parquet',
};

/** By the name's end, unless the format is given; standard input is lines of text. @throws CommandError */
export function inputOf(file: string, format: InputFormat | undefined): Input {
  const isGzip = file.endsWith('.gz');
  const name = isGzip ? file.slice(0, -'.gz'.length) : file;
  const known = format ?? (file === '-' ? 'text' : EXTENSIONS[/\.([^./]+)$/.exec(name)?.[1]?.toLowerCase() ?? '']);
  if (known === undefined)
    throw new CommandError(
      `${file}: its name does not tell its format; say it with --input-format (${INPUT_FORMATS.join(', ')})`,
    );
  return { file, format: known, isGzip };
}

/** A row before it has a number among all inputs. */
interface Found {
  readonly id: Id | undefined;
  readonly text: string;
  readonly place: Place;
}

interface Source {
  readonly name: string;
  readonly columns: Columns;
  /** The whole of standard input or of a file, as it is. */
  readonly bytes: () => AsyncIterable<Uint8Array>;
  /** How far it is, 0 to 1, where reading the bytes does not tell. */
  readonly onShare: (share: number) => void;
  readonly input: Input;
}

const faulty = (place: Place, message: string, cause?: unknown): CommandError =>
  new CommandError(`${printPlace(place)}: ${message}`, undefined, cause === undefined ? undefined : { cause });

async function* decoded({ name, bytes, input }: Source): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let lines = 1;
  try {
    const raw = input.isGzip ? Readable.from(bytes(), { objectMode: false }).pipe(createGunzip()) : bytes();
    for await (const chunk of raw as AsyncIterable<Uint8Array>) {
      const text = decoder.decode(chunk, { stream: true });
      yield text;
      lines += text.split('\n').length - 1;
    }
    yield decoder.decode();
  } catch (error) {
    const { code = '', message } = error as { code?: string; message: string };
    const isText = code !== 'ERR_ENCODING_INVALID_ENCODED_DATA';
    const words = isText
      ? `${name} cannot be read (${message})`
      : `${name}, at or after line ${lines}: it is not UTF-8`;
    throw new CommandError(words, undefined, { cause: error });
  }
}

async function* linesOf(source: Source): AsyncGenerator<{ readonly line: string; readonly at: number }> {
  let at = 0;
  let rest = '';
  for await (const chunk of decoded(source)) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield { line: line.endsWith('\r') ? line.slice(0, -1) : line, at: ++at };
  }
  if (rest !== '') yield { line: rest, at: at + 1 };
}

const place = (source: Source, unit: Place['unit'], at: number): Place => ({ source: source.name, unit, at });

async function* readText(source: Source): AsyncGenerator<Found> {
  for await (const { line, at } of linesOf(source))
    yield { id: undefined, text: line, place: place(source, 'line', at) };
}

/** Which columns are meant, by those that there are. */
function choose({ columns, name }: Source, existing: readonly string[]): { text: string; id: string | undefined } {
  const of = (asked: string | undefined, usual: string, option: string): string | undefined => {
    if (asked === undefined) return existing.includes(usual) ? usual : undefined;
    if (existing.includes(asked)) return asked;
    throw new CommandError(`${name}: there is no column "${asked}" (${option}); there are ${existing.join(', ')}`);
  };
  const only = existing.length === 1 ? existing[0] : undefined;
  const text = of(columns.text, 'text', '--text-column') ?? only;
  if (text === undefined)
    throw new CommandError(
      `${name}: say which column holds the text with --text-column; there are ${existing.join(', ')}`,
    );
  return { text, id: of(columns.id, 'id', '--id-column') };
}

const describe = (value: unknown): string =>
  value === undefined ? 'nothing' : value === null ? 'null' : Array.isArray(value) ? 'a list' : `a ${typeof value}`;

function textIn(value: unknown, column: string, at: Place): string {
  if (typeof value === 'string') return value;
  throw faulty(at, `column "${column}": expected a text, got ${describe(value)}`);
}

/** Numbers beyond what JavaScript and JSON keep exactly become text. */
function idIn(value: unknown, column: string, at: Place): Id {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (typeof value === 'string' || Number.isSafeInteger(value)) return value as Id;
  throw faulty(at, `column "${column}": expected an id, a text or a whole number, got ${describe(value)}`);
}

function found(record: Readonly<Record<string, unknown>>, chosen: ReturnType<typeof choose>, at: Place): Found {
  return {
    id: chosen.id === undefined ? undefined : idIn(record[chosen.id], chosen.id, at),
    text: textIn(record[chosen.text], chosen.text, at),
    place: at,
  };
}

async function* readJsonLines(source: Source): AsyncGenerator<Found> {
  let chosen: ReturnType<typeof choose> | undefined;
  for await (const { line, at: number } of linesOf(source)) {
    if (line.trim() === '') continue;
    const at = place(source, 'line', number);
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (error) {
      throw faulty(at, `it is not JSON (${(error as Error).message})`, error);
    }
    if (typeof value === 'string') {
      yield { id: undefined, text: value, place: at };
      continue;
    }
    if (!isRecord(value)) throw faulty(at, `expected an object or a text, got ${describe(value)}`);
    chosen ??= choose(source, Object.keys(value));
    yield found(value, chosen, at);
  }
}

async function* readCsv(source: Source, delimiter: string): AsyncGenerator<Found> {
  // Loaded only when used: a command that only asks for a status has no need of it.
  const { parse } = await import('csv-parse');
  const parser = parse({ columns: true, info: true, bom: true, delimiter, skip_empty_lines: true });
  const records = Readable.from(decoded(source))
    .on('error', (error) => parser.destroy(error))
    .pipe(parser);
  let chosen: ReturnType<typeof choose> | undefined;
  try {
    for await (const { record, info } of records as AsyncIterable<{
      record: Readonly<Record<string, string>>;
      info: { lines: number };
    }>) {
      chosen ??= choose(source, Object.keys(record));
      yield found(record, chosen, place(source, 'line', info.lines));
    }
  } catch (error) {
    const { code, lines } = error as { code?: string; lines?: number };
    if (code?.startsWith('CSV_') !== true) throw error;
    throw faulty(place(source, 'line', lines ?? 1), (error as Error).message, error);
  }
}

async function wholeOf(bytes: AsyncIterable<Uint8Array>): Promise<ArrayBuffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytes) chunks.push(chunk);
  return new Uint8Array(Buffer.concat(chunks)).buffer;
}

/** Row groups are what a reader can take alone; larger ones are read in pieces of about this many rows. */
const PARQUET_ROWS = 50_000;

/** Where each piece begins and ends; none goes beyond a row group. */
function* piecesOf(rowGroups: readonly number[]): Generator<readonly [number, number]> {
  let before = 0;
  for (const rows of rowGroups) {
    for (let at = 0; at < rows; at += PARQUET_ROWS) yield [before + at, before + Math.min(rows, at + PARQUET_ROWS)];
    before += rows;
  }
}

async function* readParquet(source: Source): AsyncGenerator<Found> {
  const [{ asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema }, { compressors }] =
    await Promise.all([import('hyparquet'), import('hyparquet-compressors')]);
  const { file } = source.input;
  // Its index is at the end: standard input has to be read whole.
  const buffer = file === '-' ? await wholeOf(source.bytes()) : await asyncBufferFromFile(file);
  try {
    const metadata = await parquetMetadataAsync(buffer);
    const chosen = choose(
      source,
      parquetSchema(metadata).children.map(({ element }) => element.name),
    );
    const columns = [chosen.text, ...(chosen.id === undefined || chosen.id === chosen.text ? [] : [chosen.id])];
    for (const [rowStart, rowEnd] of piecesOf(metadata.row_groups.map(({ num_rows }) => Number(num_rows)))) {
      const records = await parquetReadObjects({ file: buffer, metadata, columns, rowStart, rowEnd, compressors });
      for (const [at, record] of records.entries())
        yield found(record, chosen, place(source, 'row', rowStart + at + 1));
      source.onShare(rowEnd / Number(metadata.num_rows));
    }
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(`${source.name}: it cannot be read as Parquet (${(error as Error).message})`, undefined, {
      cause: error,
    });
  }
}

const READERS: Readonly<Record<InputFormat, (source: Source) => AsyncGenerator<Found>>> = {
  text: readText,
  jsonl: readJsonLines,
  csv: (source) => readCsv(source, ','),
  tsv: (source) => readCsv(source, '\t'),
  parquet: readParquet,
};

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    throw new CommandError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? ''})`, undefined, {
      cause: error,
    });
  }
}

async function* counted(
  bytes: AsyncIterable<Uint8Array>,
  onBytes: (count: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    onBytes(chunk.byteLength);
    yield chunk;
  }
}

/** All rows of all inputs, in order. Ids count from 1 where the input has none. @throws CommandError naming the place */
export async function* readRows(inputs: readonly Input[], options: ReadOptions): AsyncGenerator<Row> {
  const sizes = await Promise.all(inputs.map(async ({ file }) => (file === '-' ? Infinity : await sizeOf(file))));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  let before = 0;
  let number = 0;
  for (const [index, input] of inputs.entries()) {
    const size = sizes[index] ?? 0;
    let read = 0;
    const onRead = (bytes: number): void => {
      read = bytes;
      options.onProgress(total === 0 ? 1 : Math.min(1, (before + read) / total));
    };
    const source: Source = {
      name: input.file === '-' ? 'standard input' : input.file,
      columns: options.columns,
      bytes: () =>
        counted(input.file === '-' ? options.stdin() : createReadStream(input.file), (count) => onRead(read + count)),
      onShare: (share) => onRead(share * size),
      input,
    };
    for await (const { id, text, place } of READERS[input.format](source)) {
      yield { number, id: id ?? number + 1, text, place };
      number += 1;
    }
    before += size;
  }
}
