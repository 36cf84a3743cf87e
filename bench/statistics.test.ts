import { describe, expect, it } from 'vitest';
import { median, pairedRatio, rotated, tokensWithin } from './statistics.ts';

const sample = (peer: string, round: number, tokensPerSecond: number) => ({
  peer,
  cell: 'C:8',
  round,
  tokensPerSecond,
});

describe('tokens within a window', () => {
  it('counts what lies inside whole and what crosses an edge by its share', () => {
    const requests = [
      { startMs: 0, endMs: 10, tokens: 100 },
      { startMs: 20, endMs: 30, tokens: 100 },
      { startMs: 25, endMs: 45, tokens: 100 },
      { startMs: 50, endMs: 60, tokens: 100 },
    ];
    expect(tokensWithin(requests, 5, 40)).toBeCloseTo(50 + 100 + 75);
  });

  it('gives the true rate of a steady closed loop, wherever the window lies', () => {
    // Two clients in turn: a request of 100 tokens takes 20 ms, one ends every 10 ms.
    const requests = Array.from({ length: 40 }, (_, index) => ({
      startMs: index * 10,
      endMs: index * 10 + 20,
      tokens: 100,
    }));
    for (const from of [100, 103.3, 107]) expect(tokensWithin(requests, from, from + 125)).toBeCloseTo(1250);
  });

  it('survives a request that took no measurable time', () => {
    expect(tokensWithin([{ startMs: 5, endMs: 5, tokens: 3 }], 0, 10)).toBe(0);
  });
});

it('finds the median of odd, even and no numbers', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(median([])).toBeNaN();
});

it('compares peers only within the same round', () => {
  const samples = [sample('limit', 0, 100), sample('limit', 1, 200), sample('limit', 2, 50), sample('k', 0, 90)];
  const more = [...samples, sample('k', 1, 160), sample('k', 3, 1000)];
  expect(pairedRatio(more, { cell: 'C:8', of: 'k', to: 'limit' }, (one) => one.tokensPerSecond)).toBeCloseTo(0.85);
  expect(pairedRatio(more, { cell: 'A:1', of: 'k', to: 'limit' }, (one) => one.tokensPerSecond)).toBeNaN();
});

it('lets everyone go first', () => {
  const orders = [0, 1, 2, 3].map((round) => rotated(['a', 'b', 'c'], round).join(''));
  expect(orders).toEqual(['abc', 'bca', 'cab', 'abc']);
});
