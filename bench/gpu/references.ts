// The vectors that everybody's are compared with: sentence-transformers' in float32, by a process that ends when it has given them.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Corpora } from '../runtime/corpora.ts';
import { OFFLINE } from '../runtime/peers.ts';
import type { Reference } from '../../tests/helpers/references.ts';
import { giveInput } from '../../tests/helpers/standard-input.ts';

const SCRIPT = fileURLToPath(new URL('../peers/reference_vectors.py', import.meta.url));
const MAX_ANSWER_BYTES = 256 << 20;

/** Short ones, passages, and a long one where there are any. */
export const textsToCompare = ({ A, B, L }: Corpora): readonly string[] =>
  [...A.texts.slice(0, 16), ...B.texts.slice(0, 8), ...L.texts.slice(0, 1)].map(({ text }) => text);

export async function referenceVectors(
  python: string,
  snapshotDir: string,
  device: 'cpu' | 'cuda',
  texts: readonly string[],
): Promise<readonly Reference[]> {
  const asked = promisify(execFile)(python, [SCRIPT, snapshotDir, device], {
    env: { ...process.env, ...OFFLINE },
    maxBuffer: MAX_ANSWER_BYTES,
  });
  giveInput(asked.child, JSON.stringify(texts));
  const vectors = JSON.parse((await asked).stdout) as number[][];
  return texts.map((text, index) => ({ text, vector: Float32Array.from(vectors[index] ?? []) }));
}
