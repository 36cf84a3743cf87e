// Finds the shortest decimal number that reads back as the same float32.

/** 10^0 … 10^47; a double holds those up to 10^22 exactly. */
const POWERS = Float64Array.from({ length: 48 }, (_, exponent) => Number(`1e${exponent}`));
const MOST_EXACT_POWER = 22;

export const powerOfTen = (exponent: number): number => POWERS[exponent] ?? NaN;

/** From here on numbers have all bits of their mantissa. */
const LEAST_NORMAL = 2 ** -126;
/** From here on every power that is needed is exact. */
const LEAST_EXACT = 1e-6;

const ONE = new Float32Array(1);
const BITS = new Uint32Array(ONE.buffer);
const MANTISSA = 0x7fffff;
/** Half of the distance between float32 numbers, by their exponent's bits. */
const HALF_STEPS = Float64Array.from({ length: 256 }, (_, bits) => 2 ** (bits - 151));
/** Above the error of a product of doubles, one of them inexact, relative to it. */
const DOUBT = 2 ** -50;

/** What was found last, `integer / 10^scale`, in this order: numbers come by the million, and none is worth an object. */
export const SHORTEST = new Int32Array(2);

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
  if (Math.abs(beyond) <= shifted * DOUBT) return scale <= MOST_EXACT_POWER ? integerAt(value, scale) : -1;
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
export function findShortest(magnitude: number): boolean {
  if (!(magnitude >= LEAST_NORMAL && magnitude < 1)) return false;
  ONE[0] = magnitude;
  const bits = BITS[0] ?? 0;
  const lopsided = (bits & MANTISSA) === 0;
  if (lopsided && magnitude < LEAST_EXACT) return false;
  search(magnitude, lopsided ? 0 : (HALF_STEPS[bits >>> 23] ?? NaN));
  return (SHORTEST[0] ?? 0) > 0;
}
