import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { distance, nearest, suggestion } from './text.ts';

describe('what was meant', () => {
  it.each([
    ['stats', 'status'],
    ['modle', 'models'],
    ['embde', 'embed'],
    ['comp', 'completion'],
  ])('finds for %s: %s', (word, meant) => {
    expect(nearest(word, ['start', 'status', 'embed', 'bench', 'models', 'completion'])).toBe(meant);
  });

  it.each([
    ['all-MiniLM-L6-v2', 'sentence-transformers/all-MiniLM-L6-v2'],
    ['Sentence-Transformers/all-minilm-l6-v2', 'sentence-transformers/all-MiniLM-L6-v2'],
    ['e5-smal-v2', 'intfloat/e5-small-v2'],
  ])('finds for %s: %s', (word, meant) => {
    expect(nearest(word, ['intfloat/e5-small-v2', 'sentence-transformers/all-MiniLM-L6-v2'])).toBe(meant);
  });

  it('is silent when nothing is near', () => {
    expect(suggestion('frobnicate', ['start', 'status'])).toBe('');
    expect(nearest('', ['start'])).toBeUndefined();
  });

  it('is a metric in what matters: zero for the same word alone, the same both ways, one for one edit', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        expect(distance(a, b)).toBe(distance(b, a));
        expect(distance(a, b) === 0).toBe(a === b);
        expect(distance(a, `${a}x`)).toBe(1);
      }),
    );
  });
});
