// The operator's caches: one informer per kind, and memory kept small.
import { LABEL_MANAGED_BY, LABEL_MODEL, MANAGED_BY } from '../../api/names.ts';
import { EMBEDDING_MODELS, withDefaults } from '../../api/types.ts';
import type { EmbeddingModel, SpecDefaults } from '../../api/types.ts';
import type { KubeClient } from '../../kube/client.ts';
import { createInformer, fixedNamespaces, withoutManagedFields } from '../../kube/informer.ts';
import type { Informer, InformerOptions, NamespaceSet } from '../../kube/informer.ts';
import type { Environment } from '../../kube/clock.ts';
import { NAMESPACES, PODS, REPLICA_SETS } from '../../kube/resources.ts';
import type { Container, Pod } from '../../kube/resources.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import type { OperatorConfig } from '../config.ts';
import { CHILD_KINDS } from '../manifests/children.ts';
import type { ChildKind, ChildObject } from '../manifests/children.ts';
import { withoutUndefined } from '../manifests/manifest.ts';
import { BY_OWNER, ownerUid } from './ownership.ts';
import { REVISION_VARIABLE } from './pods.ts';

export interface Caches {
  readonly models: Informer<EmbeddingModel>;
  readonly pods: Informer<Pod>;
  /** Between Deployments and their pods: who owns whom, and nothing else. */
  readonly replicaSets: Informer;
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

/** A pod without what nobody here reads, which is most of it: there may be tens of thousands. */
export function slimPod(pod: Pod): Pod {
  const { initContainers, containers, nodeName, volumes } = pod.spec;
  const slim = ({ name, image, env = [] }: Container): Container => ({
    name,
    image,
    env: env.filter((variable) => variable.name === REVISION_VARIABLE),
  });
  const { phase, reason, message, podIP, conditions, initContainerStatuses, containerStatuses } = pod.status ?? {};
  return {
    ...withoutManagedFields(pod),
    spec: {
      containers: containers.map(slim),
      ...withoutUndefined({ initContainers: initContainers?.map(slim), nodeName, volumes }),
    },
    status: withoutUndefined({
      phase,
      reason,
      message,
      podIP,
      conditions,
      initContainerStatuses,
      containerStatuses,
    }),
  };
}

const slimReplicaSet = ({ apiVersion, kind, metadata }: KubeObject): KubeObject => {
  const { name, namespace, uid, resourceVersion, labels, ownerReferences } = metadata;
  const slim = withoutUndefined({ namespace, uid, resourceVersion, labels, ownerReferences });
  return { apiVersion, kind, metadata: { name, ...slim } };
};

const RESYNC_MS = 600_000;
const OURS = { labelSelector: `${LABEL_MANAGED_BY}=${MANAGED_BY}` };

const modelOfPod = ({ metadata }: Pod): readonly string[] => {
  const model = metadata.labels?.[LABEL_MODEL];
  return model === undefined ? [] : [`${metadata.namespace ?? ''}/${model}`];
};

const claimOf =
  (defaults: SpecDefaults) =>
  ({ metadata, spec }: EmbeddingModel): readonly string[] => {
    const { existingClaim } = withDefaults(spec, defaults).cache;
    return existingClaim === undefined ? [] : [`${metadata.namespace ?? ''}/${existingClaim}`];
  };

/** The namespaces that are looked at. */
export interface Scope {
  /** Whose EmbeddingModels are reconciled; undefined: of all namespaces. */
  readonly models: NamespaceSet | undefined;
  /** Where their children are; a selector's change costs no new watches for them. */
  readonly children: NamespaceSet | undefined;
  /** Keeps what decides on it. */
  readonly informer: Pick<Informer, 'hasSynced' | 'whenSynced' | 'run'> | undefined;
}

/** Namespaces by their labels, and the own one, in which the list makes its resources. */
function selectedNamespaces(client: KubeClient, labelSelector: string, own: string, environment: Environment): Scope {
  const informer = createInformer(client, NAMESPACES, environment, { labelSelector, transform: withoutManagedFields });
  const models: NamespaceSet = {
    current: () =>
      informer.hasSynced()
        ? [...new Set([own, ...informer.store.list().map(({ metadata }) => metadata.name)])]
        : undefined,
    onChange: (changed) => {
      const stop = new AbortController();
      informer.whenSynced(stop.signal).then(changed, () => undefined);
      const unsubscribe = informer.onChange((old, next) => {
        if ((old === undefined) !== (next === undefined)) changed();
      });
      return () => {
        stop.abort();
        unsubscribe();
      };
    },
  };
  return { models, children: undefined, informer };
}

export function scopeOf(
  client: KubeClient,
  { namespace, watch }: Pick<OperatorConfig, 'namespace' | 'watch'>,
  environment: Environment,
): Scope {
  if (watch.selector !== undefined) return selectedNamespaces(client, watch.selector, namespace, environment);
  const fixed = watch.namespaces.length === 0 ? undefined : fixedNamespaces(watch.namespaces);
  return { models: fixed, children: fixed, informer: undefined };
}

export function createCaches(
  client: KubeClient,
  scope: Scope,
  defaults: SpecDefaults,
  environment: Environment,
): Caches {
  const informer = <T extends KubeObject>(type: ResourceType<T>, options: InformerOptions<T> = {}): Informer<T> =>
    createInformer(client, type, environment, {
      namespaces: scope.children,
      transform: withoutManagedFields<T>,
      ...options,
    });

  const models = informer(EMBEDDING_MODELS, {
    namespaces: scope.models,
    indexers: { [BY_CLAIM]: claimOf(defaults) },
    resyncMs: RESYNC_MS,
  });
  const pods = informer(PODS, {
    labelSelector: LABEL_MODEL,
    indexers: { [BY_MODEL]: modelOfPod },
    transform: slimPod,
  });
  const replicaSets = informer(REPLICA_SETS, {
    ...OURS,
    indexers: { [BY_OWNER]: ownerUid },
    transform: slimReplicaSet,
  });
  const children: Caches['children'] = {
    serviceAccount: informer(CHILD_KINDS.serviceAccount.type, OURS),
    revision: informer(CHILD_KINDS.revision.type, OURS),
    // Claims of others are read too: cache.existingClaim may name any.
    claim: informer(CHILD_KINDS.claim.type),
    networkPolicy: informer(CHILD_KINDS.networkPolicy.type, OURS),
    prefetch: informer(CHILD_KINDS.prefetch.type, OURS),
    deployment: informer(CHILD_KINDS.deployment.type, OURS),
    service: informer(CHILD_KINDS.service.type, OURS),
    disruptionBudget: informer(CHILD_KINDS.disruptionBudget.type, OURS),
  };
  const all: readonly Pick<Informer, 'hasSynced' | 'whenSynced' | 'run'>[] = [
    models,
    pods,
    replicaSets,
    ...Object.values(children),
    ...(scope.informer === undefined ? [] : [scope.informer]),
  ];
  return {
    models,
    pods,
    replicaSets,
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
