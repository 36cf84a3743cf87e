// Checks a whole model store against the hashes that its own layout records: bit rot, hollow files, broken links.
import { lstat, readFile, readdir, readlink, realpath, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { isEtag, parseObject } from './files.ts';
import type { RepositoryFile } from './files.ts';
import { storePaths } from './paths.ts';
import type { StorePaths } from './paths.ts';
import { isIntact } from './proof.ts';
import type { Proof } from './proof.ts';
import { entriesIn } from './store.ts';

export type FileState = 'intact' | 'damaged' | 'missing' | 'unproven';

export interface FileCheck {
  readonly modelId: string;
  readonly revision: string;
  readonly name: string;
  readonly state: FileState;
  /** The content's place on disk, when there is one. */
  readonly file: string | undefined;
}

const recordSchema = z.object({
  files: z.array(z.object({ name: z.string(), size: z.number(), etag: z.string().refine(isEtag) })),
});

const readRecord = async (paths: StorePaths, sha: string): Promise<ReadonlyMap<string, RepositoryFile>> => {
  const text = await readFile(path.join(paths.complete, sha), 'utf8').catch(() => '');
  const { data } = recordSchema.safeParse(parseObject(text));
  return new Map(data?.files.map((file) => [file.name, file]));
};

const foldersIn = async (folder: string): Promise<string[]> => await readdir(folder).catch(() => []);

/** Every model that a store holds something of. */
export const listModels = async (store: string): Promise<string[]> =>
  (await foldersIn(store))
    .filter((name) => name.startsWith('models--'))
    .map((name) => name.slice('models--'.length).replace('--', '/'))
    .sort();

/** What the content must be: as recorded, else as the blob that the symlink names. */
const proofOf = async (link: string, recorded: RepositoryFile | undefined): Promise<Proof | undefined> => {
  if (recorded !== undefined) return recorded;
  const info = await lstat(link);
  const etag = info.isSymbolicLink() ? path.basename(await readlink(link)) : '';
  return isEtag(etag) ? { etag, size: (await stat(link)).size } : undefined;
};

const checkFile = async (
  link: string,
  recorded: RepositoryFile | undefined,
): Promise<Pick<FileCheck, 'state' | 'file'>> => {
  const file = await realpath(link).catch(() => undefined);
  if (file === undefined) return { state: 'missing', file };
  const proof = await proofOf(link, recorded);
  if (proof === undefined) return { state: 'unproven', file };
  return { state: (await isIntact(file, proof)) ? 'intact' : 'damaged', file };
};

/** Reads every file of every snapshot of a model. */
export async function* checkModel(store: string, modelId: string): AsyncGenerator<FileCheck> {
  const paths = storePaths(store, modelId);
  for (const revision of await foldersIn(paths.snapshots)) {
    const folder = path.join(paths.snapshots, revision);
    const recorded = await readRecord(paths, revision);
    const names = new Set([...recorded.keys(), ...(await entriesIn(folder)).sort()]);
    for (const name of names) {
      yield { modelId, revision, name, ...(await checkFile(path.join(folder, name), recorded.get(name))) };
    }
  }
}

/** Removes a damaged file, so that the next fetch brings it anew, and it alone. */
export const dropDamaged = async ({ state, file }: FileCheck): Promise<void> => {
  if (state === 'damaged' && file !== undefined) await rm(file, { force: true });
};
