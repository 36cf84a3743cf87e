// Writes a float32 as the shortest decimal text that reads back as the same float32.

const DOT = 46;
const MINUS = 45;
const ZERO = 48;

/** Longest text of one float32: a sign and 21 digits, as JavaScript writes numbers below 1e21. */
export const MAX_FLOAT32_TEXT = 22;

/** 10^0 … 10^22: every power of ten that a double holds exactly. */
const POWERS = Float64Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));

/** Below `FAST_START` JavaScript writes an exponent; below `FAST_END` eight digits reach past the point. */
const FAST_START = 1e-6;
const FAST_END = 1e7;

const ONE = new Float32Array(1);
const BITS = new Uint32Array(ONE.buffer);
const MANTISSA = 0x7fffff;
/** Half of the distance between float32 numbers, by their exponent's bits. */
const HALF_STEPS = Float64Array.from({ length: 256 }, (_, bits) => 2 ** (bits - 151));
/** Above the error of a product of doubles, relative to it. */
const DOUBT = 2 ** -51;

/** The two digits of 0 … 99. */
const TENS = Uint8Array.from({ length: 100 }, (_, number) => ZERO + Math.floor(number / 10));
const UNITS = Uint8Array.from({ length: 100 }, (_, number) => ZERO + (number % 10));

/** Exponent `e` such that 10^e <= value < 10^(e+1), for values of the fast range. */
function decimalExponent(value: number): number {
  let exponent = 0;
  if (value >= 1) {
    while (value >= power(exponent + 1)) exponent++;
    return exponent;
  }
  do exponent--;
  while (value * power(-exponent) < 1);
  return exponent;
}

const power = (exponent: number): number => POWERS[exponent] ?? NaN;

/**
 * The integer `m` for which `m / 10^scale` reads back as `value`, or 0. Both operands of the division are exact, so its
 * result is what any correct JSON reader gets from the text. Two neighbours are tried: at a power of two the interval that
 * rounds to `value` is lopsided, and the nearest decimal can miss it while the next one up is inside.
 */
function integerAt(value: number, scale: number): number {
  const divisor = power(scale);
  const low = Math.floor(value * divisor);
  const nearest = value * divisor - low < 0.5 ? low : low + 1;
  if (Math.fround(nearest / divisor) === value) return nearest;
  const other = nearest === low ? low + 1 : low;
  return Math.fround(other / divisor) === value ? other : 0;
}

/**
 * As `integerAt`, for a value that is no power of two: what is nearer to it than half a step reads back as it. No division
 * but where the product is too inexact to tell.
 */
function integerWithin(value: number, halfStep: number, scale: number): number {
  const shifted = value * power(scale);
  const nearest = Math.floor(shifted + 0.5);
  const beyond = Math.abs(nearest - shifted) - halfStep * power(scale);
  if (Math.abs(beyond) <= shifted * DOUBT) return integerAt(value, scale);
  return beyond < 0 ? nearest : 0;
}

/** Any finite value, by trying texts: for the few numbers that no unit vector holds often. */
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

/** `integer / 10^scale` as text without trailing zeros. */
function writeDecimal(integer: number, scale: number, target: { into: Uint8Array; at: number }): number {
  const { into } = target;
  let rest = integer;
  let places = scale;
  while (places > 0 && rest % 10 === 0) {
    rest /= 10;
    places--;
  }
  let length = 1;
  while (length < 10 && rest >= power(length)) length++;
  const whole = Math.max(length, places + 1);
  let position = target.at + whole + (places > 0 ? 1 : 0);
  const end = position;
  for (let digit = 0; digit < whole; digit++) {
    if (digit === places && places > 0) into[--position] = DOT;
    const quotient = Math.floor(rest / 10);
    into[--position] = ZERO + (rest - quotient * 10);
    rest = quotient;
  }
  return end;
}

/** `integer / 10^places`, below 1, as text. */
function writePlaces(integer: number, places: number, into: Uint8Array, at: number): number {
  into[at] = ZERO;
  into[at + 1] = DOT;
  const start = at + 2;
  let position = start + places;
  // Below 2^30, where quotients cost little.
  let rest = integer | 0;
  for (; position > start + 1; position -= 2) {
    const quotient = (rest / 100) | 0;
    const pair = rest - quotient * 100;
    into[position - 1] = UNITS[pair] ?? ZERO;
    into[position - 2] = TENS[pair] ?? ZERO;
    rest = quotient;
  }
  if (position > start) into[start] = ZERO + rest;
  return start + places;
}

/** Most numbers of a unit vector. */
function writeBelowOne(magnitude: number, into: Uint8Array, at: number): number {
  const halfStep = HALF_STEPS[(BITS[0] ?? 0) >>> 23] ?? NaN;
  let scale = 7 - decimalExponent(magnitude);
  let found = integerWithin(magnitude, halfStep, scale);
  if (found === 0) return writePlaces(integerWithin(magnitude, halfStep, ++scale), scale, into, at);
  for (;;) {
    const shorter = integerWithin(magnitude, halfStep, scale - 1);
    if (shorter === 0) return writePlaces(found, scale, into, at);
    found = shorter;
    scale--;
  }
}

/** Writes `value` (a finite float32) as ASCII and returns the offset after it. */
export function writeFloat32(value: number, into: Uint8Array, at: number): number {
  const magnitude = value < 0 ? -value : value;
  if (!(magnitude >= FAST_START && magnitude < FAST_END)) return writeSlow(value, into, at);
  if (value < 0) into[at++] = MINUS;
  ONE[0] = magnitude;
  if (magnitude < 1 && ((BITS[0] ?? 0) & MANTISSA) !== 0) return writeBelowOne(magnitude, into, at);
  const exponent = decimalExponent(magnitude);
  // Eight digits are the commonest answer; fewer may do, and nine always suffice.
  let scale = 7 - exponent;
  let found = integerAt(magnitude, scale);
  if (found === 0) return writeDecimal(integerAt(magnitude, ++scale), scale, { into, at });
  while (scale > 0) {
    const shorter = integerAt(magnitude, scale - 1);
    if (shorter === 0) break;
    found = shorter;
    scale--;
  }
  return writeDecimal(found, scale, { into, at });
}
