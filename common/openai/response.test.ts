import fc from 'fast-check';
import { expect, it } from 'vitest';
import { byteLength, embeddingBody, joinPieces, euclideanNorm, vectorFromBytes, vectorToBytes } from './response.ts';

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

it('frames any vectors as one JSON document, whatever the chunk size', () => {
  const vector = fc.oneof(fc.array(fc.double({ noNaN: true, noDefaultInfinity: true })), fc.base64String());
  fc.assert(
    fc.property(
      fc.array(vector, { minLength: 1 }),
      fc.string(),
      fc.nat(),
      fc.integer({ min: 1, max: 200 }),
      (vectors, model, promptTokens, size) => {
        const pieces = embeddingBody({ model, vectors: vectors.map(json), promptTokens });
        const chunks = [...joinPieces(pieces, size)];
        expect(byteLength(chunks)).toBe(byteLength(pieces));
        expect(JSON.parse(Buffer.concat(chunks).toString())).toEqual({
          object: 'list',
          data: vectors.map((embedding, index) => ({
            object: 'embedding',
            index,
            embedding: JSON.parse(JSON.stringify(embedding)),
          })),
          model,
          usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
        });
      },
    ),
  );
});

it('joins small pieces to few chunks', () => {
  const pieces = Array.from({ length: 100 }, () => new Uint8Array(1000));
  expect([...joinPieces(pieces, 50_000)].map(({ byteLength: bytes }) => bytes)).toEqual([50_000, 50_000]);
});

it('carries float32 vectors over bytes of any alignment, bit for bit', () => {
  fc.assert(
    fc.property(fc.float32Array(), fc.integer({ min: 0, max: 7 }), (vector, offset) => {
      const bytes = vectorToBytes(vector);
      const shifted = new Uint8Array(bytes.byteLength + offset + 3);
      shifted.set(bytes, offset);
      expect(vectorFromBytes(shifted.subarray(offset, offset + bytes.byteLength))).toEqual(vector);
    }),
  );
});

it('measures length', () => {
  expect(euclideanNorm([3, 4])).toBe(5);
});
