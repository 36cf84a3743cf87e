// Reads single files out of a zip archive: the central directory, stored and deflated entries, no zip64, no encryption.
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { createInflateRaw } from 'node:zlib';

export interface ZipEntry {
  readonly name: string;
  readonly method: number;
  readonly compressedSize: number;
  readonly size: number;
  readonly headerOffset: number;
}

const END_SIGNATURE = 0x06054b50;
const CENTRAL_SIGNATURE = 0x02014b50;
const LOCAL_SIGNATURE = 0x04034b50;
const END_SIZE = 22;
const CENTRAL_SIZE = 46;
const LOCAL_SIZE = 30;
const LONGEST_COMMENT = 0xffff;
const STORED = 0;
const DEFLATED = 8;

const readAt = async (handle: FileHandle, position: number, length: number): Promise<Buffer> => {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await handle.read(buffer, 0, length, position);
  if (bytesRead !== length) throw new Error('the archive ends too early');
  return buffer;
};

const findEnd = (tail: Buffer): number => {
  for (let at = tail.length - END_SIZE; at >= 0; at--) if (tail.readUInt32LE(at) === END_SIGNATURE) return at;
  throw new Error('this is no zip archive');
};

const parseCentral = (directory: Buffer, count: number): ZipEntry[] => {
  const entries: ZipEntry[] = [];
  let at = 0;
  while (entries.length < count) {
    if (at + CENTRAL_SIZE > directory.length || directory.readUInt32LE(at) !== CENTRAL_SIGNATURE) {
      throw new Error('the archive has a broken directory');
    }
    const nameLength = directory.readUInt16LE(at + 28);
    entries.push({
      name: directory.toString('utf8', at + CENTRAL_SIZE, at + CENTRAL_SIZE + nameLength),
      method: directory.readUInt16LE(at + 10),
      compressedSize: directory.readUInt32LE(at + 20),
      size: directory.readUInt32LE(at + 24),
      headerOffset: directory.readUInt32LE(at + 42),
    });
    at += CENTRAL_SIZE + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
  }
  return entries;
};

export interface ZipArchive extends AsyncDisposable {
  readonly entries: ReadonlyMap<string, ZipEntry>;
  /** The entry's bytes, unpacked. */
  read(entry: ZipEntry): Promise<Readable>;
}

export const openZip = async (file: string): Promise<ZipArchive> => {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    const tailLength = Math.min(size, END_SIZE + LONGEST_COMMENT);
    const tail = await readAt(handle, size - tailLength, tailLength);
    const end = findEnd(tail);
    const directory = await readAt(handle, tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12));
    const entries = parseCentral(directory, tail.readUInt16LE(end + 10));
    const read = async (entry: ZipEntry): Promise<Readable> => {
      const header = await readAt(handle, entry.headerOffset, LOCAL_SIZE);
      if (header.readUInt32LE(0) !== LOCAL_SIGNATURE) throw new Error('the archive has a broken entry');
      if (entry.method !== STORED && entry.method !== DEFLATED) throw new Error('the archive uses an unknown packing');
      const start = entry.headerOffset + LOCAL_SIZE + header.readUInt16LE(26) + header.readUInt16LE(28);
      const raw = handle.createReadStream({
        start,
        end: start + entry.compressedSize - 1,
        autoClose: false,
        highWaterMark: 1 << 18,
      });
      if (entry.method === STORED) return raw;
      const inflate = createInflateRaw();
      raw.on('error', (error) => inflate.destroy(error));
      return raw.pipe(inflate);
    };
    return {
      entries: new Map(entries.map((entry) => [entry.name, entry])),
      read,
      [Symbol.asyncDispose]: async () => await handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
};
