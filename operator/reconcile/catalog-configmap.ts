// The list of supported models in a ConfigMap, as a catalog source.
import type { CatalogSource } from '../catalog/source.ts';
import type { KubeClient } from '../../kube/client.ts';
import { createInformer } from '../../kube/informer.ts';
import type { Environment } from '../../kube/clock.ts';
import { CONFIG_MAPS } from '../../kube/resources.ts';

export interface ConfigMapCatalog {
  readonly source: CatalogSource;
  readonly hasSynced: () => boolean;
  readonly run: (signal: AbortSignal) => Promise<void>;
}

export interface ConfigMapPlace {
  readonly namespace: string;
  readonly name: string;
  readonly key: string;
  /** Where the EmbeddingModels are made. */
  readonly modelsNamespace: string;
}

export function createConfigMapCatalog(
  client: KubeClient,
  { namespace, name, key, modelsNamespace }: ConfigMapPlace,
  environment: Environment,
): ConfigMapCatalog {
  const informer = createInformer(client, CONFIG_MAPS, environment, {
    namespace,
    fieldSelector: `metadata.name=${name}`,
  });
  return {
    source: {
      current: () => {
        const text = informer.store.get({ namespace, name })?.data?.[key];
        if (text === undefined) return undefined;
        return { name, origin: `ConfigMap ${namespace}/${name}`, text, namespace: modelsNamespace };
      },
      subscribe: (changed) => informer.onChange((old, next) => (old === next ? undefined : changed())),
    },
    hasSynced: () => informer.hasSynced(),
    run: async (signal) => await informer.run(signal),
  };
}
