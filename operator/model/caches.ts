// The operator's caches: one informer per kind, and memory kept small.
import { LABEL_COMPONENT, LABEL_MANAGED_BY, LABEL_MODEL, MANAGED_BY } from '../../api/names.ts';
import { EMBEDDING_MODELS, withDefaults } from '../../api/types.ts';
import type { EmbeddingModel, SpecDefaults } from '../../api/types.ts';
import { withoutUndefined } from '../../common/util/objects.ts';
import type { KubeClient } from '../../kube/client.ts';
import { createInformer, fixedNamespaces, withoutHistory } from '../../kube/informer.ts';
import type { Informer, InformerOptions, NamespaceSet } from '../../kube/informer.ts';
import type { Environment } from '../../kube/clock.ts';
import { NAMESPACES, PODS, REPLICA_SETS } from '../../kube/resources.ts';
import type { Container, ContainerStatus, ContainerTermination, ObservedCondition, Pod } from '../../kube/resources.ts';
import { createSharing } from '../../kube/sharing.ts';
import { controllerOf } from '../../kube/types.ts';
import type { KubeObject, ObjectMeta, ResourceType } from '../../kube/types.ts';
import type { OperatorConfig } from '../config.ts';
import { CHILD_KINDS } from '../manifests/children.ts';
import type { ChildKind, ChildObject } from '../manifests/children.ts';
import { BY_OWNER, ownerUid } from './ownership.ts';
import { LABEL_TEMPLATE, REVISION_VARIABLE } from './pods.ts';

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

const slimContainer = ({ name, image, env = [] }: Container): Container => ({
  name,
  image,
  env: env.filter((variable) => variable.name === REVISION_VARIABLE),
});

const slimTermination = (ended: ContainerTermination | undefined): ContainerTermination | undefined =>
  ended &&
  (withoutUndefined({
    exitCode: ended.exitCode,
    reason: ended.reason,
    message: ended.message,
  }) as ContainerTermination);

function slimState(state: ContainerStatus['state']): ContainerStatus['state'] {
  const { waiting, running, terminated } = state ?? {};
  return withoutUndefined({ waiting, running: running && {}, terminated: slimTermination(terminated) });
}

const slimStatus = ({ name, ready, restartCount, state, lastState }: ContainerStatus): ContainerStatus => ({
  ...{ name, ready, restartCount },
  ...withoutUndefined({
    state: slimState(state),
    lastState: lastState && withoutUndefined({ terminated: slimTermination(lastState.terminated) }),
  }),
});

/** What it is called, whose it is and of which template; nothing of what others have written on it. */
function slimPodMetadata(metadata: ObjectMeta): ObjectMeta {
  const { name, namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp, labels = {} } = metadata;
  const read = Object.entries(labels).filter(([label]) => POD_LABELS.has(label));
  const owner = controllerOf({ metadata });
  return {
    name,
    ...withoutUndefined({ namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp }),
    labels: Object.fromEntries(read),
    ...(owner && { ownerReferences: [owner] }),
  };
}

const POD_LABELS: ReadonlySet<string> = new Set([LABEL_MODEL, LABEL_COMPONENT, LABEL_TEMPLATE]);
const POD_CONDITION = 'PodScheduled';

/** A pod without what nobody here reads, which is most of it: there may be tens of thousands. */
export function slimPod({ apiVersion, kind, metadata, spec, status = {} }: Pod): Pod {
  const { initContainers, containers, nodeName, volumes } = spec;
  const { phase, reason, message, podIP, conditions, initContainerStatuses, containerStatuses } = status;
  return {
    apiVersion,
    kind,
    metadata: slimPodMetadata(metadata),
    spec: {
      containers: containers.map(slimContainer),
      ...withoutUndefined({ initContainers: initContainers?.map(slimContainer), nodeName, volumes }),
    },
    status: withoutUndefined({
      phase,
      reason,
      message,
      podIP,
      conditions: conditions?.filter(({ type }) => type === POD_CONDITION).map(slimCondition),
      initContainerStatuses: initContainerStatuses?.map(slimStatus),
      containerStatuses: containerStatuses?.map(slimStatus),
    }),
  };
}

const slimCondition = ({ type, status, reason, message }: ObservedCondition): ObservedCondition => ({
  ...{ type, status },
  ...withoutUndefined({ reason, message }),
});

const slimReplicaSet = ({ apiVersion, kind, metadata }: KubeObject): KubeObject => ({
  apiVersion,
  kind,
  metadata: slimPodMetadata(metadata),
});

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
  const informer = createInformer(client, NAMESPACES, environment, { labelSelector, transform: withoutHistory });
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
  const { share } = createSharing();
  const informer = <T extends KubeObject>(
    type: ResourceType<T>,
    { transform = withoutHistory, ...options }: InformerOptions<T> = {},
  ): Informer<T> =>
    createInformer(client, type, environment, {
      namespaces: scope.children,
      transform: (object) => share(transform(object)),
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
