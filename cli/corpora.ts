// The texts of the benches, so that whoever measures a service sends what was measured elsewhere: English prose, and where it is cut.
import { readFile } from 'node:fs/promises';
import { brotliDecompressSync } from 'node:zlib';

/** Sentences, passages of 200 tokens, and lengths as they are mixed. */
export const CORPUS_NAMES = ['A', 'B', 'C'] as const;
export type CorpusName = (typeof CORPUS_NAMES)[number];

/** Words from the first (inclusive) to the last (exclusive). */
export type Cut = readonly [start: number, end: number];

export interface Cuts {
  /** Of sentences, their number. */
  readonly A: readonly number[];
  readonly B: readonly Cut[];
  readonly C: readonly Cut[];
}

const ENGLISH = new URL('./corpus/english.txt.br', import.meta.url);
const CUTS = new URL('./corpus/cuts.json', import.meta.url);

export const readEnglish = async (): Promise<string> => brotliDecompressSync(await readFile(ENGLISH)).toString('utf8');

export const wordsOf = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');

export const sentencesOf = (text: string): string[] =>
  text
    .split('\n')
    .flatMap((paragraph) => paragraph.split(/(?<=[.!?]["'”’]?)\s+(?=[A-Z"'“‘])/))
    .filter((sentence) => sentence !== '');

export async function readCorpus(name: CorpusName): Promise<readonly string[]> {
  const english = await readEnglish();
  const cuts = JSON.parse(await readFile(CUTS, 'utf8')) as Cuts;
  if (name === 'A') {
    const sentences = sentencesOf(english);
    return cuts.A.map((at) => sentences[at] ?? '');
  }
  const words = wordsOf(english);
  return cuts[name].map(([start, end]) => words.slice(start, end).join(' '));
}
