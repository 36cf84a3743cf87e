import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_FLOAT32_TEXT, writeFloat32 } from './float32-text.ts';

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
