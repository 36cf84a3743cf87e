// A vector in int8 is the same to the last bit whoever shares the run, in each kind of attention: a difference of 1e-7 there would tip roundings.
import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ownBlock } from '../../runtime/graph/layout.ts';
import { openFolder, readJson } from '../helpers/graph-session.ts';
import type { RunTexts } from '../helpers/graph-session.ts';
import { madeModel, MADE_TOKENS, madeTokenizer, writeMadeModel } from '../helpers/made-model.ts';
import type { MadeFamily } from '../helpers/made-model.ts';

const SIZE = { layers: 2, hidden: 96, intermediate: 192, heads: 3, vocabulary: MADE_TOKENS, maxTokens: 512 };
const DECODER = { ...SIZE, heads: 4, keyValueHeads: 2, headSize: 32 };
const MADE: readonly (readonly [MadeFamily, typeof SIZE])[] = [
  ['bert', SIZE],
  ['xlmRoberta', SIZE],
  ['mpnet', SIZE],
  ['deberta', SIZE],
  ['t5', SIZE],
  ['qwen3', DECODER],
  ['gemma3', DECODER],
];

const LENGTHS = [
  1, 2, 5, 8, 9, 12, 15, 16, 17, 20, 21, 24, 25, 31, 32, 33, 40, 47, 48, 49, 63, 64, 65, 65, 90, 90, 140, 140,
];

const text = (length: number, order: number, words: number): number[] =>
  Array.from({ length }, (_, position) => 4 + ((order * 31 + position * (7 + (order % 5))) % (words - 4)));

/** The same alone, first or last, and among all that may share its run. */
async function expectNoCompanyToMatter(run: RunTexts, words: number): Promise<void> {
  const lengths = [...LENGTHS, ...LENGTHS.map((length) => Math.max(1, length - 1))];
  const texts = lengths.map((length, order) => text(length, order, words));
  for (const likes of Map.groupBy(texts, ({ length }) => ownBlock(length)).values()) {
    const alone: number[][] = [];
    for (const one of likes) alone.push(...(await run([one])));
    expect(alone.flat().every(Number.isFinite)).toBe(true);
    expect(await run(likes)).toEqual(alone);
    expect(await run(likes.slice(1))).toEqual(alone.slice(1));
    expect(await run(likes.toReversed())).toEqual(alone.toReversed());
  }
}

const OPTIONS = { pooling: 'mean', layout: 'flexible', precision: 'int8' } as const;

it.each(MADE)('%s in a width of its own', async (family, size) => {
  const store = await mkdtemp(join(tmpdir(), 'kubembed-store-'));
  try {
    const files = { tokenizer: madeTokenizer('WordPiece', size.vocabulary) };
    const folder = await writeMadeModel(store, madeModel(family, size), files);
    await expectNoCompanyToMatter(await openFolder(folder, OPTIONS), size.vocabulary);
  } finally {
    await rm(store, { recursive: true });
  }
});

const FIXTURES = join(import.meta.dirname, '../fixtures/architectures');

it.each(readdirSync(FIXTURES))('%s, the tiny one', async (name) => {
  const folder = join(FIXTURES, name);
  const { vocab_size: words } = readJson(join(folder, 'config.json')) as { readonly vocab_size: number };
  await expectNoCompanyToMatter(await openFolder(folder, OPTIONS), words);
});
