// A claim that is bound to a folder of the cluster's nodes, made by hand: the test cluster provisions nothing.
import type { Cluster } from './cluster.ts';

interface Place {
  readonly name: string;
  readonly namespace: string;
  /** On the node; it need not exist. */
  readonly path: string;
}

/** The volume and its claim, both called `name`, to be applied. */
export async function folderClaim(cluster: Cluster, { name, namespace, path }: Place): Promise<readonly object[]> {
  const { items } = await cluster.get<{ items: { metadata: { name: string } }[] }>('nodes');
  const values = items.map(({ metadata }) => metadata.name);
  const terms = [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values }] }];
  const claim = { accessModes: ['ReadWriteMany'], resources: { requests: { storage: '1Gi' } }, storageClassName: '' };
  const volume = {
    capacity: { storage: '1Gi' },
    accessModes: claim.accessModes,
    claimRef: { name, namespace },
    local: { path },
    nodeAffinity: { required: { nodeSelectorTerms: terms } },
    persistentVolumeReclaimPolicy: 'Retain',
  };
  return [
    { apiVersion: 'v1', kind: 'PersistentVolume', metadata: { name }, spec: volume },
    { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name, namespace }, spec: claim },
  ];
}
