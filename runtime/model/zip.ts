// Zip archives whose entries are stored as they are: where each lies, by the central directory. Never the entries themselves.

/** A file, wherever it lies. */
export interface ByteSource {
  readonly size: number;
  /** Rejects where there are fewer. */
  readonly read: (offset: number, length: number) => Promise<Uint8Array>;
}

export interface ZipEntry {
  readonly name: string;
  readonly size: number;
  /** Of the header that stands before the content. */
  readonly headerOffset: number;
  /** False where the content is compressed or encrypted. */
  readonly isStored: boolean;
}

/** What was given is no such archive, or it is damaged. */
export class NotZip extends Error {}

const END = 0x06054b50;
const END_BYTES = 22;
const END_64 = 0x06064b50;
const END_64_BYTES = 56;
const LOCATOR_64 = 0x07064b50;
const LOCATOR_64_BYTES = 20;
const CENTRAL = 0x02014b50;
const CENTRAL_BYTES = 46;
const LOCAL = 0x04034b50;
const LOCAL_BYTES = 30;

const MAX_COMMENT_BYTES = 0xffff;
/** A hundred bytes an entry: as many tensors as no model has. */
const MAX_DIRECTORY_BYTES = 64 << 20;
const IN_EXTRA_16 = 0xffff;
const IN_EXTRA_32 = 0xffffffff;
const EXTRA_64 = 1;
const ENCRYPTED = 1;

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function number64(view: DataView, at: number): number {
  const value = view.getBigUint64(at, true);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new NotZip('an offset beyond every file');
  return Number(value);
}

interface Directory {
  readonly entries: number;
  readonly offset: number;
  readonly size: number;
}

async function findEnd(source: ByteSource): Promise<{ readonly at: number; readonly view: DataView }> {
  const length = Math.min(source.size, END_BYTES + MAX_COMMENT_BYTES);
  const start = source.size - length;
  const view = viewOf(await source.read(start, length));
  for (let at = length - END_BYTES; at >= 0; at--) {
    if (view.getUint32(at, true) === END)
      return { at: start + at, view: viewOf(await source.read(start + at, END_BYTES)) };
  }
  throw new NotZip('it has no directory');
}

async function findDirectory(source: ByteSource): Promise<Directory> {
  const { at, view } = await findEnd(source);
  const plain = { entries: view.getUint16(10, true), size: view.getUint32(12, true), offset: view.getUint32(16, true) };
  const isLarge = plain.entries === IN_EXTRA_16 || plain.size === IN_EXTRA_32 || plain.offset === IN_EXTRA_32;
  if (!isLarge) return plain;
  if (at < LOCATOR_64_BYTES) throw new NotZip('it has no directory');
  const locator = viewOf(await source.read(at - LOCATOR_64_BYTES, LOCATOR_64_BYTES));
  // A small archive may happen to have exactly such a number.
  if (locator.getUint32(0, true) !== LOCATOR_64) return plain;
  const from = number64(locator, 8);
  if (from + END_64_BYTES > source.size) throw new NotZip('a directory beyond its end');
  const end = viewOf(await source.read(from, END_64_BYTES));
  if (end.getUint32(0, true) !== END_64) throw new NotZip('it has no directory');
  return { entries: number64(end, 32), size: number64(end, 40), offset: number64(end, 48) };
}

/** The numbers that are too large for their fields, from the extra field that holds them in this order. */
function largeNumbers(view: DataView, from: number, to: number): number[] {
  for (let at = from; at + 4 <= to;) {
    const length = view.getUint16(at + 2, true);
    const end = Math.min(at + 4 + length, to);
    if (view.getUint16(at, true) === EXTRA_64) {
      return Array.from({ length: Math.floor((end - at - 4) / 8) }, (_, index) => number64(view, at + 4 + 8 * index));
    }
    at = end;
  }
  return [];
}

function entryAt(view: DataView, at: number): { readonly entry: ZipEntry; readonly end: number } {
  if (at + CENTRAL_BYTES > view.byteLength || view.getUint32(at, true) !== CENTRAL)
    throw new NotZip('a broken directory');
  const nameEnd = at + CENTRAL_BYTES + view.getUint16(at + 28, true);
  const extraEnd = nameEnd + view.getUint16(at + 30, true);
  const end = extraEnd + view.getUint16(at + 32, true);
  if (end > view.byteLength) throw new NotZip('a broken directory');
  const large = largeNumbers(view, nameEnd, extraEnd).values();
  const [size = 0, packed = 0, headerOffset = 0] = [24, 20, 42].map((field) => {
    const value = view.getUint32(at + field, true);
    return value === IN_EXTRA_32 ? (large.next().value ?? value) : value;
  });
  const name = new TextDecoder().decode(
    new Uint8Array(view.buffer, view.byteOffset + at + CENTRAL_BYTES, nameEnd - at - CENTRAL_BYTES),
  );
  const isPlain = (view.getUint16(at + 8, true) & ENCRYPTED) === 0 && view.getUint16(at + 10, true) === 0;
  return { entry: { name, size, headerOffset, isStored: isPlain && packed === size }, end };
}

/** Rejects with `NotZip`. Reads the directory alone. */
export async function readZip(source: ByteSource): Promise<ReadonlyMap<string, ZipEntry>> {
  const { entries: count, offset, size } = await findDirectory(source);
  if (size > MAX_DIRECTORY_BYTES || offset + size > source.size || count * CENTRAL_BYTES > size) {
    throw new NotZip('a directory beyond its end');
  }
  const view = viewOf(await source.read(offset, size));
  const entries = new Map<string, ZipEntry>();
  for (let index = 0, at = 0; index < count; index++) {
    const { entry, end } = entryAt(view, at);
    if (entries.has(entry.name)) throw new NotZip(`${entry.name} is there twice`);
    if (entry.headerOffset + LOCAL_BYTES + entry.size > source.size)
      throw new NotZip(`${entry.name} ends beyond the file`);
    entries.set(entry.name, entry);
    at = end;
  }
  return entries;
}

/** Where the content of an entry begins: only the header before it tells, since its padding is not in the directory. */
export async function contentOffset(source: ByteSource, { name, headerOffset, size }: ZipEntry): Promise<number> {
  const view = viewOf(await source.read(headerOffset, LOCAL_BYTES));
  if (view.getUint32(0, true) !== LOCAL) throw new NotZip(`${name} is not where the directory says`);
  const offset = headerOffset + LOCAL_BYTES + view.getUint16(26, true) + view.getUint16(28, true);
  if (offset + size > source.size) throw new NotZip(`${name} ends beyond the file`);
  return offset;
}
