// The line parser under every way of cutting a stream.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { jsonLines } from './lines.ts';

async function* cut(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let start = 0;
  for (const size of sizes) {
    yield bytes.subarray(start, start + size);
    start += size;
  }
  yield bytes.subarray(start);
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<unknown[]> {
  const values: unknown[] = [];
  for await (const value of jsonLines(chunks)) values.push(value);
  return values;
}

it('yields the same values however the bytes are cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.jsonValue({ maxDepth: 2 })),
      fc.array(fc.integer({ min: 1, max: 7 })),
      fc.boolean(),
      async (values, sizes, blankLines) => {
        const text = values.map((value) => `${JSON.stringify(value)}\n${blankLines ? '\n' : ''}`).join('');
        const seen = await collect(cut(Buffer.from(text), sizes));
        expect(seen).toEqual(values.map((value) => JSON.parse(JSON.stringify(value)) as unknown));
      },
    ),
  );
});

it('refuses a stream that ends within a line', async () => {
  await expect(collect(cut(Buffer.from('{}\n{"a"'), []))).rejects.toThrow('ended within a line');
});
