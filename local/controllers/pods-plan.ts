// Which pods a Deployment needs created or deleted now: a rolling update with one surge and none unavailable. Pure.
import type { Deployment, Pod } from '../../kube/resources.ts';

export interface PodsPlan {
  /** How many pods of the current template to create. */
  readonly create: number;
  readonly remove: readonly Pod[];
}

const isReady = (pod: Pod): boolean =>
  pod.metadata.deletionTimestamp === undefined &&
  (pod.status?.conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True');

const age = (pod: Pod): string => pod.metadata.creationTimestamp ?? '';

/** Not-ready pods go first, then the youngest: what has served longest stays. */
const cheapestFirst = (a: Pod, b: Pod): number =>
  Number(isReady(a)) - Number(isReady(b)) || (age(a) < age(b) ? 1 : age(a) > age(b) ? -1 : 0);

/**
 * @param pods every pod the Deployment owns, terminating ones included
 * @param hash of the current pod template, the value of `hashLabel` on pods made from it
 */
export function planPods(deployment: Deployment, pods: readonly Pod[], hashLabel: string, hash: string): PodsPlan {
  const wanted = deployment.spec.replicas ?? 1;
  const alive = pods.filter((pod) => pod.metadata.deletionTimestamp === undefined);
  const current = alive.filter((pod) => pod.metadata.labels?.[hashLabel] === hash);
  const old = alive.filter((pod) => pod.metadata.labels?.[hashLabel] !== hash);

  const create =
    old.length === 0 ? wanted - current.length : Math.min(wanted - current.length, wanted + 1 - alive.length);
  const excess = [...current].sort(cheapestFirst).slice(0, Math.max(0, current.length - wanted));

  // An old pod may go when it serves nobody, or when the ready ones suffice without it.
  let spare = alive.filter(isReady).length - wanted;
  const replaceable = [...old].sort(cheapestFirst).filter((pod) => !isReady(pod) || spare-- > 0);
  return { create: Math.max(0, create), remove: [...excess, ...replaceable] };
}

/** `status` of the Deployment, as the real controller would report it. */
export function deploymentStatus(
  deployment: Deployment,
  pods: readonly Pod[],
  hashLabel: string,
  hash: string,
): NonNullable<Deployment['status']> {
  const alive = pods.filter((pod) => pod.metadata.deletionTimestamp === undefined);
  const updated = alive.filter((pod) => pod.metadata.labels?.[hashLabel] === hash);
  const ready = alive.filter(isReady).length;
  const wanted = deployment.spec.replicas ?? 1;
  return {
    ...(deployment.metadata.generation === undefined ? {} : { observedGeneration: deployment.metadata.generation }),
    replicas: alive.length,
    updatedReplicas: updated.length,
    readyReplicas: ready,
    availableReplicas: ready,
    conditions: [
      {
        type: 'Available',
        status: ready >= wanted ? 'True' : 'False',
        reason: ready >= wanted ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
      },
    ],
  };
}
