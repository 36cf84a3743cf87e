import { expect, it } from 'vitest';
import { promptTokensOf } from './embeddings.ts';

const respond = (vectors: readonly unknown[], tokens: number, spaces = 0): Buffer =>
  Buffer.from(
    JSON.stringify(
      {
        object: 'list',
        data: vectors.map((embedding, index) => ({ object: 'embedding', index, embedding })),
        model: 'org/[odd] "model"',
        usage: { prompt_tokens: tokens, total_tokens: tokens },
      },
      undefined,
      spaces,
    ),
  );

it('reads the usage from the end of a response', () => {
  expect(promptTokensOf(respond([[0.5], 'AAAA'], 1234))).toBe(1234);
  expect(promptTokensOf(respond([[0.5]], 7, 2))).toBe(7);
  expect(promptTokensOf(Buffer.from('{"data":[1,2]}'))).toBeUndefined();
});
