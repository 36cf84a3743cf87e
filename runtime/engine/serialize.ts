// Vectors → JSON values as bytes: cut, made unit length again, checked for numbers that JSON cannot say.
import { MAX_FLOAT32_TEXT, writeFloat32 } from './float32-text.ts';
import type { OutputEncoding } from './types.ts';

export interface OutputForm {
  readonly encoding: OutputEncoding;
  readonly dimensions: number;
}

const QUOTE = 34;
const COMMA = 44;
const OPEN = 91;
const CLOSE = 93;

export function isFiniteVector(vector: Float32Array): boolean {
  // Any NaN or infinity makes the sum of x·0 a NaN.
  let sum = 0;
  for (const value of vector) sum += value * 0;
  return sum === 0;
}

/** The first `dimensions` numbers at unit length; the vector itself when that is all of them. */
export function cutVector(vector: Float32Array, dimensions: number): Float32Array {
  if (dimensions >= vector.length) return vector;
  const cut = vector.slice(0, dimensions);
  let squares = 0;
  for (const value of cut) squares += value * value;
  const norm = Math.sqrt(squares);
  for (let index = 0; index < cut.length; index++) cut[index] = (cut[index] ?? NaN) / norm;
  return cut;
}

export const maxBytes = ({ encoding, dimensions }: OutputForm): number =>
  encoding === 'base64' ? 2 + 4 * Math.ceil((4 * dimensions) / 3) : 2 + dimensions * (MAX_FLOAT32_TEXT + 1);

function writeBase64(vector: Float32Array, into: Uint8Array, at: number): number {
  // The view's own range: the buffer may hold other vectors before and after.
  const bytes = Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength);
  const target = Buffer.from(into.buffer, into.byteOffset, into.byteLength);
  into[at] = QUOTE;
  const end = at + 1 + target.write(bytes.toString('base64'), at + 1, 'latin1');
  into[end] = QUOTE;
  return end + 1;
}

function writeArray(vector: Float32Array, into: Uint8Array, at: number): number {
  into[at++] = OPEN;
  for (let index = 0; index < vector.length; index++) {
    if (index > 0) into[at++] = COMMA;
    at = writeFloat32(vector[index] ?? NaN, into, at);
  }
  into[at++] = CLOSE;
  return at;
}

/** Writes a finite vector as one JSON value and returns the offset after it. `into` has room for `maxBytes`. */
export const writeVector = (vector: Float32Array, encoding: OutputEncoding, into: Uint8Array, at: number): number =>
  encoding === 'base64' ? writeBase64(vector, into, at) : writeArray(vector, into, at);
