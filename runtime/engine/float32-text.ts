// Writes a float32 as the shortest decimal text that reads back as the same float32, as JavaScript writes numbers.
import { SHORTEST, findShortest, powerOfTen } from './float32-decimal.ts';

const DOT = 46;
const MINUS = 45;
const ZERO = 48;
const EXPONENT = 101;

/** Longest text of one float32: a sign and 21 digits, as JavaScript writes numbers below 1e21. */
export const MAX_FLOAT32_TEXT = 22;
/** Smaller numbers are written with an exponent. */
const MOST_ZEROS = 6;

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
  if (exponent <= MOST_ZEROS) return writePlain(integer, scale, into, at);
  return writeExponent(exponent, into, writePlain(integer, digits - 1, into, at));
}
