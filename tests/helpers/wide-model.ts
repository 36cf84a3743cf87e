// A model whose answers are large and cost nothing: a table of vectors of 1,024 numbers, letters as tokens.
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { letterTokenizer } from './tiny-model.ts';

export const WIDE_MODEL = 'test/wide';
const TOKENS = 120;
const WIDTH = 1024;
/** Of this many texts the answer has more than 4 MB, as numbers. */
export const INPUTS_OF_4_MB = 400;

function safetensors(): Buffer {
  const numbers = Float32Array.from({ length: TOKENS * WIDTH }, (_, at) => Math.sin(at * at + 1));
  const data = Buffer.from(numbers.buffer);
  const about = { dtype: 'F32', shape: [TOKENS, WIDTH], data_offsets: [0, data.byteLength] };
  const header = Buffer.from(JSON.stringify({ 'embedding.weight': about }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.byteLength));
  return Buffer.concat([length, header, data]);
}

/** A store as `fetch` leaves it. */
export async function createWideStore(): Promise<AsyncDisposable & { readonly store: string }> {
  const store = await mkdtemp(join(tmpdir(), 'kubembed-wide-'));
  const revision = 'b'.repeat(40);
  const folder = join(store, `models--${WIDE_MODEL.replace('/', '--')}`);
  const snapshot = join(folder, 'snapshots', revision);
  await mkdir(join(folder, 'refs'), { recursive: true });
  await mkdir(snapshot, { recursive: true });
  await writeFile(join(folder, 'refs', 'main'), revision);
  const module = { idx: 0, name: '0', path: '', type: 'sentence_transformers.models.StaticEmbedding' };
  await writeFile(join(snapshot, 'modules.json'), JSON.stringify([module]));
  await writeFile(join(snapshot, 'tokenizer.json'), JSON.stringify(letterTokenizer));
  await writeFile(join(snapshot, 'model.safetensors'), safetensors());
  return { store, [Symbol.asyncDispose]: async () => await rm(store, { recursive: true, force: true }) };
}
