// Kubernetes quantities: their value, so that `1000m`, `1` and 1 are the same amount.

const SUFFIXES: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** The amount, or undefined when the text is no quantity. */
export function parseQuantity(quantity: string | number): number | undefined {
  if (typeof quantity === 'number') return quantity;
  const [, digits, suffix = '', exponent] =
    /^(\d+\.?\d*|\.\d+)(?:([numkMGTPE]i?)|[eE]([+-]?\d+))?$/.exec(quantity) ?? [];
  const factor = exponent === undefined ? SUFFIXES[suffix] : 10 ** Number(exponent);
  return digits === undefined || factor === undefined ? undefined : Number(digits) * factor;
}

/** Same amount, within the rounding of the decimal fractions. */
export function sameQuantity(a: string | number, b: string | number): boolean {
  const [left, right] = [parseQuantity(a), parseQuantity(b)];
  if (left === undefined || right === undefined) return a === b;
  return Math.abs(left - right) <= 1e-9 * Math.max(Math.abs(left), Math.abs(right));
}
