import fc from 'fast-check';
import { expect, it } from 'vitest';
import { requireModestShape } from './json-shape.ts';

interface Counts {
  parts: number;
  commas: number;
}

function count(value: unknown): Counts {
  if (typeof value !== 'object' || value === null) return { parts: 0, commas: 0 };
  const children = Object.values(value).map(count);
  const own = 1 + (Array.isArray(value) ? 0 : children.length);
  return {
    parts: children.reduce((sum, { parts }) => sum + parts, own),
    commas: children.reduce((sum, { commas }) => sum + commas, Math.max(0, children.length - 1)),
  };
}

it('counts what is outside of strings, exactly', () => {
  fc.assert(
    fc.property(
      fc.jsonValue({ maxDepth: 4, stringUnit: fc.constantFrom('"', '\\', '[', '{', ':', ',', 'a', 'é') }),
      (value) => {
        const { parts, commas } = count(value);
        const body = Buffer.from(JSON.stringify(value));
        expect(() => requireModestShape(body, { maxParts: parts, maxValues: commas })).not.toThrow();
        if (parts > 0) expect(() => requireModestShape(body, { maxParts: parts - 1, maxValues: commas })).toThrow();
        if (commas > 0) expect(() => requireModestShape(body, { maxParts: parts, maxValues: commas - 1 })).toThrow();
      },
    ),
    { numRuns: 500 },
  );
});

it('takes bytes that are not JSON', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(() => requireModestShape(Buffer.from(bytes), { maxParts: 1000, maxValues: 1000 })).not.toThrow();
    }),
  );
});
