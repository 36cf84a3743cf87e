// Proof that bytes are the file they claim to be: the hash by which the hub names it.
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { RepositoryFile } from './files.ts';

export type Proof = Pick<RepositoryFile, 'size' | 'etag'>;

/** A hash that will equal `etag` once fed the whole content. */
export const startHash = ({ size, etag }: Proof): Hash =>
  etag.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);

export const isIntact = async (file: string, proof: Proof): Promise<boolean> => {
  const hash = startHash(proof);
  let bytes = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return bytes === proof.size && hash.digest('hex') === proof.etag;
};
