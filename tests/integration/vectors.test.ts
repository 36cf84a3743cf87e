// The real all-MiniLM-L6-v2 through the real runtime: every vector held to sentence-transformers, alone and in company.
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MINILM, minilm, testStore } from '../helpers/minilm.ts';
import { distance, minilmReferences } from '../helpers/references.ts';
import type { Reference } from '../helpers/references.ts';
import { startRuntime } from '../helpers/runtime-process.ts';
import type { RuntimeProcess } from '../helpers/runtime-process.ts';

let runtime: RuntimeProcess;
let url: string;
let references: Reference[];

beforeAll(async () => {
  const { revision } = await minilm();
  references = await minilmReferences();
  runtime = startRuntime(testStore, {
    env: { KUBEMBED_MODEL: MINILM, KUBEMBED_RESOLVED_REVISION: revision, KUBEMBED_THREADS: '2' },
  });
  url = await runtime.ready();
});
afterAll(async () => {
  await runtime[Symbol.asyncDispose]();
});

interface Answer {
  readonly vectors: readonly Float32Array[];
  readonly tokens: number;
}

async function embed(input: unknown, extra: object = {}): Promise<Answer> {
  const response = await fetch(`${url}/v1/embeddings`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: MINILM, input, encoding_format: 'base64', ...extra }),
  });
  const text = await response.text();
  expect(response.status, text.slice(0, 300)).toBe(200);
  const { data, usage } = JSON.parse(text) as { data: { embedding: string }[]; usage: { prompt_tokens: number } };
  const vectors = data.map(
    ({ embedding }) => new Float32Array(Uint8Array.from(Buffer.from(embedding, 'base64')).buffer),
  );
  return { vectors, tokens: usage.prompt_tokens };
}

const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.max(...Array.from(a, (value, index) => Math.abs(value - b[index]!)));

describe('all-MiniLM-L6-v2', () => {
  it('gives the vectors of sentence-transformers for every text, in one batch', async () => {
    expect(references.length).toBeGreaterThanOrEqual(200);
    const { vectors } = await embed(references.map(({ text }) => text));
    const worst = references.map(({ vector }, index) => ({
      index,
      difference: largestDifference(vectors[index]!, vector),
      distance: distance(vectors[index]!, vector),
    }));
    expect(worst.filter((one) => one.difference >= 1e-4 || one.distance >= 1e-5)).toEqual([]);
  });

  it('gives each text the same vector alone as among others', async () => {
    const together = await embed(references.map(({ text }) => text));
    for (const [index, { text }] of references.entries()) {
      const alone = await embed(text);
      expect(largestDifference(alone.vectors[0]!, together.vectors[index]!), `text ${index}`).toBeLessThan(1e-5);
    }
  });

  it('counts the tokens of the Rust tokenizer, and takes its ids as input', async () => {
    const file = new URL('../fixtures/minilm/token-ids.json', import.meta.url);
    const ids = JSON.parse(await readFile(file, 'utf8')) as number[][];
    const fromIds = await embed(ids);
    const { vectors, tokens } = await embed(references.map(({ text }) => text));
    expect(tokens).toBe(ids.reduce((sum, list) => sum + list.length, 0));
    expect(fromIds.tokens).toBe(tokens);
    for (const [index, vector] of fromIds.vectors.entries())
      expect(largestDifference(vector, vectors[index]!), `text ${index}`).toBeLessThan(1e-5);
  });

  it('computes no padding for inputs of equal length', async () => {
    const padded = async (): Promise<number> => {
      const text = await (await fetch(`${url}/metrics`)).text();
      return Number(/^kubembed_runtime_padded_tokens_total\S* (\S+)$/m.exec(text)?.[1]);
    };
    const before = await padded();
    expect(before).toBeGreaterThanOrEqual(0);
    await embed(Array.from({ length: 64 }, (_, n) => [101, 2000 + n, 3000 + n, 102]));
    expect(await padded()).toBe(before);
  });
});
