// Decoders in half precision, in int8 and laid out for a GPU against themselves; what the twins hold to the original in float32.

import { beforeAll, describe, expect, it } from 'vitest';
import { scratchFolder } from '../../tests/helpers/scratch.ts';
import { largestDifference, loadFolder, openFolder } from '../../tests/helpers/graph-session.ts';
import { readTwin, writeTwin } from '../../tests/helpers/twins.ts';
import { buildGraph } from './build.ts';

const DECODERS = [
  'gemma2-last',
  'gpt-neox-mean',
  'gpt2-weightedmean',
  'llama-bidirectional',
  'llama-mean',
  'mistral-sliding',
  'qwen2-sliding',
  'qwen3-yarn',
];
const LONG = Array.from({ length: 40 }, (_, at) => 3 + ((at * 37) % 300));
const TEXTS = [LONG, [7], LONG.slice(5, 17)];

describe.each(DECODERS)('%s', (name) => {
  const folder = scratchFolder();
  let expected: number[][];
  const open = (layout: 'packed' | 'flexible', precision: 'float32' | 'float16' | 'int8') =>
    openFolder(folder, { pooling: 'mean', layout, precision });

  beforeAll(async () => {
    await writeTwin(readTwin(name), folder);
    expected = await (await open('flexible', 'float32'))(TEXTS);
  });

  it('does not depend on the layout or on what is beside', async () => {
    const packed = await open('packed', 'float32');
    expect(largestDifference(await packed(TEXTS), expected)).toBeLessThan(2e-6);
    expect(largestDifference(await packed([LONG]), expected.slice(0, 1))).toBeLessThan(2e-6);
  });

  it.each(['packed', 'flexible'] as const)('computes in float16 too, %s', async (layout) => {
    const half = await open(layout, 'float16');
    expect(largestDifference(await half(TEXTS), expected)).toBeLessThan(2e-2);
  });

  it('computes in int8 too', async () => {
    const [vector = []] = await (await open('flexible', 'int8'))([LONG]);
    expect(vector.reduce((sum, value, index) => sum + value * (expected[0]?.[index] ?? NaN), 0)).toBeGreaterThan(0.98);
  });
});

it.each(DECODERS.filter((name) => name !== 'llama-bidirectional'))(
  '%s goes by the operator for decoders on a GPU, in half precision: no scores, masks or biases of all pairs',
  async (name) => {
    const folder = scratchFolder();
    await writeTwin(readTwin(name), folder);
    const { description, tensors } = await loadFolder(folder);
    const { bytes } = buildGraph(description, tensors, { pooling: 'mean', layout: 'packed', precision: 'float16' });
    const has = (operator: string): boolean => Buffer.from(bytes).includes(operator);
    expect(has('GroupQueryAttention')).toBe(true);
    for (const other of ['MultiHeadAttention', 'Softmax', 'Where', 'If', 'Loop'])
      expect(has(`${other}_`), other).toBe(false);
  },
);

it('Gemma 3 refuses float16, which its hidden states overflow', async () => {
  const folder = scratchFolder();
  await writeTwin(readTwin('gemma3-last'), folder);
  const opening = openFolder(folder, { pooling: 'mean', layout: 'packed', precision: 'float16' });
  await expect(opening).rejects.toThrow(/float16.*float32/);
});
