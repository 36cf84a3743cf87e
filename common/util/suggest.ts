// What a person meant who mistyped a word: the nearest known one, if it is near. Pure.

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
