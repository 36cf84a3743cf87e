// A repository as it lies in the model store.
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DESCRIBING_FILES, moduleConfigPaths } from '../../runtime/model/describe.ts';
import type { TensorEntry } from '../../runtime/graph/types.ts';
import { readHeader } from '../../runtime/model/safetensors.ts';
import { listSnapshot, openSnapshot } from '../../hub/store.ts';
import { PROMPTS_FILE } from './repository.ts';
import type { Repository } from './repository.ts';

/** A file that cannot be read says nothing. */
async function readJson(folder: string, name: string): Promise<readonly (readonly [string, unknown])[]> {
  try {
    return [[name, JSON.parse(await readFile(join(folder, name), 'utf8')) as unknown]];
  } catch {
    return [];
  }
}

/** Undefined when the store holds no whole snapshot of it. */
export async function repositoryInStore(
  store: string,
  asked: { readonly modelId: string; readonly revision: string },
): Promise<Repository | undefined> {
  const snapshot = await openSnapshot(store, asked.modelId, asked.revision);
  if (snapshot === undefined) return undefined;
  const folder = snapshot.snapshotDir;
  const names = await listSnapshot(folder);
  const sizes = names.map(async (name) => [name, (await stat(join(folder, name))).size] as const);
  const plain = await Promise.all([...DESCRIBING_FILES, PROMPTS_FILE].map((name) => readJson(folder, name)));
  const known = new Map(plain.flat());
  const modules = await Promise.all(moduleConfigPaths(known.get('modules.json')).map((name) => readJson(folder, name)));
  const tensors = new Map<string, TensorEntry>();
  for (const name of names.filter((one) => one.endsWith('.safetensors'))) {
    const below = name.includes('/') ? name.slice(0, name.lastIndexOf('/') + 1) : '';
    for (const [tensor, entry] of await readHeader(join(folder, name), name)) tensors.set(below + tensor, entry);
  }
  return {
    modelId: asked.modelId,
    source: 'store',
    revision: snapshot.revision,
    files: new Map(await Promise.all(sizes)),
    json: new Map([...known, ...modules.flat()]),
    ...(tensors.size > 0 && { tensors }),
  };
}
