// supported_models.txt on disk → the catalog ConfigMap that the operator reads, kept equal while the file changes.
import { readFile } from 'node:fs/promises';
import type { KubeClient } from '../../kube/client.ts';
import { CONFIG_MAPS } from '../../kube/resources.ts';
import type { ObjectKey } from '../../kube/types.ts';
import { watchFiles } from './poll.ts';

export interface CatalogFile {
  readonly path: string;
  readonly configMap: ObjectKey;
  /** Key of the ConfigMap's `data` that holds the text. */
  readonly dataKey: string;
}

/** A file that cannot be read leaves the last catalog in place: a slip of an editor must not take every model down. */
export async function followCatalogFile(
  client: KubeClient,
  { path, configMap, dataKey }: CatalogFile,
  warn: (message: string) => void,
  signal: AbortSignal,
): Promise<void> {
  await watchFiles(
    () => Promise.resolve([path]),
    async () => {
      const text = await readFile(path, 'utf8').catch((error: unknown) => {
        warn(`${path} cannot be read; the models stay as they are: ${String(error)}`);
        return undefined;
      });
      if (text === undefined) return;
      const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: configMap, data: { [dataKey]: text } };
      await client.apply(CONFIG_MAPS, body, { fieldManager: 'kubembed-local', force: true });
    },
    signal,
  );
}
