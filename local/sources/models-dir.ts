// A folder of EmbeddingModel YAML files → objects in the API store: applied, changed and deleted as the files are.
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ApiError, ifPresent } from '../../kube/client.ts';
import type { KubeClient } from '../../kube/client.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { parseManifests } from './manifests.ts';
import type { Validate } from './manifests.ts';
import { watchFiles } from './poll.ts';

/** Marks what a file made, with the file's name: only that is deleted when it leaves the file. */
const SOURCE_ANNOTATION = 'local.kubembed.dev/file';

export interface ModelsDirDeps {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly validate: Validate;
  readonly warn: (message: string) => void;
}

async function yamlFiles(dir: string): Promise<string[]> {
  const names = await readdir(dir).catch(() => []);
  return names
    .filter((name) => /\.ya?ml$/.test(name))
    .sort()
    .map((name) => join(dir, name));
}

/** @returns the models of each readable file; a file with problems keeps what it said last. */
async function readAll(
  paths: readonly string[],
  last: ReadonlyMap<string, readonly EmbeddingModel[]>,
  { validate, warn }: ModelsDirDeps,
): Promise<Map<string, readonly EmbeddingModel[]>> {
  const result = new Map<string, readonly EmbeddingModel[]>();
  for (const path of paths) {
    const text = await readFile(path, 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    const { models, problems } = parseManifests(text, validate);
    for (const problem of problems) warn(`${path}: ${problem}`);
    const named = new Map(
      (problems.length > 0 ? (last.get(path) ?? []) : []).map((model) => [model.metadata.name, model]),
    );
    for (const model of models) named.set(model.metadata.name, model);
    result.set(path, [...named.values()]);
  }
  return result;
}

async function applyModel(
  model: EmbeddingModel,
  path: string,
  { client, namespace, warn }: ModelsDirDeps,
): Promise<void> {
  const annotations = { ...model.metadata.annotations, [SOURCE_ANNOTATION]: basename(path) };
  const body = { ...model, metadata: { ...model.metadata, namespace, annotations } };
  try {
    await client.apply(EMBEDDING_MODELS, body, { fieldManager: 'kubembed-local', force: true });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    warn(`${path}: ${model.metadata.name}: ${error.message}`);
  }
}

export interface ModelsDir {
  /** Settles when the files were applied for the first time. */
  readonly loaded: Promise<unknown>;
  /** Settles after the signal. */
  readonly done: Promise<void>;
}

/** Follows the folder until the signal; it need not exist yet. */
export function followModelsDir(dir: string, deps: ModelsDirDeps, signal: AbortSignal): ModelsDir {
  const { promise: loaded, resolve } = Promise.withResolvers<undefined>();
  const { client, namespace } = deps;
  let known = new Map<string, readonly EmbeddingModel[]>();
  const done = watchFiles(
    async () => await yamlFiles(dir),
    async (paths) => {
      const before = new Set([...known.values()].flat().map(({ metadata }) => metadata.name));
      known = await readAll(paths, known, deps);
      for (const [path, models] of known) for (const model of models) await applyModel(model, path, deps);
      const after = new Set([...known.values()].flat().map(({ metadata }) => metadata.name));
      for (const name of before.difference(after)) {
        await ifPresent(client.delete(EMBEDDING_MODELS, { namespace, name }));
      }
      resolve(undefined);
    },
    signal,
  );
  return { loaded, done };
}
