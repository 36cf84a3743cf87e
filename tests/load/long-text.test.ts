// What one text of 8,192 tokens takes of memory, for every way of attention: never the scores of all pairs of tokens.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';
import { MADE_TOKENS, madeModel, madeTokenizer, writeMadeModel } from '../helpers/made-model.ts';
import type { MadeFamily } from '../helpers/made-model.ts';
import { readTwin, writeTwin } from '../helpers/twins.ts';

const TOKENS = 8192;
/** Of one head alone they would be these. */
const ONE_HEAD_BYTES = TOKENS ** 2 * 4;

const folder = mkdtempSync(join(tmpdir(), 'kubembed-long-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function bytesFor(path: string): Promise<number> {
  const child = new URL('long-text-child.ts', import.meta.url).pathname;
  const args = ['--disable-warning=ExperimentalWarning', child, path, String(TOKENS)];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const { finite, bytes } = JSON.parse(stdout) as { finite: boolean; bytes: number };
  expect(finite).toBe(true);
  console.info(`${path.slice(folder.length + 1)}: ${Math.round(bytes / 1e6)} MB`);
  return bytes;
}

/** Their positions are computed, so that texts may be longer than those of the twin. */
const TWINS = [
  ['jina-bert-v2', 'biases by distance'],
  ['umt5-mean', 'biases by buckets of distance, of each layer'],
  ['deberta-v3', 'biases by token and distance'],
  ['modernbert-mean', 'windows on both sides, and none'],
  ['gte', 'both sides, rotary'],
  ['mistral-sliding', 'causal windows'],
  ['gemma2-last', 'causal, scores squeezed, windows'],
  ['llama-bidirectional', 'both sides, shared keys'],
] as const;

it.each(TWINS)('%s (%s) holds less than the scores of one head', async (name) => {
  const path = join(folder, name);
  await writeTwin(readTwin(name), path);
  const file = join(path, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...config, max_position_embeddings: TOKENS }));
  expect(await bytesFor(path)).toBeLessThan(ONE_HEAD_BYTES);
});

const MADE: readonly (readonly [MadeFamily, string])[] = [
  ['bert', 'both sides'],
  ['mpnet', 'biases by buckets of distance'],
  ['qwen3', 'causal, norms of heads'],
  ['gemma3', 'both sides, wide windows in most layers'],
];

it.each(MADE)('%s (%s) holds less than the scores of one head', async (family) => {
  const size = { layers: 2, hidden: 64, intermediate: 128, heads: 4, vocabulary: MADE_TOKENS, maxTokens: TOKENS };
  const store = join(folder, family);
  const tokenizer = madeTokenizer('WordPiece', MADE_TOKENS);
  expect(await bytesFor(await writeMadeModel(store, madeModel(family, size), { tokenizer }))).toBeLessThan(
    ONE_HEAD_BYTES,
  );
});
