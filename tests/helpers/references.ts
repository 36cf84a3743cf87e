// Reference vectors that sentence-transformers made for all-MiniLM-L6-v2, and how far another vector is from one.
import { readFile } from 'node:fs/promises';

const FIXTURE = new URL('../fixtures/minilm/', import.meta.url);
const DIMENSIONS = 384;

export interface Reference {
  readonly text: string;
  readonly vector: Float32Array;
}

export async function minilmReferences(): Promise<Reference[]> {
  const entries = JSON.parse(await readFile(new URL('texts.json', FIXTURE), 'utf8')) as (
    string | { readonly repeat: string; readonly count: number }
  )[];
  const bytes = await readFile(new URL('vectors.f32', FIXTURE));
  const numbers = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  return entries.map((entry, index) => ({
    text: typeof entry === 'string' ? entry : entry.repeat.repeat(entry.count),
    vector: numbers.subarray(index * DIMENSIONS, (index + 1) * DIMENSIONS),
  }));
}

/** For unit vectors: 1 minus their cosine. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let dot = 0;
  for (let index = 0; index < b.length; index++) dot += a[index]! * b[index]!;
  return 1 - dot;
}
