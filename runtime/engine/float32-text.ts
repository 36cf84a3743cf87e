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

/** Writes `value` (a finite float32) as ASCII and returns the offset after it. */
export function writeFloat32(value: number, into: Uint8Array, at: number): number {
  const magnitude = value < 0 ? -value : value;
  if (!(magnitude >= FAST_START && magnitude < FAST_END)) return writeSlow(value, into, at);
  if (value < 0) into[at++] = MINUS;
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
