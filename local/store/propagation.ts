// Deletion propagation: what owner references and finalizers mean when an object goes.
import type { KubeObject } from '../../kube/types.ts';

export const FOREGROUND = 'foregroundDeletion';

export function withoutOwner(object: KubeObject, owner: KubeObject): KubeObject {
  const { ownerReferences = [], ...metadata } = object.metadata;
  const others = ownerReferences.filter(({ uid }) => uid !== owner.metadata.uid);
  return { ...object, metadata: others.length > 0 ? { ...metadata, ownerReferences: others } : metadata };
}

export function withoutFinalizer(object: KubeObject, name: string): KubeObject {
  const { finalizers = [], ...metadata } = object.metadata;
  const others = finalizers.filter((finalizer) => finalizer !== name);
  return { ...object, metadata: others.length > 0 ? { ...metadata, finalizers: others } : metadata };
}

/** The object marked for deletion; it is gone for good once no finalizer is left. */
export function deletionOf(object: KubeObject, now: string, foreground: boolean): KubeObject {
  const { finalizers = [], deletionTimestamp = now, generation = 1 } = object.metadata;
  const waits = foreground && !finalizers.includes(FOREGROUND) ? [...finalizers, FOREGROUND] : finalizers;
  const first = object.metadata.deletionTimestamp === undefined;
  const metadata = { ...object.metadata, deletionTimestamp, generation: first ? generation + 1 : generation };
  return { ...object, metadata: waits.length > 0 ? { ...metadata, finalizers: waits } : metadata };
}
