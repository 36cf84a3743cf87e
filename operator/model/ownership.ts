// Ownership: which objects are a model's own. Names and labels prove nothing, since whoever may make an object gives it any; what
// counts is the chain of owners, which names uids, and what Kubernetes' own controllers make of it. Pure.
import { childName, LABEL_MANAGED_BY, LABEL_MODEL, MANAGED_BY, prefetchName } from '../../api/names.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { ReadStore } from '../../kube/informer.ts';
import type { Deployment, Job, Pod } from '../../kube/resources.ts';
import { controllerOf } from '../../kube/types.ts';
import type { KubeObject } from '../../kube/types.ts';

type Ownership = 'ours' | 'predecessor' | 'foreign';

/**
 * Whose is an object that carries the name of a child. Children left behind by an orphaning delete have our labels and no owner: they
 * are adopted. Those of a deleted model of the same name still name it as owner: they go away by themselves, and are made anew then.
 */
export function ownershipOf(child: KubeObject, { metadata }: EmbeddingModel): Ownership {
  const controller = controllerOf(child);
  if (controller?.uid === metadata.uid) return 'ours';
  if (controller !== undefined)
    return controller.kind === EMBEDDING_MODELS.kind && controller.name === metadata.name ? 'predecessor' : 'foreign';
  const { labels } = child.metadata;
  return labels?.[LABEL_MANAGED_BY] === MANAGED_BY && labels[LABEL_MODEL] === metadata.name ? 'ours' : 'foreign';
}

/** Those of the children that say something of this model. */
export function ownChildren<T extends Readonly<Record<string, KubeObject | undefined>>>(
  children: T,
  model: EmbeddingModel,
): Partial<T> {
  const own = Object.entries(children).filter(
    ([, child]) => child !== undefined && ownershipOf(child, model) === 'ours',
  );
  // A part of the same entries.
  return Object.fromEntries(own) as Partial<T>;
}

/** Something that carries the name of a child and is somebody else's. */
export const foreignAmong = (
  children: Readonly<Record<string, KubeObject | undefined>>,
  model: EmbeddingModel,
): KubeObject | undefined =>
  Object.values(children).find((child) => child !== undefined && ownershipOf(child, model) === 'foreign');

/** ReplicaSets by the uid of the Deployment that owns them. */
export const BY_OWNER = 'owner';
export const ownerUid = (object: KubeObject): readonly string[] => {
  const { uid } = controllerOf(object) ?? {};
  return uid === undefined ? [] : [uid];
};

type ReplicaSets = Pick<ReadStore<KubeObject>, 'byIndex'>;

export const isPodOfJob = (pod: Pod, job: Job): boolean => controllerOf(pod)?.uid === job.metadata.uid;

export function isPodOfDeployment(pod: Pod, { metadata: { uid = '' } }: Deployment, replicaSets: ReplicaSets): boolean {
  const owner = controllerOf(pod);
  const between = replicaSets
    .byIndex(BY_OWNER, uid)
    .filter(({ metadata }) => metadata.namespace === pod.metadata.namespace);
  // In local mode there is none between.
  return between.length === 0 ? owner?.uid === uid : between.some(({ metadata }) => metadata.uid === owner?.uid);
}

interface OwnersOfPods {
  readonly models: { readonly store: Pick<ReadStore<EmbeddingModel>, 'get'> };
  readonly children: {
    readonly deployment: { readonly store: Pick<ReadStore<Deployment>, 'get'> };
    readonly prefetch: { readonly store: Pick<ReadStore<Job>, 'get'> };
  };
  readonly replicaSets: { readonly store: ReplicaSets };
}

/** The model that a pod serves or fetches for. */
export function modelOfPod(pod: Pod, { models, children, replicaSets }: OwnersOfPods): EmbeddingModel | undefined {
  const { namespace = '', labels } = pod.metadata;
  const model = models.store.get({ namespace, name: labels?.[LABEL_MODEL] ?? '' });
  if (model === undefined) return undefined;
  const { name } = model.metadata;
  const named = {
    deployment: children.deployment.store.get({ namespace, name: childName(name) }),
    job: children.prefetch.store.get({ namespace, name: prefetchName(name) }),
  };
  const { deployment, job } = ownChildren(named, model);
  const isOwn =
    (deployment !== undefined && isPodOfDeployment(pod, deployment, replicaSets.store)) ||
    (job !== undefined && isPodOfJob(pod, job));
  return isOwn ? model : undefined;
}
