// The Deployment controller of local mode: makes and deletes pods as the plan says, and reports status.
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { ifPresent } from '../../kube/client.ts';
import type { KubeClient } from '../../kube/client.ts';
import { DEPLOYMENTS, PODS } from '../../kube/resources.ts';
import type { Deployment, Pod } from '../../kube/resources.ts';
import { POD_FINALIZER, TEMPLATE_HASH_LABEL } from '../names.ts';
import { deploymentStatus, planPods } from './pods-plan.ts';

const templateHash = ({ spec }: Deployment): string =>
  createHash('sha256').update(JSON.stringify(spec.template)).digest('hex').slice(0, 10);

const isOwnedBy = (pod: Pod, deployment: Deployment): boolean =>
  (pod.metadata.ownerReferences ?? []).some(({ uid }) => uid === deployment.metadata.uid);

function podFrom(deployment: Deployment, hash: string, suffix: string): Pod {
  const { name, namespace, uid } = deployment.metadata;
  const { metadata, spec } = deployment.spec.template;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${name}-${hash}-${suffix}`,
      ...(namespace === undefined ? {} : { namespace }),
      labels: { ...metadata.labels, [TEMPLATE_HASH_LABEL]: hash },
      finalizers: [POD_FINALIZER],
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name, uid: uid ?? '', controller: true }],
    },
    spec,
  };
}

export interface DeploymentsDeps {
  readonly client: KubeClient;
  /** Five characters, never the same twice. */
  readonly suffix: () => string;
}

async function reconcileDeployment(deployment: Deployment, pods: readonly Pod[], deps: DeploymentsDeps): Promise<void> {
  const { client, suffix } = deps;
  const { name, namespace = '', deletionTimestamp } = deployment.metadata;
  if (deletionTimestamp !== undefined) return;
  const hash = templateHash(deployment);
  const owned = pods.filter((pod) => isOwnedBy(pod, deployment));
  const { create, remove } = planPods(deployment, owned, TEMPLATE_HASH_LABEL, hash);
  for (let made = 0; made < create; made++) await client.create(PODS, podFrom(deployment, hash, suffix()));
  for (const pod of remove) await client.delete(PODS, { namespace, name: pod.metadata.name });
  const status = deploymentStatus(deployment, owned, TEMPLATE_HASH_LABEL, hash);
  if (!isDeepStrictEqual({ ...deployment.status }, status))
    await client.patch(DEPLOYMENTS, { namespace, name }, { status }, { subresource: 'status' });
}

/** One pass over everything; what vanished meanwhile is left to the next pass. */
export async function reconcileDeployments(
  deployments: readonly Deployment[],
  pods: readonly Pod[],
  deps: DeploymentsDeps,
): Promise<void> {
  for (const deployment of deployments) await ifPresent(reconcileDeployment(deployment, pods, deps));
}
