import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cutVector, isFiniteVector, maxBytes, writeVector } from './serialize.ts';
import type { OutputEncoding } from './types.ts';

const vectors = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 40 });

const written = (vector: Float32Array, encoding: OutputEncoding): unknown => {
  const into = new Uint8Array(maxBytes({ encoding, dimensions: vector.length }) + 3).fill(120);
  const end = writeVector(vector, encoding, into, 3);
  expect(end).toBeLessThanOrEqual(into.length);
  return JSON.parse(Buffer.from(into.subarray(3, end)).toString('latin1'));
};

describe('writeVector', () => {
  it('says the same vector in both encodings, bit for bit', () => {
    fc.assert(
      fc.property(vectors, fc.integer({ min: 0, max: 5 }), (values, offset) => {
        // A view into a larger buffer: neighbours must not leak in.
        const vector = new Float32Array([...Array<number>(offset).fill(7), ...values, 7]).subarray(offset, -1);
        const floats = Float32Array.from(written(vector, 'float') as number[]);
        const bytes = Buffer.from(written(vector, 'base64') as string, 'base64');
        expect(Buffer.from(floats.buffer).equals(bytes)).toBe(true);
        expect(bytes.equals(Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength))).toBe(true);
      }),
    );
  });
});

describe('cutVector', () => {
  it('has unit length at any number of dimensions', () => {
    fc.assert(
      fc.property(fc.array(fc.float({ min: -1, max: 1, noNaN: true }), { minLength: 2, maxLength: 40 }), (values) => {
        const vector = Float32Array.from(values);
        for (let dimensions = 1; dimensions < vector.length; dimensions++) {
          fc.pre(Math.hypot(...vector.subarray(0, dimensions)) > 1e-30);
          const cut = cutVector(vector, dimensions);
          expect(cut.length).toBe(dimensions);
          expect(Math.abs(Math.hypot(...cut) - 1)).toBeLessThan(1e-6);
        }
        expect(cutVector(vector, vector.length)).toBe(vector);
      }),
    );
  });
});

describe('isFiniteVector', () => {
  it.each([NaN, Infinity, -Infinity])('finds %d wherever it stands', (bad) => {
    for (const at of [0, 3, 7]) {
      const vector = new Float32Array(8).fill(0.5);
      expect(isFiniteVector(vector)).toBe(true);
      vector[at] = bad;
      expect(isFiniteVector(vector)).toBe(false);
    }
  });

  it('finds a vector that cannot be made unit length', () => {
    expect(isFiniteVector(cutVector(new Float32Array([0, 0, 1]), 2))).toBe(false);
  });
});
