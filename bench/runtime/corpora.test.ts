import { describe, expect, it } from 'vitest';
import { sentencesOf, wordsOf } from '../../cli/corpora.ts';
import { mixedLength, seededRandom, shuffled, windowOf } from './corpora.ts';

const words = wordsOf('one two three four five six seven eight nine ten '.repeat(40));
const book = { words, tokens: words.map((word) => word.length - 2) };
const tokensIn = ([start, end]: readonly [number, number]): number =>
  words.slice(start, end).reduce((sum, word) => sum + word.length - 2, 0);

describe('windows of text', () => {
  it('are the same for the same seed and others for another', () => {
    const draw = (seed: number) => {
      const random = seededRandom(seed);
      return Array.from({ length: 20 }, () => windowOf(book, 30, random));
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });

  it('hold as many tokens as were asked for, or less by under one word', () => {
    const random = seededRandom(3);
    for (let wanted = 5; wanted < 100; wanted++) {
      const tokens = tokensIn(windowOf(book, wanted, random));
      expect(tokens).toBeLessThanOrEqual(wanted);
      expect(tokens).toBeGreaterThan(wanted - 3);
    }
  });

  it('hold one word even when that word alone is too long', () => {
    expect(windowOf({ words: ['a', 'b', 'c', 'd'], tokens: [9, 9, 9, 9] }, 3, () => 0)).toEqual([0, 1]);
  });
});

describe('mixed lengths', () => {
  it('stay within 5 and 256 with a median near 45 and a mean near 60', () => {
    const random = seededRandom(4);
    const lengths = Array.from({ length: 20_000 }, () => mixedLength(random)).toSorted((a, b) => a - b);
    expect(lengths[0]).toBeGreaterThanOrEqual(5);
    expect(lengths.at(-1)).toBeLessThanOrEqual(256);
    expect(lengths[10_000]).toBeGreaterThan(42);
    expect(lengths[10_000]).toBeLessThan(48);
    const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
    expect(mean).toBeGreaterThan(57);
    expect(mean).toBeLessThan(66);
  });
});

it('splits prose into sentences', () => {
  expect(sentencesOf('Call me Ishmael. Some years ago—never mind! "Who?" Asked he.\nNext 3.5 miles.')).toEqual([
    'Call me Ishmael.',
    'Some years ago—never mind!',
    '"Who?"',
    'Asked he.',
    'Next 3.5 miles.',
  ]);
});

it('shuffles without losing anything', () => {
  const items = Array.from({ length: 100 }, (_, index) => index);
  const order = shuffled(items, seededRandom(5));
  expect(order).not.toEqual(items);
  expect(order.toSorted((a, b) => a - b)).toEqual(items);
});
