// Plain texts get the ids of the Rust tokenizer; all others are left to it.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { Tokenizer } from 'tokenizers';
import { describe, expect, it } from 'vitest';
import { createPlainEncode } from './word-pieces.ts';
import type { TokenizerFile } from './word-pieces.ts';

const path = fileURLToPath(new URL('../../tests/fixtures/minilm/tokenizer.json', import.meta.url));
const file = JSON.parse(readFileSync(path, 'utf8')) as TokenizerFile;
const frame = { prefix: [101], suffix: [102] };
const native = Tokenizer.fromFile(path);
native.disablePadding();
native.disableTruncation();
const idOf = (piece: string): number | null => native.tokenToId(piece);
const encode = createPlainEncode(file, frame, idOf)!;

const LETTERS = 'abcdefXYZ 0129\t\n.,-[]#\'"\\'.split('');
const character = fc.oneof(
  { arbitrary: fc.constantFrom(...LETTERS), weight: 40 },
  { arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }), weight: 1 },
);
const prose = fc
  .array(fc.constantFrom('The', "fox's", 'Unbelievably', 'x9-y', '3.14', '[SEP]', '[sep', 'é', '##ing', 'constructor'))
  .map((words) => words.join(' '));
const long = fc.string({ unit: fc.constantFrom('a', 'Q', '7'), minLength: 20, maxLength: 40 });

describe('plain texts', () => {
  it('get the ids of the Rust tokenizer, whatever they hold', async () => {
    let plain = 0;
    const texts = fc.oneof(fc.string({ unit: character, maxLength: 60 }), prose, long);
    await fc.assert(
      fc.asyncProperty(texts, async (text) => {
        const ids = encode(text);
        if (ids === undefined) return;
        plain++;
        expect([...ids]).toEqual((await native.encode(text)).getIds());
      }),
      { numRuns: 3000 },
    );
    expect(plain).toBeGreaterThan(1000);
  });

  it.each([
    ['words in pieces', 'Hello, tokenization!', [7592, 1010, 19204, 3989, 999]],
    ['nothing', '', []],
    ['space', ' \t\r\n', []],
    ['names of what objects have', 'constructor', [9570, 2953]],
  ])('are %s', async (_, text, ids) => {
    expect([...(encode(text) ?? [])]).toEqual([101, ...ids, 102]);
    expect((await native.encode(text)).getIds()).toEqual([101, ...ids, 102]);
  });

  it('keep their case where the model does', () => {
    const vocabulary = new Map(Object.entries({ '[UNK]': 0, Hello: 1, hello: 2 }));
    const normalizer = { type: 'BertNormalizer', lowercase: false };
    const model = { type: 'WordPiece', max_input_chars_per_word: 5 };
    const cased = createPlainEncode({ ...file, normalizer, model }, frame, (piece) => vocabulary.get(piece) ?? null);
    expect(cased?.('Hello hello HELLO hellohello')).toEqual(Int32Array.of(101, 1, 2, 0, 0, 102));
  });
});

it('keeps a bounded number of short words', () => {
  const asked = new Map<string, number>();
  const counted = createPlainEncode(file, frame, (piece) => {
    asked.set(piece, (asked.get(piece) ?? 0) + 1);
    return 7;
  })!;
  counted('first');
  counted('first');
  expect(asked.get('first')).toBe(1);
  for (let word = 0; word < 5000; word++) counted(`w${word}`);
  counted('first');
  expect(asked.get('first')).toBe(2);
});

describe('left to the tokenizer', () => {
  it.each([
    ['special tokens, in whatever case', 'hello [sep] hello'],
    ['characters that are normalised', 'hello héllo'],
    ['control characters', 'hel\u0007lo'],
    ['long texts', 'hello '.repeat(500)],
    ['long words', 'a'.repeat(33)],
    ['words that take long, many of them', Array.from({ length: 60 }, (_, at) => `qzxj${at}vkwqzxjvkwqzx`).join(' ')],
  ])('are %s', (_, text) => {
    expect(encode(text)).toBeUndefined();
  });

  it.each<[string, TokenizerFile]>([
    ['normalizer', { ...file, normalizer: null }],
    ['words', { ...file, pre_tokenizer: { type: 'Whitespace' } }],
    ['model', { ...file, model: { type: 'BPE' } }],
    ['sign for the unknown', { ...file, model: { type: 'WordPiece', unk_token: '<none>' } }],
  ])('is everything, with another %s', (_, other) => {
    expect(createPlainEncode(other, frame, idOf)).toBeUndefined();
  });
});
