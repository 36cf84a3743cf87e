import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mergeResponses, promptTokensOf } from './merge.ts';

type Vector = readonly number[] | string;

const respond = (vectors: readonly Vector[], tokens: number, spaces = 0): Buffer =>
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

const base64 = fc.uint8Array({ minLength: 0, maxLength: 24 }).map((bytes) => Buffer.from(bytes).toString('base64'));
const floats = fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { maxLength: 6 });
const shards = fc.array(fc.array(fc.oneof(base64, floats), { minLength: 1, maxLength: 12 }), {
  minLength: 1,
  maxLength: 5,
});

const merge = (lists: readonly (readonly Vector[])[], spaces: (at: number) => number): Buffer => {
  let offset = 0;
  const parts = lists.map((vectors, at) => {
    const part = { body: respond(vectors, vectors.length, spaces(at)), offset };
    offset += vectors.length;
    return part;
  });
  return Buffer.concat(mergeResponses(parts));
};

describe('mergeResponses', () => {
  it('gives byte for byte what one endpoint would have answered', () => {
    fc.assert(
      fc.property(shards, (lists) => {
        const flat = lists.flat();
        expect(merge(lists, () => 0).equals(respond(flat, flat.length))).toBe(true);
      }),
    );
  });

  it('falls back to parsing for a shard laid out otherwise', () => {
    fc.assert(
      fc.property(shards, (lists) => {
        const flat = lists.flat();
        const merged: unknown = JSON.parse(merge(lists, (at) => at % 2).toString());
        expect(merged).toEqual(JSON.parse(respond(flat, flat.length).toString()));
      }),
    );
  });

  it('refuses a body that is no embedding response', () => {
    expect(() => mergeResponses([{ body: Buffer.from('{"ok":true}'), offset: 0 }])).toThrow();
    expect(() => mergeResponses([{ body: Buffer.from('cut off {"obj'), offset: 0 }])).toThrow();
  });
});

describe('promptTokensOf', () => {
  it('reads the usage from the end of a response', () => {
    expect(promptTokensOf(respond([[0.5], 'AAAA'], 1234))).toBe(1234);
    expect(promptTokensOf(respond([[0.5]], 7, 2))).toBe(7);
    expect(promptTokensOf(Buffer.from('{"data":[1,2]}'))).toBeUndefined();
  });
});
