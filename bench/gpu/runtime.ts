// The runtime on a GPU as a measured peer, and how its vectors compare with the references.
import { fileURLToPath } from 'node:url';
import { minilmReferences } from '../../tests/helpers/references.ts';
import type { BenchContext } from '../runtime/context.ts';
import { imageTuning } from '../runtime/image.ts';
import { startServer } from '../runtime/peer-server.ts';
import type { RunningPeer } from '../runtime/peer.ts';
import { deviation } from './vectors.ts';
import type { Deviation } from './vectors.ts';

const RUNTIME = fileURLToPath(new URL('../../dist/runtime/main.js', import.meta.url));

export interface RuntimeChoices {
  readonly device: 'cpu' | 'gpu';
  readonly precision: 'float32' | 'float16';
}

export const startRuntime = (
  context: BenchContext,
  logFile: string,
  { device, precision }: RuntimeChoices,
): Promise<RunningPeer> =>
  startServer(
    {
      path: '/v1/embeddings',
      command: ({ modelId, store }, port) => ({
        file: process.execPath,
        args: [RUNTIME, 'serve'],
        env: {
          ...imageTuning('Dockerfile.runtime-gpu'),
          KUBEMBED_MODEL: modelId,
          KUBEMBED_STORE: store,
          KUBEMBED_HOST: '127.0.0.1',
          KUBEMBED_PORT: String(port),
          KUBEMBED_DEVICE: device,
          KUBEMBED_PRECISION: precision,
          KUBEMBED_TERMINATION_LOG: '/dev/null',
        },
      }),
    },
    context,
    logFile,
  );

export interface VectorReport {
  readonly alone: Deviation;
  readonly together: Deviation;
  /** The same texts in a request each and all in one. */
  readonly byCompany: Deviation;
}

export async function compareVectors(embed: NonNullable<RunningPeer['embed']>): Promise<VectorReport> {
  // The API refuses an empty text.
  const references = (await minilmReferences()).filter(({ text }) => text !== '');
  const alone: number[][] = [];
  for (const { text } of references) alone.push((await embed([text]))[0]!);
  const together = await embed(references.map(({ text }) => text));
  const expected = references.map(({ vector }) => vector);
  const against = (vectors: readonly ArrayLike<number>[], others: readonly ArrayLike<number>[]): Deviation =>
    deviation(vectors.map((vector, text) => [vector, others[text]!]));
  return {
    alone: against(alone, expected),
    together: against(together, expected),
    byCompany: against(together, alone),
  };
}
