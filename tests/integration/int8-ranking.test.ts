// int8 must order pairs of texts as float32 does: rank correlation on passages of English prose that overlap by known shares.
import { dirname } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { seededRandom } from '../../bench/runtime/corpora.ts';
import { readEnglish, wordsOf } from '../../cli/corpora.ts';
import { loadTokenizer } from '../../runtime/engine/tokenizer.ts';
import { buildGraph } from '../../runtime/graph/build.ts';
import type { GraphPrecision } from '../../runtime/graph/weights.ts';
import { readTensorIndex } from '../../runtime/model/tensors.ts';
import { describeSnapshot } from '../../runtime/model/snapshot.ts';
import { openGraph } from '../helpers/graph-session.ts';
import { minilm } from '../helpers/minilm.ts';
import { spearman } from '../helpers/rank-correlation.ts';

const PAIRS = 150;
const PASSAGE_WORDS = 20;
/** 0.5 points of 100. */
const TOLERANCE = 0.005;

interface Pair {
  readonly texts: readonly [string, string];
  /** Share of the words that both have; the label that similarities are ranked against. */
  readonly overlap: number;
}

/** Two windows over the same prose, the second a little further on; every sixth pair from two places far apart. */
function overlappingPassages(words: readonly string[]): Pair[] {
  const random = seededRandom(5);
  const passage = (start: number): string => words.slice(start, start + PASSAGE_WORDS).join(' ');
  const anywhere = (): number => Math.floor(random() * (words.length - 3 * PASSAGE_WORDS));
  return Array.from({ length: PAIRS }, (_, index) => {
    const first = anywhere();
    const shift = 1 + Math.floor(random() * PASSAGE_WORDS);
    return index % 6 === 0
      ? { texts: [passage(first), passage(anywhere())], overlap: 0 }
      : { texts: [passage(first), passage(first + shift)], overlap: 1 - shift / PASSAGE_WORDS };
  });
}

async function embedder(precision: GraphPrecision): Promise<(texts: readonly number[][]) => Promise<number[][]>> {
  const files = await minilm();
  const { weights } = files;
  const folder = dirname(weights.get('model.safetensors')!);
  const options = { pooling: 'mean', layout: 'flexible', precision } as const;
  const graph = buildGraph(await describeSnapshot(files), await readTensorIndex(weights, folder), options);
  const run = await openGraph(graph, folder);
  return async (texts) => {
    const vectors = new Array<number[]>(texts.length);
    for (const group of Map.groupBy(texts.keys(), (text) => texts[text]!.length).values()) {
      const found = await run(group.map((text) => texts[text]!));
      for (const [index, text] of group.entries()) vectors[text] = found[index]!;
    }
    return vectors;
  };
}

let pairs: Pair[];
const similarities: Partial<Record<GraphPrecision, number[]>> = {};
beforeAll(async () => {
  const { snapshotDir } = await minilm();
  const tokenizer = await loadTokenizer({ folder: snapshotDir, maxTokens: 256 });
  pairs = overlappingPassages(wordsOf(await readEnglish()));
  const texts = pairs.flatMap((pair) => pair.texts);
  const ids = await Promise.all(texts.map(async (text) => [...(await tokenizer.encode(text)).ids]));
  for (const precision of ['float32', 'int8'] as const) {
    const vectors = await (await embedder(precision))(ids);
    similarities[precision] = pairs.map((_, pair) =>
      vectors[2 * pair]!.reduce((sum, value, index) => sum + value * vectors[2 * pair + 1]![index]!, 0),
    );
  }
}, 300_000);

it('ranks pairs against their labels within 0.5 points of float32', () => {
  const labels = pairs.map(({ overlap }) => overlap);
  const float32 = spearman(similarities.float32!, labels);
  const int8 = spearman(similarities.int8!, labels);
  // Else the labels would say nothing of either.
  expect(float32).toBeGreaterThan(0.8);
  expect(Math.abs(float32 - int8)).toBeLessThan(TOLERANCE);
});

it('orders the pairs as float32 does', () => {
  expect(spearman(similarities.float32!, similarities.int8!)).toBeGreaterThan(1 - TOLERANCE);
});
