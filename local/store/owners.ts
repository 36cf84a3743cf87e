// Owners: who owns whom among the stored objects, kept at every write so that a deletion need not look at everything.
import type { KubeObject } from '../../kube/types.ts';

/** @typeParam P where an object is stored */
export class Owners<P> {
  private readonly uids = new Set<string>();
  private readonly dependents = new Map<string, Map<string, P>>();

  /** @param id of the place */
  set(id: string, place: P, object: KubeObject, before: KubeObject | undefined): void {
    if (before) this.delete(id, before);
    const { uid, ownerReferences = [] } = object.metadata;
    if (uid !== undefined) this.uids.add(uid);
    for (const owner of ownerReferences) {
      const places = this.dependents.get(owner.uid);
      if (places) places.set(id, place);
      else this.dependents.set(owner.uid, new Map([[id, place]]));
    }
  }

  delete(id: string, { metadata }: KubeObject): void {
    if (metadata.uid !== undefined) this.uids.delete(metadata.uid);
    for (const { uid } of metadata.ownerReferences ?? []) {
      const places = this.dependents.get(uid);
      places?.delete(id);
      if (places?.size === 0) this.dependents.delete(uid);
    }
  }

  dependentsOf({ metadata }: KubeObject): readonly P[] {
    return [...(this.dependents.get(metadata.uid ?? '')?.values() ?? [])];
  }

  /** All of its owners are gone: it is the garbage collector's to delete. */
  isOrphan({ metadata: { ownerReferences = [] } }: KubeObject): boolean {
    return ownerReferences.length > 0 && !ownerReferences.some(({ uid }) => this.uids.has(uid));
  }
}
