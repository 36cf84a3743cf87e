import { expect, it } from 'vitest';
import { vectorPattern } from './vector-pattern.ts';

const numbers = Array.from({ length: 384 }, (_, index) => (index % 2 === 0 ? '-0.05' : '1.5e-7'));

it('finds a vector of so many numbers', () => {
  const answer = `{"data":[{"embedding":[${numbers.join(',')}],"index":0}]}`;
  expect(answer).toMatch(vectorPattern(384));
  expect(answer).not.toMatch(vectorPattern(385));
});

it('gives up at once on an answer with something in its middle', () => {
  // A pattern with two ways to read a number would try 2^190 of them here: this test would not fail, it would never end.
  const torn = `{"data":[{"embedding":[${numbers.join(',')}  % Total % Received`;
  expect(torn).not.toMatch(vectorPattern(384));
});
