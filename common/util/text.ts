// Small questions about values, how they are printed, and what a person meant who mistyped a word. Pure.

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

const COMMIT_SHA = /^[0-9a-f]{40}$/;

/** A full commit sha names the same bytes for ever: it needs no resolving. */
export const isCommitSha = (revision: string): boolean => COMMIT_SHA.test(revision);

/** What a client sent, cut to a length that is fit for a message. */
export function clip(text: string, limit = 200): string {
  return text.length <= limit ? text : `${text.slice(0, limit)}…`;
}

export const errorText = (error: unknown): string => (error instanceof Error ? error.message : String(error));

// The nearest known word, if it is near.

/** Edits (insert, delete, replace, swap of neighbours) from one word to the other. */
export function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? (before[j - 2] ?? Infinity) + 1 : Infinity;
      row.push(Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, replaced, swapped));
    }
    before = last;
    last = row;
  }
  return last[b.length] ?? 0;
}

const tolerance = (word: string): number => (word.length < 5 ? 1 : word.length < 9 ? 2 : 3);

const editsTo = (word: string, candidate: string): number =>
  word !== '' && candidate.startsWith(word) ? 0.5 : distance(word, candidate);

/** Undefined when nothing is near enough to be meant. Case and the organisation before a slash may be missing. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const meant = word.toLowerCase();
  const [best] = known
    .map((candidate) => {
      const whole = candidate.toLowerCase();
      return { candidate, edits: Math.min(editsTo(meant, whole), editsTo(meant, whole.replace(/^.*\//, ''))) };
    })
    .sort((a, b) => a.edits - b.edits);
  return best !== undefined && best.edits <= tolerance(word) ? best.candidate : undefined;
}

/** ` Did you mean …?`, or nothing. */
export function suggestion(word: string, known: readonly string[], prefix = ''): string {
  const near = nearest(word, known);
  return near === undefined ? '' : ` Did you mean ${prefix}${near}?`;
}
