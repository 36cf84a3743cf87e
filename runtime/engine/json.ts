// Vectors → JSON values as bytes: base64, or a list of float32 in the shortest decimals that read back as the same numbers.
import type { OutputEncoding } from './contract.ts';

// The shortest decimal number that reads back as the same float32.

/** 10^0 … 10^47; a double holds those up to 10^22 exactly. */
const POWERS = Float64Array.from({ length: 48 }, (_, exponent) => Number(`1e${exponent}`));
const MAX_EXACT_POWER = 22;

const powerOfTen = (exponent: number): number => POWERS[exponent] ?? NaN;

/** From here on numbers have all bits of their mantissa. */
const MIN_NORMAL = 2 ** -126;
/** From here on every power that is needed is exact. */
const MIN_EXACT = 1e-6;

const ONE = new Float32Array(1);
const BITS = new Uint32Array(ONE.buffer);
const MANTISSA = 0x7fffff;
/** Half of the distance between float32 numbers, by their exponent's bits. */
const HALF_STEPS = Float64Array.from({ length: 256 }, (_, bits) => 2 ** (bits - 151));
/** Above the error of a product of doubles, one of them inexact, relative to it. */
const DOUBT = 2 ** -50;

/** What was found last, `integer / 10^scale`, in this order: numbers come by the million, and none is worth an object. */
const SHORTEST = new Int32Array(2);

/** Places after the point until the first digit of a value below 1. */
function firstPlace(value: number): number {
  let places = 1;
  while (value * powerOfTen(places) < 1) places++;
  return places;
}

/**
 * The integer `m` for which `m / 10^scale` reads back as `value`, or 0. Both operands of the division are exact, so its
 * result is what any correct JSON reader gets from the text. Two neighbours are tried: at a power of two the interval that
 * rounds to `value` is lopsided, and the nearest decimal can miss it while the next one up is inside.
 */
function integerAt(value: number, scale: number): number {
  const divisor = powerOfTen(scale);
  const low = Math.floor(value * divisor);
  const nearest = value * divisor - low < 0.5 ? low : low + 1;
  if (Math.fround(nearest / divisor) === value) return nearest;
  const other = nearest === low ? low + 1 : low;
  return Math.fround(other / divisor) === value ? other : 0;
}

/**
 * As `integerAt`: what is nearer to the value than half a step reads back as it. Where the product is too inexact to tell,
 * division does, and where that is inexact as well the answer is negative.
 */
function integerWithin(halfStep: number, value: number, scale: number): number {
  if (halfStep === 0) return integerAt(value, scale);
  const shifted = value * powerOfTen(scale);
  const nearest = Math.floor(shifted + 0.5);
  const beyond = Math.abs(nearest - shifted) - halfStep * powerOfTen(scale);
  if (Math.abs(beyond) <= shifted * DOUBT) return scale <= MAX_EXACT_POWER ? integerAt(value, scale) : -1;
  return beyond < 0 ? nearest : 0;
}

/** Eight digits are the commonest answer; fewer may do, and nine always suffice. */
function search(magnitude: number, halfStep: number): void {
  let scale = 7 + firstPlace(magnitude);
  let integer = integerWithin(halfStep, magnitude, scale);
  if (integer === 0) {
    integer = integerWithin(halfStep, magnitude, ++scale);
  } else {
    while (integer > 0) {
      const shorter = integerWithin(halfStep, magnitude, scale - 1);
      if (shorter === 0) break;
      integer = shorter;
      scale--;
    }
  }
  SHORTEST[0] = integer;
  SHORTEST[1] = scale;
}

/** Sets `SHORTEST` for a number between 0 and 1, as those of unit vectors are; false for any other, and the few that need more care. */
function findShortest(magnitude: number): boolean {
  if (!(magnitude >= MIN_NORMAL && magnitude < 1)) return false;
  ONE[0] = magnitude;
  const bits = BITS[0] ?? 0;
  const lopsided = (bits & MANTISSA) === 0;
  if (lopsided && magnitude < MIN_EXACT) return false;
  search(magnitude, lopsided ? 0 : (HALF_STEPS[bits >>> 23] ?? NaN));
  return (SHORTEST[0] ?? 0) > 0;
}

// That number as JavaScript would write it.

const DOT = 46;
const MINUS = 45;
const ZERO = 48;
const EXPONENT = 101;

/** Longest text of one float32: a sign and 21 digits, as JavaScript writes numbers below 1e21. */
export const MAX_FLOAT32_TEXT = 22;
/** Smaller numbers are written with an exponent. */
const MAX_ZEROS = 6;

/** The two digits of 0 … 99. */
const TENS = Uint8Array.from({ length: 100 }, (_, number) => ZERO + Math.floor(number / 10));
const UNITS = Uint8Array.from({ length: 100 }, (_, number) => ZERO + (number % 10));

/** Any finite value, by trying texts: for the numbers that no unit vector holds often. */
function slowText(value: number): string {
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  for (let digits = 1; digits < 9; digits++) {
    const [mantissa = '', exponent = ''] = value.toExponential(digits - 1).split('e');
    const integer = Number(mantissa.replace('.', ''));
    for (const step of [0, 1, -1]) {
      const candidate = Number(`${integer + step}e${Number(exponent) - digits + 1}`);
      if (Math.fround(candidate) === value) return String(candidate);
    }
  }
  return String(Number(value.toPrecision(9)));
}

function writeSlow(value: number, into: Uint8Array, at: number): number {
  const text = slowText(value);
  for (let index = 0; index < text.length; index++) into[at + index] = text.charCodeAt(index);
  return at + text.length;
}

/** The last `count` digits of an integer below 2^30, where quotients cost little. Returns what is left of it. */
function writeDigits(integer: number, count: number, into: Uint8Array, at: number): number {
  let rest = integer | 0;
  let position = at + count;
  for (; position > at + 1; position -= 2) {
    const quotient = (rest / 100) | 0;
    const pair = rest - quotient * 100;
    into[position - 1] = UNITS[pair] ?? ZERO;
    into[position - 2] = TENS[pair] ?? ZERO;
    rest = quotient;
  }
  if (position === at) return rest;
  const quotient = (rest / 10) | 0;
  into[at] = ZERO + (rest - quotient * 10);
  return quotient;
}

/** Digits of an integer; most have eight or nine. */
function digitsOf(integer: number): number {
  let length = 9;
  while (length > 1 && integer < powerOfTen(length - 1)) length--;
  return length;
}

/** `integer / 10^scale`, below 10, with a point where there is something behind it. */
function writePlain(integer: number, scale: number, into: Uint8Array, at: number): number {
  if (scale === 0) {
    into[at] = ZERO + integer;
    return at + 1;
  }
  into[at] = ZERO + writeDigits(integer, scale, into, at + 2);
  into[at + 1] = DOT;
  return at + 2 + scale;
}

/** The end of `1.23e-45`. */
function writeExponent(exponent: number, into: Uint8Array, at: number): number {
  let end = at;
  into[end++] = EXPONENT;
  into[end++] = MINUS;
  if (exponent > 9) into[end++] = TENS[exponent] ?? ZERO;
  into[end++] = UNITS[exponent] ?? ZERO;
  return end;
}

/** Writes `value` (a finite float32) as ASCII and returns the offset after it. */
export function writeFloat32(value: number, into: Uint8Array, at: number): number {
  if (!findShortest(value < 0 ? -value : value)) return writeSlow(value, into, at);
  const integer = SHORTEST[0] ?? 0;
  const scale = SHORTEST[1] ?? 0;
  if (value < 0) into[at++] = MINUS;
  const digits = digitsOf(integer);
  const exponent = scale - digits + 1;
  if (exponent <= MAX_ZEROS) return writePlain(integer, scale, into, at);
  return writeExponent(exponent, into, writePlain(integer, digits - 1, into, at));
}

// Whole vectors: cut, made unit length again, checked for numbers that JSON cannot say.

const QUOTE = 34;
const COMMA = 44;
const OPEN = 91;
const CLOSE = 93;

export interface OutputForm {
  readonly encoding: OutputEncoding;
  readonly dimensions: number;
}

export function isFiniteVector(vector: Float32Array): boolean {
  // Any NaN or infinity makes the sum of x·0 a NaN.
  let sum = 0;
  for (const value of vector) sum += value * 0;
  return sum === 0;
}

/** Makes it unit length, in place. */
export function normalize(vector: Float32Array): void {
  let squares = 0;
  for (const value of vector) squares += value * value;
  const norm = Math.sqrt(squares);
  for (let index = 0; index < vector.length; index++) vector[index] = (vector[index] ?? NaN) / norm;
}

/** The first `dimensions` numbers at unit length; the vector itself when that is all of them. */
export function cutVector(vector: Float32Array, dimensions: number): Float32Array {
  if (dimensions >= vector.length) return vector;
  const cut = vector.slice(0, dimensions);
  normalize(cut);
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
