// What an ONNX file says of itself, without its tensors: the files beside it that hold some, its inputs and outputs.
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { ModelError } from './files.ts';

export interface OnnxFacts {
  /** Files that tensors lie in, as the graph names them: relative to its folder. */
  readonly dataFiles: readonly string[];
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Versions by domain; the standard operators' is empty. */
  readonly opsets: ReadonlyMap<string, number>;
}

// Protocol buffers: a message is a list of fields, each with a number; those of a table are entered, all others are passed over.

type Kind = 'model' | 'graph' | 'node' | 'attribute' | 'tensor' | 'entry' | 'value' | 'opset';

/** Numbers of the fields that are messages and may lead to what is looked for, of onnx.proto3. */
const ENTERED: Readonly<Record<Kind, Readonly<Record<number, Kind>>>> = {
  model: { 7: 'graph', 8: 'opset' },
  graph: { 1: 'node', 5: 'tensor', 11: 'value', 12: 'value' },
  node: { 5: 'attribute' },
  attribute: { 5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph' },
  tensor: { 13: 'entry' },
  entry: {},
  value: {},
  opset: {},
};

const GRAPH_INPUT = 11;
const MAX_DEPTH = 64;
const MAX_TEXT_BYTES = 4096;
const WINDOW_BYTES = 1 << 16;

class NotOnnx extends Error {}

/** Bytes from `at` on, `length` of them or as many as there are. */
type Read = (at: number, length: number) => Promise<Buffer>;

const readerOf = (handle: FileHandle): Read => {
  return async (at, length) => {
    const buffer = Buffer.alloc(length);
    const { bytesRead } = await handle.read(buffer, 0, length, at);
    return buffer.subarray(0, bytesRead);
  };
};

/** Reads a few bytes at a time through a window, so that what is passed over is never read. */
class Reader {
  readonly size: number;
  private readonly read: Read;
  private window: Buffer = Buffer.alloc(0);
  private start = 0;

  constructor(read: Read, size: number) {
    this.read = read;
    this.size = size;
  }

  async bytes(at: number, length: number): Promise<Buffer> {
    if (length < 0 || at + length > this.size) throw new NotOnnx('cut short');
    if (at < this.start || at + length > this.start + this.window.length) {
      const wanted = Math.min(Math.max(length, WINDOW_BYTES), this.size - at);
      this.window = await this.read(at, wanted);
      if (this.window.length < length) throw new NotOnnx('cut short');
      this.start = at;
    }
    return this.window.subarray(at - this.start, at - this.start + length);
  }

  /** A number of up to 53 bits, and where the next byte is. */
  async varint(at: number): Promise<readonly [value: number, next: number]> {
    let value = 0;
    for (let index = 0; index < 10; index++) {
      const [byte = 0] = await this.bytes(at + index, 1);
      // Negative numbers fill all ten bytes; none of those matters here.
      if (index < 8) value += (byte & 0x7f) * 2 ** (7 * index);
      if (byte < 0x80) return [value, at + index + 1];
    }
    throw new NotOnnx('a number without an end');
  }

  async text(at: number, length: number): Promise<string> {
    if (length > MAX_TEXT_BYTES) throw new NotOnnx('a name that is too long');
    return (await this.bytes(at, length)).toString('utf8');
  }
}

interface Field {
  readonly number: number;
  /** Of what is not a message or text: its value. */
  readonly value: number;
  readonly from: number;
  readonly to: number;
}

/** Bytes of a field by its wire type, where that is fixed. */
const FIXED_BYTES: Readonly<Record<number, number>> = { 1: 8, 5: 4 };
const VARINT = 0;
const LENGTH_DELIMITED = 2;

async function* fieldsOf(reader: Reader, from: number, to: number): AsyncGenerator<Field> {
  let at = from;
  while (at < to) {
    const [tag, start] = await reader.varint(at);
    const number = Math.floor(tag / 8);
    const wire = tag % 8;
    if (number === 0) throw new NotOnnx('a field without a number');
    if (wire === VARINT) {
      const [value, next] = await reader.varint(start);
      yield { number, value, from: start, to: next };
      at = next;
      continue;
    }
    const [length, content] =
      wire === LENGTH_DELIMITED ? await reader.varint(start) : ([FIXED_BYTES[wire] ?? NaN, start] as const);
    if (!(content + length <= to)) throw new NotOnnx('a field that ends beyond its message');
    yield { number, value: 0, from: content, to: content + length };
    at = content + length;
  }
}

interface Found {
  readonly dataFiles: Set<string>;
  readonly inputs: string[];
  readonly outputs: string[];
  readonly opsets: Map<string, number>;
}

const textOf = async (reader: Reader, { from, to }: Field): Promise<string> => await reader.text(from, to - from);

async function pairOf(reader: Reader, field: Field): Promise<ReadonlyMap<number, Field>> {
  const pair = new Map<number, Field>();
  for await (const inner of fieldsOf(reader, field.from, field.to)) pair.set(inner.number, inner);
  return pair;
}

/** What messages at the ends of the walk say. */
const READ: Partial<
  Readonly<Record<Kind, (reader: Reader, field: Field, found: Found, depth: number) => Promise<void>>>
> = {
  entry: async (reader, field, { dataFiles }) => {
    const pair = await pairOf(reader, field);
    const [key, value] = [pair.get(1), pair.get(2)];
    if (key && value && (await textOf(reader, key)) === 'location') dataFiles.add(await textOf(reader, value));
  },
  value: async (reader, field, { inputs, outputs }, depth) => {
    const name = (await pairOf(reader, field)).get(1);
    // Those of the whole graph alone, not of its branches.
    if (name && depth === 2) (field.number === GRAPH_INPUT ? inputs : outputs).push(await textOf(reader, name));
  },
  opset: async (reader, field, { opsets }) => {
    const pair = await pairOf(reader, field);
    const domain = pair.get(1);
    opsets.set(domain ? await textOf(reader, domain) : '', pair.get(2)?.value ?? 0);
  },
};

interface Place extends Pick<Field, 'from' | 'to'> {
  readonly kind: Kind;
  readonly depth: number;
}

async function walk(reader: Reader, { kind, depth, from, to }: Place, found: Found): Promise<void> {
  if (depth > MAX_DEPTH) throw new NotOnnx('graphs within graphs without an end');
  for await (const inner of fieldsOf(reader, from, to)) {
    const entered = ENTERED[kind][inner.number];
    if (entered === undefined) continue;
    const read = READ[entered];
    await (read
      ? read(reader, inner, found, depth)
      : walk(reader, { ...inner, kind: entered, depth: depth + 1 }, found));
  }
}

async function factsOf(read: Read, size: number, name: string): Promise<OnnxFacts> {
  try {
    const found: Found = { dataFiles: new Set(), inputs: [], outputs: [], opsets: new Map() };
    await walk(new Reader(read, size), { kind: 'model', depth: 1, from: 0, to: size }, found);
    if (found.outputs.length === 0) throw new NotOnnx('it has no outputs');
    return { ...found, dataFiles: [...found.dataFiles].sort() };
  } catch (error) {
    if (!(error instanceof NotOnnx)) throw error;
    throw new ModelError('CorruptWeights', `${name} is no ONNX model: ${error.message}`);
  }
}

/** Rejects with a ModelError where the file is no ONNX model. */
export async function readOnnxFacts(path: string, name: string): Promise<OnnxFacts> {
  await using handle = await open(path);
  const { size } = await handle.stat();
  return await factsOf(readerOf(handle), size, name);
}

/** As above, of a file's bytes. */
export const onnxFactsOf = async (bytes: Buffer, name: string): Promise<OnnxFacts> =>
  await factsOf((at, length) => Promise.resolve(bytes.subarray(at, at + length)), bytes.length, name);

// The same file with other names for the files beside it.

function varintBytes(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) + 0x80);
  return [...bytes, rest];
}

const delimited = (number: number, content: Buffer): Buffer =>
  Buffer.concat([
    Buffer.from([...varintBytes(number * 8 + LENGTH_DELIMITED), ...varintBytes(content.length)]),
    content,
  ]);

interface Rewriting {
  readonly reader: Reader;
  readonly names: ReadonlyMap<string, string>;
}

async function renamedEntry({ reader, names }: Rewriting, field: Field): Promise<Buffer> {
  const pair = await pairOf(reader, field);
  const [key, value] = [pair.get(1), pair.get(2)];
  const whole = Buffer.from(await reader.bytes(field.from, field.to - field.from));
  if (!key || !value || (await textOf(reader, key)) !== 'location') return whole;
  const name = names.get(await textOf(reader, value));
  return name === undefined
    ? whole
    : Buffer.concat([delimited(1, Buffer.from('location')), delimited(2, Buffer.from(name))]);
}

/** Copies a message field by field; only those that may lead to a name are entered. */
async function rewritten(rewriting: Rewriting, { kind, depth, from, to }: Place): Promise<Buffer> {
  if (depth > MAX_DEPTH) throw new NotOnnx('graphs within graphs without an end');
  const { reader } = rewriting;
  const parts: Buffer[] = [];
  let copied = from;
  for await (const field of fieldsOf(reader, from, to)) {
    const entered = ENTERED[kind][field.number];
    if (entered !== undefined && entered !== 'value' && entered !== 'opset') {
      const inner =
        entered === 'entry'
          ? await renamedEntry(rewriting, field)
          : await rewritten(rewriting, { ...field, kind: entered, depth: depth + 1 });
      parts.push(delimited(field.number, inner));
    } else {
      parts.push(Buffer.from(await reader.bytes(copied, field.to - copied)));
    }
    copied = field.to;
  }
  return Buffer.concat(parts);
}

/**
 * The bytes of an ONNX file whose tensors lie beside it, with other names for those files: in a Hugging Face cache they have the
 * names of blobs.
 */
export async function renameOnnxData(path: string, names: ReadonlyMap<string, string>): Promise<Uint8Array> {
  const handle = await open(path);
  try {
    const { size } = await handle.stat();
    return await rewritten(
      { reader: new Reader(readerOf(handle), size), names },
      { kind: 'model', depth: 1, from: 0, to: size },
    );
  } finally {
    await handle.close();
  }
}
