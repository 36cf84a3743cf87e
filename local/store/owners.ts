// Owners: who owns whom among the stored objects, kept at every write so that a deletion need not look at everything.
import type { KubeObject } from '../../kube/types.ts';
import { FOREGROUND } from './propagation.ts';

/** @typeParam P where an object is stored */
export class Owners<P> {
  private readonly uids = new Set<string>();
  private readonly dependents = new Map<string, Map<string, P>>();
  /** Owners that wait for their last dependent. */
  private readonly waiting = new Map<string, P>();

  /** @param id of the place */
  set(id: string, place: P, object: KubeObject, before: KubeObject | undefined): void {
    if (before) this.delete(id, before);
    const { uid, ownerReferences = [], finalizers = [] } = object.metadata;
    if (uid !== undefined) this.uids.add(uid);
    for (const owner of ownerReferences) {
      const places = this.dependents.get(owner.uid);
      if (places) places.set(id, place);
      else this.dependents.set(owner.uid, new Map([[id, place]]));
    }
    if (finalizers.includes(FOREGROUND)) this.waiting.set(id, place);
  }

  delete(id: string, { metadata }: KubeObject): void {
    if (metadata.uid !== undefined) this.uids.delete(metadata.uid);
    for (const { uid } of metadata.ownerReferences ?? []) {
      const places = this.dependents.get(uid);
      places?.delete(id);
      if (places?.size === 0) this.dependents.delete(uid);
    }
    this.waiting.delete(id);
  }

  dependentsOf({ metadata }: KubeObject): readonly P[] {
    return [...(this.dependents.get(metadata.uid ?? '')?.values() ?? [])];
  }

  waitingForDependents(): readonly P[] {
    return [...this.waiting.values()];
  }

  /** Has owners in name only: the garbage collector's prey. */
  isOrphan({ metadata: { ownerReferences = [] } }: KubeObject): boolean {
    return ownerReferences.length > 0 && !ownerReferences.some(({ uid }) => this.uids.has(uid));
  }
}
