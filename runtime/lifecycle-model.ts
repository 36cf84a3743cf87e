// From the configuration to a model on disk and what its files say: what `fetch` reports and `serve` loads.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RuntimeConfig } from './config.ts';
import { DESCRIBING_FILES, describeModel, moduleConfigPaths } from './model/describe.ts';
import { ModelError } from '../hub/errors.ts';
import { preferSafetensors } from '../hub/files.ts';
import type { ChooseWeights } from '../hub/files.ts';
import { GraphError } from './graph/errors.ts';
import { findArchitecture } from './graph/registry.ts';
import { openSnapshot } from '../hub/store.ts';
import type { ModelFiles } from '../hub/store.ts';
import type { ModelDescription } from './model/types.ts';

/** The repository's own graph is for architectures that no builder serves; without one those are refused before anything big is fetched. */
export const chooseWeights: ChooseWeights = (config, offered) => {
  try {
    findArchitecture(describeModel(new Map([['config.json', config]])));
  } catch (error) {
    if (!(error instanceof GraphError)) throw error;
    if (offered.onnx) return 'onnx';
    if (offered.safetensors) throw error;
  }
  return preferSafetensors(config, offered);
};

export interface OpenedModel {
  readonly files: ModelFiles;
  readonly description: ModelDescription;
}

/** Rejects with `ModelError` when the store has no such snapshot; never touches the network. */
export async function openModel(
  config: Pick<RuntimeConfig, 'model' | 'revision' | 'resolvedRevision' | 'store'>,
): Promise<OpenedModel> {
  const revision = config.resolvedRevision ?? config.revision;
  const files = await openSnapshot(config.store, config.model, revision, chooseWeights);
  if (files === undefined) {
    throw new ModelError(
      'RevisionNotFound',
      `The store ${config.store} holds no complete snapshot of ${config.model} at ${revision}; run \`fetch\` first.`,
    );
  }
  return { files, description: await describeSnapshot(files.snapshotDir) };
}

export async function describeSnapshot(folder: string): Promise<ModelDescription> {
  const known = await readJsonFiles(folder, DESCRIBING_FILES);
  const modules = await readJsonFiles(folder, moduleConfigPaths(known.get('modules.json')));
  return describeModel(new Map([...known, ...modules]));
}

async function readJsonFiles(folder: string, names: readonly string[]): Promise<Map<string, unknown>> {
  const found = await Promise.all(
    names.map(async (name) => {
      const text = await readFile(join(folder, name), 'utf8').catch(() => undefined);
      return text === undefined ? [] : [[name, parse(name, text)] as const];
    }),
  );
  return new Map(found.flat());
}

function parse(name: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new ModelError('UnsupportedFiles', `${name} is not valid JSON`, { cause });
  }
}

/** The last words of a `fetch` that succeeded: what the operator records. */
export function fetchedFacts({ files, description }: OpenedModel): Record<string, string | number> {
  const { hiddenSize, denseLayers = [], maxTokens, declaredPooling, architecture } = description;
  return {
    revision: files.revision,
    dimensions: denseLayers.at(-1)?.outFeatures ?? hiddenSize,
    maxTokens,
    ...(declaredPooling === undefined ? {} : { pooling: declaredPooling }),
    architecture,
  };
}
