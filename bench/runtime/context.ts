// What every measured process is given: the model on disk, the corpora as a file, the cores.
import { writeFile } from 'node:fs/promises';
import type { Corpora, CorpusName } from './corpora.ts';

export interface BenchContext {
  readonly modelId: string;
  readonly store: string;
  readonly snapshotDir: string;
  readonly corpora: Corpora;
  /** The corpora for other processes, see `WrittenCorpora`. */
  readonly corporaFile: string;
  readonly threads: number;
}

export interface WrittenCorpus {
  readonly requests: readonly { readonly inputs: readonly string[]; readonly tokens: number }[];
  readonly ids: readonly (readonly number[])[];
}

export type WrittenCorpora = Readonly<Record<CorpusName, WrittenCorpus>>;

export async function writeCorpora(corpora: Corpora, file: string): Promise<void> {
  const written = Object.entries(corpora).map(([name, { requests, texts }]) => [
    name,
    { requests, ids: texts.map(({ ids }) => [...ids]) } satisfies WrittenCorpus,
  ]);
  await writeFile(file, JSON.stringify(Object.fromEntries(written)));
}
