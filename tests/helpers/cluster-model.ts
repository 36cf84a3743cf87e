// One model with two replicas on a real cluster, and what its tests look at and do to its pods.
import type { Deployment, Pod } from '../../kube/resources.ts';
import { eventually } from './cluster.ts';
import type { Cluster } from './cluster.ts';

/** The release's own: there an EmbeddingModel takes the place of the list's. */
export const NAMESPACE = 'kubembed';
export const MODEL = 'org/tiny';
const NAME = 'tiny';

const alive = (pods: readonly Pod[]): readonly Pod[] =>
  pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined);

/** `cpu` is what a replica asks for: another number is another pod template. */
export const pair = (cpu: string): object => ({
  apiVersion: 'kubembed.dev/v1alpha1',
  kind: 'EmbeddingModel',
  metadata: { name: NAME, namespace: NAMESPACE },
  spec: {
    model: MODEL,
    scaling: { minReplicas: 2, maxReplicas: 2 },
    resources: { requests: { cpu, memory: '64Mi' }, limits: { cpu: '1', memory: '512Mi' } },
  },
});

export async function livePods(cluster: Cluster, selector: string, namespace = NAMESPACE): Promise<readonly Pod[]> {
  return alive((await cluster.get<{ items: Pod[] }>('pods', '-n', namespace, '-l', selector)).items);
}

export async function replicasOf(cluster: Cluster): Promise<readonly Pod[]> {
  return await livePods(cluster, `kubembed.dev/model=${NAME}`);
}

export async function componentPods(cluster: Cluster, component: 'router' | 'operator'): Promise<readonly Pod[]> {
  return await livePods(cluster, `app.kubernetes.io/component=${component}`, 'kubembed');
}

const isReady = ({ status }: Pod): boolean =>
  (status?.conditions ?? []).some((one) => one.type === 'Ready' && one.status === 'True');

/** Read from the pods too: the Deployment's numbers are old for a moment after each change, or for as long as the API server is away. */
export async function twoReady(cluster: Cluster): Promise<void> {
  await eventually('two ready replicas and no other', async () => {
    const { metadata, status } = await cluster.get<Deployment>('deploy', `em-${NAME}`, '-n', NAMESPACE);
    const isSeen = status?.observedGeneration === metadata.generation;
    const settled = isSeen && status?.readyReplicas === 2 && status.replicas === 2 && status.updatedReplicas === 2;
    const pods = await replicasOf(cluster);
    return settled && pods.length === 2 && pods.every(isReady) ? true : undefined;
  });
}

/** All the pods of before are gone and two new ones are ready. */
export async function replaced(cluster: Cluster, before: readonly Pod[]): Promise<void> {
  const old = new Set(before.map(({ metadata }) => metadata.uid));
  await eventually('new replicas only', async () =>
    (await replicasOf(cluster)).every(({ metadata }) => !old.has(metadata.uid)) ? true : undefined,
  );
  await twoReady(cluster);
}

export async function deletePod(cluster: Cluster, ...flags: readonly string[]): Promise<void> {
  const [pod] = await replicasOf(cluster);
  await cluster.kubectl(['delete', 'pod', '-n', NAMESPACE, pod!.metadata.name, ...flags]);
  await twoReady(cluster);
}

/** Of operator or router. */
export async function rolledOut(cluster: Cluster, component: 'router' | 'operator'): Promise<void> {
  await cluster.kubectl(['rollout', 'status', '-n', 'kubembed', `deploy/kubembed-${component}`, '--timeout=180s']);
  await eventually(`two ${component}s and no other`, async () => {
    const selector = `app.kubernetes.io/component=${component}`;
    const { items } = await cluster.get<{ items: Pod[] }>('pods', '-n', 'kubembed', '-l', selector);
    return items.length === 2 ? true : undefined;
  });
}
