import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { OutputEncoding } from './contract.ts';
import { MAX_FLOAT32_TEXT, cutVector, isFiniteVector, maxBytes, writeFloat32, writeVector } from './json.ts';

const text = (value: number): string => {
  const buffer = new Uint8Array(MAX_FLOAT32_TEXT + 2);
  const end = writeFloat32(value, buffer, 1);
  expect(end - 1).toBeLessThanOrEqual(MAX_FLOAT32_TEXT);
  return Buffer.from(buffer.subarray(1, end)).toString('latin1');
};

/** Fewest significant digits that read back as the same float32, by trying them all. */
const fewestDigits = (value: number): number => {
  for (let digits = 1; digits < 10; digits++) {
    const exponent = Number(value.toExponential().split('e')[1]);
    for (const step of [0, 1, -1]) {
      const rounded =
        Number(
          Math.abs(value)
            .toExponential(digits - 1)
            .split('e')[0]!
            .replace('.', ''),
        ) + step;
      if (Math.fround(Number(`${rounded}e${exponent - digits + 1}`)) === Math.abs(value)) return digits;
    }
  }
  throw new Error('nine digits always suffice');
};

const significantDigits = (written: string): number =>
  written.replace(/e.*$/u, '').replace(/[-.]/gu, '').replace(/^0+/u, '').replace(/0+$/u, '').length;

const finite = fc.float({ noNaN: true, noDefaultInfinity: true });
const unit = fc.float({ min: -1, max: 1, noNaN: true });

describe('writeFloat32', () => {
  it.each([
    [0, '0'],
    [-0, '-0'],
    [1, '1'],
    [-1, '-1'],
    [0.5, '0.5'],
    [Math.fround(0.1), '0.1'],
    [Math.fround(-0.012345678), '-0.012345678'],
    [Math.fround(0.99999994), '0.99999994'],
    [123456, '123456'],
    [16777216, '16777216'],
    [Math.fround(1e-7), '1e-7'],
    [2 ** -149, '1e-45'],
    [2 ** -20, '9.536743e-7'],
    [Math.fround(1e-6), '0.000001'],
    [Math.fround(-3.405952e-33), '-3.405952e-33'],
    [Math.fround(4e-33), '4e-33'],
    [3.4028234663852886e38, '3.4028235e+38'],
  ])('writes %d as %s', (value, expected) => {
    expect(text(value)).toBe(expected);
  });

  it('reads back bit for bit and as JSON', () => {
    fc.assert(
      fc.property(fc.oneof(finite, unit), (value) => {
        expect(Object.is(Math.fround(JSON.parse(text(value)) as number), value)).toBe(true);
      }),
      { numRuns: 20_000 },
    );
  });

  it('uses as few digits as can be, powers of two included', () => {
    const powerOfTwo = fc.integer({ min: -60, max: 60 }).map((exponent) => 2 ** exponent);
    fc.assert(
      fc.property(fc.oneof(unit, finite, powerOfTwo), (value) => {
        fc.pre(Math.abs(value) >= 1e-30);
        expect(significantDigits(text(value))).toBeLessThanOrEqual(fewestDigits(value));
      }),
      { numRuns: 20_000 },
    );
  });
});

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
