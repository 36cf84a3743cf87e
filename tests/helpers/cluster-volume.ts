// Claims that are bound to folders of the cluster's nodes, made by hand: the test cluster provisions nothing.
import type { Cluster } from './cluster.ts';

interface Place {
  readonly name: string;
  readonly namespace: string;
  /** On the node; it need not exist. */
  readonly path: string;
}

const SIZE = { storage: '1Gi' };

/** The volume and its claim, both called `name`, to be applied. */
const bound = ({ name, namespace }: Place, accessModes: readonly string[], source: object): readonly object[] => {
  const claim = { accessModes, resources: { requests: SIZE }, storageClassName: '', volumeName: name };
  const volume = {
    capacity: SIZE,
    accessModes,
    claimRef: { name, namespace },
    persistentVolumeReclaimPolicy: 'Retain',
    ...source,
  };
  return [
    { apiVersion: 'v1', kind: 'PersistentVolume', metadata: { name }, spec: volume },
    { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name, namespace }, spec: claim },
  ];
};

/** Of one node at a time, as a cloud's disk: it is attached to that node, by the driver that the test cluster brings. */
export const exclusiveClaim = (place: Place): readonly object[] =>
  bound(place, ['ReadWriteOnce'], { flexVolume: { driver: 'kubembed/folder', options: { path: place.path } } });

/** Of all nodes together. */
export async function folderClaim(cluster: Cluster, place: Place): Promise<readonly object[]> {
  const { items } = await cluster.get<{ items: { metadata: { name: string } }[] }>('nodes');
  const values = items.map(({ metadata }) => metadata.name);
  const terms = [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values }] }];
  const nodeAffinity = { required: { nodeSelectorTerms: terms } };
  return bound(place, ['ReadWriteMany'], { local: { path: place.path }, nodeAffinity });
}
