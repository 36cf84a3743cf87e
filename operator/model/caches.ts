// The operator's caches: one informer per kind, and memory kept small.
import { LABEL_MANAGED_BY, LABEL_MODEL, MANAGED_BY } from '../../api/names.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { KubeClient } from '../../kube/client.ts';
import { createInformer, withoutManagedFields } from '../../kube/informer.ts';
import type { Informer, InformerOptions } from '../../kube/informer.ts';
import type { Environment } from '../../kube/clock.ts';
import { PODS } from '../../kube/resources.ts';
import type { Pod } from '../../kube/resources.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import { CHILD_KINDS } from '../manifests/children.ts';
import type { ChildKind, ChildObject } from '../manifests/children.ts';

export interface Caches {
  readonly models: Informer<EmbeddingModel>;
  readonly pods: Informer<Pod>;
  readonly children: { readonly [K in ChildKind]: Informer<ChildObject<K>> };
  readonly hasSynced: () => boolean;
  readonly whenSynced: (signal: AbortSignal) => Promise<void>;
  /** Ends when the signal aborts. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

/** Pods of a model, by `namespace/model`. */
export const BY_MODEL = 'model';
/** EmbeddingModels by the existing claim they name, `namespace/claim`. */
export const BY_CLAIM = 'claim';

const RESYNC_MS = 600_000;
const OURS = { labelSelector: `${LABEL_MANAGED_BY}=${MANAGED_BY}` };

const modelOfPod = ({ metadata }: Pod): readonly string[] => {
  const model = metadata.labels?.[LABEL_MODEL];
  return model === undefined ? [] : [`${metadata.namespace ?? ''}/${model}`];
};

const claimOf = ({ metadata, spec }: EmbeddingModel): readonly string[] =>
  spec.cache?.existingClaim === undefined ? [] : [`${metadata.namespace ?? ''}/${spec.cache.existingClaim}`];

/** @param namespace undefined: all of them */
export function createCaches(client: KubeClient, namespace: string | undefined, environment: Environment): Caches {
  const scope = namespace === undefined ? {} : { namespace };
  const informer = <T extends KubeObject>(type: ResourceType<T>, options: InformerOptions<T> = {}): Informer<T> =>
    createInformer(client, type, environment, { ...scope, transform: withoutManagedFields<T>, ...options });

  const models = informer(EMBEDDING_MODELS, { indexers: { [BY_CLAIM]: claimOf }, resyncMs: RESYNC_MS });
  const pods = informer(PODS, { labelSelector: LABEL_MODEL, indexers: { [BY_MODEL]: modelOfPod } });
  const children: Caches['children'] = {
    serviceAccount: informer(CHILD_KINDS.serviceAccount.type, OURS),
    revision: informer(CHILD_KINDS.revision.type, OURS),
    // Claims of others are read too: cache.existingClaim may name any.
    claim: informer(CHILD_KINDS.claim.type),
    deployment: informer(CHILD_KINDS.deployment.type, OURS),
    service: informer(CHILD_KINDS.service.type, OURS),
    disruptionBudget: informer(CHILD_KINDS.disruptionBudget.type, OURS),
  };
  const all: readonly Pick<Informer, 'hasSynced' | 'whenSynced' | 'run'>[] = [models, pods, ...Object.values(children)];
  return {
    models,
    pods,
    children,
    hasSynced: () => all.every((one) => one.hasSynced()),
    whenSynced: async (signal) => {
      await Promise.all(all.map(async (one) => await one.whenSynced(signal)));
    },
    run: async (signal) => {
      await Promise.all(all.map(async (one) => await one.run(signal)));
    },
  };
}
