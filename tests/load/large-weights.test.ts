// Large weights: files of more than 2 GiB are read where they lie, and the workers' sessions hold one copy of what they compute with.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { imageTuning } from '../../tools/build/image-tuning.ts';
import { madeModel, madeTokenizer, writeMadeModel } from '../helpers/made-model.ts';
import type { MadeModel } from '../helpers/made-model.ts';
import { residentBytes } from '../helpers/memory.ts';
import { startRuntime } from '../helpers/runtime-process.ts';

const TOKENS = 2000;
const tokenizer = madeTokenizer('WordPiece', TOKENS);
const bytesOf = ({ shapes }: MadeModel): number =>
  Object.values(shapes).reduce((sum, shape) => sum + shape.reduce((product, dim) => product * dim, 4), 0);

interface Seen {
  /** The most that there was. */
  readonly peak: number;
  /** Now: what is nobody else's and in no file. */
  readonly anonymous: number;
  /** Now, each page once. */
  readonly distinct: number;
  readonly vector: readonly number[];
}

async function serve(model: MadeModel, { shards = 1, threads }: { shards?: number; threads: number }): Promise<Seen> {
  const store = await mkdtemp(join(tmpdir(), 'kubembed-store-'));
  try {
    await writeMadeModel(store, model, { tokenizer, shards });
    const env = {
      ...imageTuning('Dockerfile.runtime'),
      KUBEMBED_MODEL: model.id,
      KUBEMBED_THREADS: String(threads),
      TMPDIR: store,
    };
    await using runtime = startRuntime(store, { env });
    const url = await runtime.ready();
    const pid = runtime.child.pid!;
    const ask = async (): Promise<number[]> => {
      const body = JSON.stringify({ model: model.id, input: 'a b c d e f g' });
      const headers = { 'content-type': 'application/json' };
      const response = await fetch(`${url}/v1/embeddings`, { method: 'POST', headers, body });
      const text = await response.text();
      expect(response.status, text).toBe(200);
      return (JSON.parse(text) as { data: { embedding: number[] }[] }).data[0]!.embedding;
    };
    const vectors = await Promise.all(Array.from({ length: 2 * threads }, ask));
    for (const vector of vectors) expect(vector).toEqual(vectors[0]);
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
    const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(rollup)?.[1]) * 1024;
    return {
      peak: await residentBytes(pid, 'VmHWM'),
      anonymous: field('Anonymous'),
      distinct: field('Pss'),
      vector: vectors[0]!,
    };
  } finally {
    await rm(store, { recursive: true });
  }
}

it('a file of more than 2 GiB is not copied, whole or in shards', async () => {
  // The table comes first, so that every layer lies behind 2 GiB.
  const size = { layers: 2, hidden: 1024, intermediate: 2048, heads: 16, keyValueHeads: 8, headSize: 64 };
  const model = madeModel('qwen3', { ...size, vocabulary: 540_000, maxTokens: 512 });
  expect(bytesOf(model)).toBeGreaterThan(2 ** 31);
  const whole = await serve(model, { threads: 1 });
  expect(whole.peak).toBeLessThan(bytesOf(model) / 4);
  const sharded = await serve(model, { threads: 1, shards: 3 });
  expect(sharded.peak).toBeLessThan(bytesOf(model) / 4);
  expect(sharded.vector).toHaveLength(1024);
});

it('two workers of a large model hold one copy of its weights', async () => {
  const size = { layers: 12, hidden: 1024, intermediate: 4096, heads: 16, vocabulary: TOKENS, maxTokens: 256 };
  const model = madeModel('bert', size);
  const bytes = bytesOf(model);
  const { anonymous, distinct } = await serve(model, { threads: 2 });
  expect(anonymous).toBeLessThan(bytes / 2);
  expect(distinct).toBeLessThan(bytes * 1.5);
});
