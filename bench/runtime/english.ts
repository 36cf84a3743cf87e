// Seeded windows of English prose, cut by the token: the same texts for everyone who is measured.

/** mulberry32: a small generator whose whole state is its seed. */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface Book {
  readonly words: readonly string[];
  /** Tokens of each word on its own, without special tokens. */
  readonly tokens: readonly number[];
}

export const wordsOf = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');

export const sentencesOf = (text: string): string[] =>
  text
    .split('\n')
    .flatMap((paragraph) => paragraph.split(/(?<=[.!?]["'”’]?)\s+(?=[A-Z"'“‘])/))
    .filter((sentence) => sentence !== '');

/**
 * Consecutive words of that many tokens, or as near below as words allow. WordPiece splits at white space first, so a
 * window has the tokens of its words.
 */
export function windowOf({ words, tokens }: Book, wanted: number, random: () => number): string {
  const start = Math.floor(random() * (words.length - wanted));
  let end = start;
  for (let sum = 0; end < words.length; end++) {
    sum += tokens[end]!;
    if (sum > wanted && end > start) break;
  }
  return words.slice(start, end).join(' ');
}

/** Box–Muller; `1 - random()` keeps the logarithm finite. */
export const normal = (random: () => number): number =>
  Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

/** A length from the log-normal distribution with median 45 and σ 0.9, from 5 to 256. */
export const mixedLength = (random: () => number): number =>
  Math.min(256, Math.max(5, Math.round(45 * Math.exp(0.9 * normal(random)))));

export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const order = [...items];
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}
