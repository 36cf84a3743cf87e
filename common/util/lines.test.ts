// The line reader under every way of cutting a stream.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { jsonLines } from './lines.ts';
import type { LineOptions } from './lines.ts';

async function* cut(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let start = 0;
  for (const size of sizes) {
    yield bytes.subarray(start, start + size);
    start += size;
  }
  yield bytes.subarray(start);
}

async function collect(chunks: AsyncIterable<Uint8Array>, options?: LineOptions): Promise<unknown[]> {
  const values: unknown[] = [];
  for await (const value of jsonLines(chunks, options)) values.push(value);
  return values;
}

const pieces = fc.array(fc.integer({ min: 1, max: 7 }));

it('yields the same values however the bytes are cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.jsonValue({ maxDepth: 2 })),
      pieces,
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
  const seen = collect(cut(Buffer.from('{}\n{"a"'), []));
  await expect(seen).rejects.toMatchObject({ code: 'cut', message: 'The stream ended within a line' });
});

it('takes lines up to their bound and refuses longer ones, however they are cut, before they have ended', async () => {
  await fc.assert(
    fc.asyncProperty(pieces, fc.boolean(), async (sizes, ended) => {
      const options = { maxBytes: 10 };
      expect(await collect(cut(Buffer.from('"12345678"\n"12345678"\n'), sizes), options)).toHaveLength(2);
      const long = cut(Buffer.from(`1\n"123456789"${ended ? '\n' : ''}`), sizes);
      await expect(collect(long, options)).rejects.toMatchObject({ code: 'too-long' });
    }),
  );
});
