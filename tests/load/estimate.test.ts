// What `models check` says a model takes, against the most that its runtime process took: start, short texts and the longest ones.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { imageTuning } from '../../tools/build/image-tuning.ts';
import { runCli } from '../helpers/cli.ts';
import { madeModel, madeTokenizer, writeMadeModel } from '../helpers/made-model.ts';
import type { MadeModel } from '../helpers/made-model.ts';
import { residentBytes } from '../helpers/memory.ts';
import { startRuntime } from '../helpers/runtime-process.ts';

const OFF = 0.15;

let compiled: string;
/** As in images, and in local mode after the first start: sources are compiled already. */
const environment = (model: MadeModel, precision: string, threads: number) => ({
  ...imageTuning('Dockerfile.runtime'),
  KUBEMBED_MODEL: model.id,
  KUBEMBED_PRECISION: precision,
  KUBEMBED_THREADS: String(threads),
  NODE_COMPILE_CACHE: compiled,
});

const SMALL = { layers: 2, hidden: 64, intermediate: 128, heads: 4, vocabulary: 200, maxTokens: 256 };
const MINILM = { layers: 6, hidden: 384, intermediate: 1536, heads: 12, vocabulary: 30_522, maxTokens: 256 };
const E5_SMALL = { layers: 12, hidden: 384, intermediate: 1536, heads: 12, vocabulary: 250_000, maxTokens: 512 };
const BASE = { layers: 12, hidden: 768, intermediate: 3072, heads: 12, vocabulary: 30_522, maxTokens: 512 };
/** Qwen3-Embedding-0.6B, with fewer layers. */
const QWEN = {
  ...{ layers: 4, hidden: 1024, intermediate: 3072, heads: 16, keyValueHeads: 8, headSize: 128 },
  ...{ vocabulary: 151_000, maxTokens: 1024 },
};

/** Of long texts what runs hold counts, and the weights hardly. */
const LONG = { ...BASE, layers: 3, maxTokens: 2048 };
const GEMMA = { ...LONG, intermediate: 1152, heads: 3, keyValueHeads: 1, headSize: 256, maxTokens: 4096 };
/** Texts of more than 1,024 tokens are computed by parts in models with biases, which takes less than one just short. */
const WORST_PAIRS = 1000;

beforeAll(async () => {
  compiled = await mkdtemp(join(tmpdir(), 'kubembed-compiled-'));
  const store = await mkdtemp(join(tmpdir(), 'kubembed-store-'));
  const model = madeModel('bert', SMALL);
  await writeMadeModel(store, model, { tokenizer: madeTokenizer('WordPiece', SMALL.vocabulary) });
  // What was compiled is kept when a process ends by itself. int8 loads what float32 does not.
  const runtime = startRuntime(store, { env: environment(model, 'int8', 1) });
  await runtime.ready();
  runtime.child.kill('SIGTERM');
  expect(await runtime.exited).toBe(0);
  await rm(store, { recursive: true });
});
afterAll(() => rm(compiled, { recursive: true }));

async function estimate(store: string, { id }: MadeModel, precision: string): Promise<{ one: number; two: number }> {
  const args = [
    'models',
    'check',
    id,
    '--store',
    store,
    '--offline',
    '--json',
    '--cpus',
    '2',
    '--precision',
    precision,
  ];
  const { out, error } = await runCli(args);
  expect(error).toBe('');
  const { memory } = JSON.parse(out) as { memory: { minBytes: number; bytes: number } };
  return { one: memory.minBytes, two: memory.bytes };
}

async function peak(store: string, model: MadeModel, precision: string, threads: number): Promise<number> {
  await using runtime = startRuntime(store, { env: environment(model, precision, threads) });
  const url = await runtime.ready();
  const ask = async (words: number): Promise<void> => {
    const input = Array.from({ length: words }, (_, at) => String.fromCharCode(97 + (at % 26))).join(' ');
    const body = JSON.stringify({ model: model.id, input });
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${url}/v1/embeddings`, { method: 'POST', headers, body });
    expect(response.status, await response.text()).toBe(200);
  };
  for (const words of new Set([model.maxTokens, Math.min(WORST_PAIRS, model.maxTokens)])) {
    await Promise.all([words, 20, words, 20].map(ask));
  }
  return await residentBytes(runtime.child.pid!, 'VmHWM');
}

it.each([
  ['tiny', madeModel('bert', SMALL), 'float32'],
  ['as MiniLM', madeModel('bert', MINILM), 'float32'],
  ['with a large vocabulary', madeModel('xlmRoberta', E5_SMALL), 'float32'],
  ['with biases, as mpnet-base', madeModel('mpnet', BASE), 'float32'],
  ['of halves, as gte-base', madeModel('bert', BASE, 'F16'), 'float32'],
  ['in int8', madeModel('bert', BASE), 'int8'],
  ['a decoder of bfloat16', madeModel('qwen3', QWEN, 'BF16'), 'float32'],
  ['of long texts', madeModel('bert', LONG), 'float32'],
  ['of long texts with biases, as gtr-t5-base', madeModel('t5', LONG), 'float32'],
  ['of long texts with biases of each token, as deberta-v3-base', madeModel('deberta', LONG), 'float32'],
  ['of long texts with windows, as EmbeddingGemma', madeModel('gemma3', GEMMA), 'float32'],
  ['a decoder of long texts', madeModel('qwen3', { ...QWEN, vocabulary: 30_522, maxTokens: 4096 }), 'float32'],
] as const)('a model %s', async (what, model, precision) => {
  const store = await mkdtemp(join(tmpdir(), 'kubembed-store-'));
  try {
    const { vocab_size: vocabulary } = model.config as { vocab_size: number };
    const tokenizer = madeTokenizer(vocabulary > 100_000 ? 'Unigram' : 'WordPiece', vocabulary);
    await writeMadeModel(store, model, { tokenizer });
    const { one, two } = await estimate(store, model, precision);
    for (const [threads, estimated] of [
      [1, one],
      [2, two],
    ] as const) {
      const seen = await peak(store, model, precision, threads);
      const ratio = estimated / seen;
      console.info(
        `${what}, ${threads}: ${Math.round(seen / 1e6)} MB, estimated ${Math.round(estimated / 1e6)}: ${ratio.toFixed(2)}`,
      );
      expect(Math.abs(ratio - 1)).toBeLessThanOrEqual(OFF);
    }
  } finally {
    await rm(store, { recursive: true });
  }
});
