import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { distance, errorText, isRecord, nearest, printBytes, rfc3339, rfc3339Micro, suggestion } from './text.ts';

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

describe('values', () => {
  it('knows JSON objects', () => {
    expect([{}, [], null, 'a', undefined].map(isRecord)).toEqual([true, false, false, false, false]);
  });

  it.each([
    [0, '0 bytes'],
    [999, '999 bytes'],
    [1500, '1.5 kB'],
    [250e6, '250 MB'],
    [1.5e9, '1.5 GB'],
    [90_868_376, '90.9 MB'],
    [1_340_000_000, '1.3 GB'],
    [5e12, '5000 GB'],
  ])('prints %d bytes as %s', (bytes, text) => expect(printBytes(bytes)).toBe(text));

  it('prints times as Kubernetes does', () => {
    expect([rfc3339(1_700_000_000_123), rfc3339Micro(1_700_000_000_123)]).toEqual([
      '2023-11-14T22:13:20Z',
      '2023-11-14T22:13:20.123000Z',
    ]);
  });

  it('tells what was thrown', () => {
    expect([errorText(new Error('why')), errorText('why'), errorText(undefined)]).toEqual(['why', 'why', 'undefined']);
  });
});
