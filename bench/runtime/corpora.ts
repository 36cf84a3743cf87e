// The corpora of the runtime bench: requests of real English text with their true token counts.
import { readFile } from 'node:fs/promises';
import { brotliDecompressSync } from 'node:zlib';
import type { Tokenizer } from '../../runtime/engine/tokenizer.ts';
import { mixedLength, seededRandom, sentencesOf, shuffled, windowOf, wordsOf } from './english.ts';
import type { Book } from './english.ts';

export const CORPUS_NAMES = ['A', 'B', 'C', 'C32', 'D'] as const;
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

const ENGLISH = new URL('./corpus/english.txt.br', import.meta.url);
const SPECIAL_TOKENS = 2;
const A_LENGTHS = { shortest: 12, longest: 28, count: 3000 } as const;
const B_LENGTHS = { shortest: 176, longest: 224, count: 1000 } as const;
const C_COUNT = 4096;
const D_COUNT = 2048;
const C32_INPUTS = 32;

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

export async function buildCorpora(tokenizer: Tokenizer): Promise<Corpora> {
  const english = brotliDecompressSync(await readFile(ENGLISH)).toString('utf8');
  const book = await readBook(english, tokenizer);
  const tokenized = async (texts: readonly string[]): Promise<BenchText[]> =>
    await Promise.all(texts.map(async (text) => ({ text, ids: (await tokenizer.encode(text)).ids })));
  const windows = async (count: number, seed: number, length: (random: () => number) => number) => {
    const random = seededRandom(seed);
    return await tokenized(
      Array.from({ length: count }, () => windowOf(book, length(random) - SPECIAL_TOKENS, random)),
    );
  };

  const sentences = (await tokenized(shuffled(sentencesOf(english), seededRandom(1)))).filter(
    ({ ids }) => ids.length >= A_LENGTHS.shortest && ids.length <= A_LENGTHS.longest,
  );
  const a = sentences.slice(0, A_LENGTHS.count);
  const { shortest, longest } = B_LENGTHS;
  const b = await windows(B_LENGTHS.count, 2, (random) => shortest + Math.round(random() * (longest - shortest)));
  const c = await windows(C_COUNT, 3, mixedLength);
  const d = await windows(D_COUNT, 4, mixedLength);
  return {
    A: { texts: a, requests: inRequestsOf(a, 1) },
    B: { texts: b, requests: inRequestsOf(b, 1) },
    C: { texts: c, requests: inRequestsOf(c, 1) },
    C32: { texts: c, requests: inRequestsOf(c, C32_INPUTS) },
    D: { texts: d, requests: inRequestsOf(d, D_COUNT) },
  };
}
