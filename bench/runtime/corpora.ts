// The corpora of the runtime bench: requests of real English text with their true token counts, cut with fixed seeds, so that everyone gets the same.
import { writeFile } from 'node:fs/promises';
import { readEnglish, sentencesOf, wordsOf } from '../../cli/corpora.ts';
import type { Cut, Cuts } from '../../cli/corpora.ts';
import type { Tokenizer } from '../../runtime/engine/tokenizer.ts';

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

/**
 * Consecutive words of that many tokens, or as near below as words allow. WordPiece splits at white space first, so a
 * window has the tokens of its words.
 */
export function windowOf({ words, tokens }: Book, wanted: number, random: () => number): Cut {
  const start = Math.floor(random() * (words.length - wanted));
  let end = start;
  for (let sum = 0; end < words.length; end++) {
    sum += tokens[end]!;
    if (sum > wanted && end > start) break;
  }
  return [start, end];
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

export const CORPUS_NAMES = ['A', 'B', 'C', 'C32', 'D', 'L'] as const;
export type CorpusName = (typeof CORPUS_NAMES)[number];

export interface BenchText {
  readonly text: string;
  readonly ids: Int32Array;
}

export interface BenchRequest {
  readonly inputs: readonly string[];
  /** Real tokens, special tokens included. */
  readonly tokens: number;
}

export interface Corpus {
  readonly requests: readonly BenchRequest[];
  readonly texts: readonly BenchText[];
}

export type Corpora = Readonly<Record<CorpusName, Corpus>>;

const SPECIAL_TOKENS = 2;
const A_LENGTHS = { shortest: 12, longest: 28, count: 3000 } as const;
const B_LENGTHS = { shortest: 176, longest: 224, count: 1000 } as const;
const C_COUNT = 4096;
const D_COUNT = 2048;
const C32_INPUTS = 32;
const L_COUNT = 64;

async function readBook(text: string, tokenizer: Tokenizer): Promise<Book> {
  const words = wordsOf(text);
  const count = async (word: string) => [word, (await tokenizer.encode(word)).untruncated - SPECIAL_TOKENS] as const;
  const counts = new Map(await Promise.all([...new Set(words)].map(count)));
  return { words, tokens: words.map((word) => counts.get(word)!) };
}

const inRequestsOf = (texts: readonly BenchText[], size: number): BenchRequest[] =>
  Array.from({ length: Math.floor(texts.length / size) }, (_, index) => {
    const group = texts.slice(index * size, (index + 1) * size);
    return {
      inputs: group.map(({ text }) => text),
      tokens: group.reduce((sum, { ids }) => sum + ids.length, 0),
    };
  });

/** Where the corpora are in the prose; D, cut like C, and L are for the bench alone. */
interface AllCuts extends Cuts {
  readonly D: readonly Cut[];
  readonly L: readonly Cut[];
}

async function cut(english: string, tokenizer: Tokenizer, longTokens = 0): Promise<AllCuts> {
  const book = await readBook(english, tokenizer);
  const windows = (count: number, seed: number, length: (random: () => number) => number): Cut[] => {
    const random = seededRandom(seed);
    return Array.from({ length: count }, () => windowOf(book, length(random) - SPECIAL_TOKENS, random));
  };
  const numbered = sentencesOf(english).map((sentence, at) => ({ sentence, at }));
  const counted = await Promise.all(
    shuffled(numbered, seededRandom(1)).map(async ({ sentence, at }) => ({
      at,
      tokens: (await tokenizer.encode(sentence)).ids.length,
    })),
  );
  const { shortest, longest } = B_LENGTHS;
  return {
    A: counted
      .filter(({ tokens }) => tokens >= A_LENGTHS.shortest && tokens <= A_LENGTHS.longest)
      .slice(0, A_LENGTHS.count)
      .map(({ at }) => at),
    B: windows(B_LENGTHS.count, 2, (random) => shortest + Math.round(random() * (longest - shortest))),
    C: windows(C_COUNT, 3, mixedLength),
    D: windows(D_COUNT, 4, mixedLength),
    L: longTokens === 0 ? [] : windows(L_COUNT, 5, () => longTokens),
  };
}

/** What `cli/corpus/cuts.json` holds. */
export async function findCuts(tokenizer: Tokenizer): Promise<Cuts> {
  const { A, B, C } = await cut(await readEnglish(), tokenizer);
  return { A, B, C };
}

/** @param longTokens of each text of L, which is empty where nobody asks for long texts */
export async function buildCorpora(tokenizer: Tokenizer, longTokens = 0): Promise<Corpora> {
  const english = await readEnglish();
  const cuts = await cut(english, tokenizer, longTokens);
  const tokenized = async (texts: readonly string[]): Promise<BenchText[]> =>
    await Promise.all(texts.map(async (text) => ({ text, ids: (await tokenizer.encode(text)).ids })));
  const sentences = sentencesOf(english);
  const words = wordsOf(english);
  const windows = async (places: readonly Cut[]): Promise<BenchText[]> =>
    await tokenized(places.map(([start, end]) => words.slice(start, end).join(' ')));
  const a = await tokenized(cuts.A.map((at) => sentences[at]!));
  const [b, c, d] = [await windows(cuts.B), await windows(cuts.C), await windows(cuts.D)];
  const l = await windows(cuts.L);
  return {
    A: { texts: a, requests: inRequestsOf(a, 1) },
    B: { texts: b, requests: inRequestsOf(b, 1) },
    C: { texts: c, requests: inRequestsOf(c, 1) },
    C32: { texts: c, requests: inRequestsOf(c, C32_INPUTS) },
    D: { texts: d, requests: inRequestsOf(d, D_COUNT) },
    L: { texts: l, requests: inRequestsOf(l, 1) },
  };
}

// For other processes.

export interface WrittenCorpus {
  readonly requests: readonly { readonly inputs: readonly string[]; readonly tokens: number }[];
  readonly ids: readonly (readonly number[])[];
}

export type WrittenCorpora = Readonly<Record<CorpusName, WrittenCorpus>>;

export async function writeCorpora(corpora: Corpora, file: string): Promise<void> {
  const written = Object.entries(corpora).map(([name, { requests, texts }]) => [
    name,
    { requests, ids: texts.map(({ ids }) => [...ids]) } satisfies WrittenCorpus,
  ]);
  await writeFile(file, JSON.stringify(Object.fromEntries(written)));
}
