import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { afterAll, expect, it, vi } from 'vitest';
import { OpenAIError } from '../openai/errors.ts';
import { createEmbeddingsParser, printInputs, RawText, requireModestShape } from './embeddings-parser.ts';
import type { OutlinedInput } from './embeddings-parser.ts';

const parser = createEmbeddingsParser();
afterAll(() => parser.close());

const body = (value: unknown) => Buffer.from(JSON.stringify(value));
const LARGE = 1_100_000;

it('parses small and large texts alike', async () => {
  for (const size of [10, LARGE]) {
    const input = ['é'.repeat(size), ''];
    expect(await parser.parse(body({ model: 'm', input, dimensions: 3 }))).toEqual({
      model: 'm',
      inputs: input,
      encoding: 'float',
      dimensions: 3,
    });
  }
});

it('brings token lists back from the thread as they were', async () => {
  const input = Array.from({ length: 1000 }, (_, at) =>
    Array.from({ length: (at % 700) + 1 }, (__, id) => (id * 7919) % 2 ** 31),
  );
  const { inputs } = await parser.parse(body({ model: 'm', input }));
  expect(inputs).toEqual(input.map((ids) => Int32Array.from(ids)));
});

it('keeps nothing of a large body once it is parsed', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const buffers = (): number => {
    collect();
    return process.memoryUsage().arrayBuffers;
  };
  const ids = Array.from({ length: 600_000 }, () => 7);
  await parser.parse(body({ model: 'm', input: ids.slice(0, 500_000) }));
  const before = buffers();
  for (let round = 0; round < 3; round++) await parser.parse(body({ model: 'm', input: ids }));
  await vi.waitFor(() => expect(buffers() - before).toBeLessThan(200_000));
});

it('refuses large faulty bodies as it refuses small ones', async () => {
  const fault = { kind: 'invalid_request', param: 'input', status: 400 };
  for (const size of [1, LARGE]) {
    const parse = async (given: Buffer) => await parser.parse(given);
    await expect(parse(body({ model: 'm', input: ['a'.repeat(size), 5] }))).rejects.toMatchObject(fault);
    await expect(parse(Buffer.from(`{"model":"${'a'.repeat(size)}`))).rejects.toBeInstanceOf(OpenAIError);
  }
});

it('refuses bodies of many values that are parsed at once', async () => {
  const bomb = Buffer.from(`{"model":"m","input":[${'[],'.repeat(200_000)}1]}`);
  await expect((async () => await parser.parse(bomb))()).rejects.toThrow('too many values');
});

it.each([
  ['nested arrays', ['[', ']'], 16_000_000],
  ['empty arrays', ['[],', ''], 10_000_000],
  ['objects', ['{"a":0},', ''], 3_000_000],
  ['ids', ['1,', ''], 15_000_000],
] as const)('refuses %s that need gigabytes, and goes on', async (_name, [open, close], times) => {
  const bomb = Buffer.from(`{"model":"m","input":[${open.repeat(times)}1${close.repeat(times)}]}`);
  await expect((async () => await parser.parse(bomb))()).rejects.toMatchObject({ kind: 'invalid_request' });
  const input = 'a'.repeat(LARGE);
  expect((await parser.parse(body({ model: 'm', input }))).inputs).toEqual([input]);
});

it('answers many large bodies at once, each with its own', async () => {
  const inputs = Array.from({ length: 10 }, (_, at) => String(at).repeat(LARGE));
  const parsed = await Promise.all(inputs.map(async (input) => await parser.parse(body({ model: 'm', input }))));
  expect(parsed.map(({ inputs: [first] }) => first)).toEqual(inputs);
});

it('never asks a thread that is about to end for having rested', { timeout: 60_000 }, async () => {
  const restless = createEmbeddingsParser(1);
  const input = ['a'.repeat(LARGE)];
  for (let round = 0; round < 30; round += 1) {
    expect((await restless.parse(body({ model: 'm', input }))).inputs).toEqual(input);
    // Mostly the thread is being ended by now, and its end has not been heard of.
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await restless.close();
});

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

const decoded = (inputs: readonly OutlinedInput[]): unknown =>
  inputs.map((input) => (input instanceof RawText ? (JSON.parse(input.json().toString()) as unknown) : input));

it('outlines a large body: the same request, its long texts where they were, and printed as they came', async () => {
  const text = fc.string({ unit: fc.constantFrom('"', '\\', '\n', 'a', 'é', '😀', ']', '}', ','), maxLength: 4000 });
  await fc.assert(
    fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 8 }), fc.boolean(), async (texts, escaped) => {
      const input = [...texts, 'x'.repeat(300_000)];
      const plain = JSON.stringify({
        user: 'u'.repeat(2000),
        model: 'm',
        input,
        encoding_format: 'base64',
        dimensions: 3,
      });
      const given = Buffer.from(escaped ? plain.replaceAll('é', '\\u00e9') : plain);
      const { inputs, ...rest } = await parser.outline(given);
      expect({ ...rest, inputs: decoded(inputs) }).toEqual(await parser.parse(given));
      expect(inputs.filter((one) => one instanceof RawText).length).toBeGreaterThan(0);
      expect(JSON.parse(`[${await printedOf(inputs)}]`)).toEqual(input);
    }),
    { numRuns: 50 },
  );
});

const printedOf = async (inputs: readonly OutlinedInput[]): Promise<string> => {
  const pieces: Buffer[] = [];
  await printInputs(inputs, (piece) => pieces.push(Buffer.from(piece)));
  return Buffer.concat(pieces).toString();
};

it('outlines small bodies as they are, and large ones of ids packed', async () => {
  const ids = Array.from({ length: 200_000 }, (_, at) => at);
  const { inputs } = await parser.outline(body({ model: 'm', input: [ids, [7]] }));
  expect(inputs).toEqual([Int32Array.from(ids), Int32Array.of(7)]);
  expect(await printedOf(inputs)).toBe(`${JSON.stringify(ids)},[7]`);
  expect((await parser.outline(body({ model: 'm', input: ['a', 'b'] }))).inputs).toEqual(['a', 'b']);
});

it('outlines no large body that is none', async () => {
  const long = 'a'.repeat(300_000);
  const refused: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.from(`{"model":"m","input":"${long}`), /could not parse/],
    [Buffer.from(`{"model":"m","input":"${long}"`), /could not parse/],
    [Buffer.from(`{"model":"m","input":["${long}",]}`), /could not parse/],
    [Buffer.from(`{"model":"m","input":["${long}",5]}`), /Invalid type for 'input\[1\]'/],
    [Buffer.concat([Buffer.from(`{"model":"m","input":"${long}`), Buffer.from([0xff]), Buffer.from('"}')]), /UTF-8/],
  ];
  for (const [given, why] of refused) await expect(parser.outline(given)).rejects.toThrow(why);
  expect((await parser.outline(body({ model: long, input: 'a' }))).model).toBe(long);
});

it('refuses a large body in the words that a parse of the whole gives', async () => {
  const long = 'x'.repeat(LARGE);
  const faulty = [
    body({ model: 'm', input: long, encoding_format: 'y'.repeat(2000) }),
    Buffer.concat([body({ model: 'm', input: long }).subarray(0, -1), Buffer.from(',,}')]),
    body({ input: long }),
    body({ model: 'm', input: [long, 1] }),
  ];
  for (const given of faulty) {
    const messageOf = async (parsed: Promise<unknown>) => await parsed.catch((error: unknown) => String(error));
    expect(await messageOf(parser.outline(given))).toBe(await messageOf(parser.parse(given)));
  }
});
