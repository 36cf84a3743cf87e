// Proof that bytes are the file they claim to be: SHA-256, or git's blob id for small files.
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';

export interface Expected {
  readonly size: number;
  /** 64 hex digits: SHA-256 of the content. 40: git's blob id. */
  readonly etag: string;
}

/** A hash that will equal `etag` once fed the whole content. */
export const startHash = (expected: Expected): Hash =>
  expected.etag.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${expected.size}\0`);

export const feedFile = async (hash: Hash, file: string): Promise<number> => {
  let bytes = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return bytes;
};

export const isIntact = async (file: string, expected: Expected): Promise<boolean> => {
  const hash = startHash(expected);
  const bytes = await feedFile(hash, file);
  return bytes === expected.size && hash.digest('hex') === expected.etag;
};
