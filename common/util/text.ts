// Small questions about values and how they are printed. Pure.

/** A JSON object: not null, not an array. */
export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const BYTE_UNITS = [
  [1e9, 'GB'],
  [1e6, 'MB'],
  [1e3, 'kB'],
] as const;

/** `1.5 GB`, `250 MB`, `12 bytes`. */
export function printBytes(bytes: number): string {
  const [size, unit] = BYTE_UNITS.find(([one]) => bytes >= one) ?? [1, 'bytes'];
  const value = bytes / size;
  return `${value >= 100 || size === 1 ? Math.round(value) : value.toFixed(1)} ${unit}`;
}

/** RFC 3339 in whole seconds, as Kubernetes writes `metav1.Time`. */
export const rfc3339 = (epochMs: number): string => new Date(epochMs).toISOString().replace(/\.\d+Z$/, 'Z');

/** RFC 3339 in microseconds, as Kubernetes writes `metav1.MicroTime`. */
export const rfc3339Micro = (epochMs: number): string => new Date(epochMs).toISOString().replace('Z', '000Z');

export const errorText = (error: unknown): string => (error instanceof Error ? error.message : String(error));
