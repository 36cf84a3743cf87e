// Registry: the tables of stored objects, their revisions and histories, and the deletion that cascades through them.
import { isDeepStrictEqual } from 'node:util';
import { ApiError } from '../../kube/client.ts';
import type { DeleteOptions } from '../../kube/client.ts';
import { deepFreeze, formatKey, keyOf, typeName } from '../../kube/types.ts';
import type { KubeObject, ObjectKey, ResourceType } from '../../kube/types.ts';
import { without } from './fields.ts';
import type { Managers } from './fields.ts';
import { createHistory } from './watch.ts';
import type { History } from './watch.ts';

export const notFound = (type: ResourceType, name: string): ApiError =>
  new ApiError({ status: 404, reason: 'NotFound', message: `${typeName(type)} "${name}" not found` });

export const conflict = (type: ResourceType, name: string, why: string): ApiError =>
  new ApiError({
    status: 409,
    reason: 'Conflict',
    message: `Operation cannot be fulfilled on ${typeName(type)} "${name}": ${why}`,
  });

export interface Stored {
  readonly object: KubeObject;
  readonly managers: Managers;
}

interface Table {
  readonly type: ResourceType;
  readonly rows: Map<string, Stored>;
  readonly history: History;
}

interface Place {
  readonly type: ResourceType;
  readonly key: ObjectKey;
}

interface Located {
  readonly type: ResourceType;
  readonly row: Stored;
}

const idOf = (type: ResourceType, key: string): string => `${typeName(type)} ${key}`;

export class Registry {
  private readonly tables = new Map<string, Table>();
  private readonly owners = new Owners<Place>();
  private readonly historyLimit: number;
  private revision = 0;

  constructor(historyLimit: number) {
    this.historyLimit = historyLimit;
  }

  resourceVersion(): string {
    return String(this.revision);
  }

  history(type: ResourceType): History {
    return this.table(type).history;
  }

  find(type: ResourceType, key: ObjectKey): Stored | undefined {
    return this.table(type).rows.get(formatKey(key));
  }

  get(type: ResourceType, key: ObjectKey): Stored {
    const row = this.find(type, key);
    if (!row) throw notFound(type, key.name);
    return row;
  }

  /** In key order. */
  list(type: ResourceType): readonly KubeObject[] {
    const rows = [...this.table(type).rows].sort(([a], [b]) => (a < b ? -1 : 1));
    return rows.map(([, { object }]) => object);
  }

  /** A write that changes nothing makes no new resourceVersion and no watch event. */
  save(type: ResourceType, next: Stored, current?: Stored): KubeObject {
    const { rows, history } = this.table(type);
    const key = formatKey(keyOf(next.object));
    if (current && sameContent(current.object, next.object)) {
      rows.set(key, { ...current, managers: next.managers });
      return current.object;
    }
    const { deletionTimestamp, finalizers = [] } = next.object.metadata;
    if (deletionTimestamp !== undefined && finalizers.length === 0) {
      this.remove(type, next.object);
      return next.object;
    }
    const object = this.stamped(next.object);
    rows.set(key, { object, managers: next.managers });
    this.owners.set(idOf(type, key), { type, key: keyOf(object) }, object, current?.object);
    const change = current ? 'MODIFIED' : 'ADDED';
    history.append({ revision: this.revision, type: change, object, previous: current?.object });
    this.collect([{ type, row: { object, managers: next.managers } }]);
    return object;
  }

  delete(type: ResourceType, key: ObjectKey, now: string, options: DeleteOptions): void {
    const current = this.get(type, key);
    const { uid } = current.object.metadata;
    if (options.uid !== undefined && options.uid !== uid) {
      throw conflict(type, key.name, `the UID in the precondition (${options.uid}) does not match (${uid ?? ''})`);
    }
    this.save(type, { ...current, object: deletionOf(current.object, now) }, current);
  }

  private remove(type: ResourceType, object: KubeObject): void {
    const { rows, history } = this.table(type);
    const key = formatKey(keyOf(object));
    const stored = rows.get(key)?.object;
    rows.delete(key);
    if (stored) this.owners.delete(idOf(type, key), stored);
    const last = this.stamped(object);
    history.append({ revision: this.revision, type: 'DELETED', object: last, previous: object });
    this.collect(this.dependents(object));
  }

  /** Deletes those whose owners are all gone. */
  private collect(candidates: readonly Located[]): void {
    for (const candidate of candidates) {
      const { metadata } = candidate.row.object;
      if (this.owners.isOrphan(candidate.row.object)) {
        this.deleteLocated(candidate, metadata.deletionTimestamp ?? metadata.creationTimestamp ?? '');
      }
    }
  }

  private deleteLocated({ type, row }: Located, now: string): void {
    const key = keyOf(row.object);
    const current = this.find(type, key);
    if (current?.object.metadata.uid === row.object.metadata.uid) this.delete(type, key, now, {});
  }

  private stamped(object: KubeObject): KubeObject {
    this.revision += 1;
    return deepFreeze({ ...object, metadata: { ...object.metadata, resourceVersion: String(this.revision) } });
  }

  private dependents(owner: KubeObject): readonly Located[] {
    return this.owners.dependentsOf(owner).map(({ type, key }) => ({ type, row: this.get(type, key) }));
  }

  private table(type: ResourceType): Table {
    const name = typeName(type);
    const known = this.tables.get(name);
    if (known) return known;
    const table = { type, rows: new Map(), history: createHistory(this.historyLimit) };
    this.tables.set(name, table);
    return table;
  }
}

/** The object marked for deletion; it is gone for good once no finalizer is left. */
function deletionOf(object: KubeObject, now: string): KubeObject {
  const { deletionTimestamp, generation = 1 } = object.metadata;
  if (deletionTimestamp !== undefined) return object;
  return { ...object, metadata: { ...object.metadata, deletionTimestamp: now, generation: generation + 1 } };
}

/** Equal but for the resourceVersion: such a write is no change at all. */
const sameContent = (a: KubeObject, b: KubeObject): boolean =>
  isDeepStrictEqual(
    { ...a, metadata: without({ ...a.metadata }, ['resourceVersion']) },
    { ...b, metadata: without({ ...b.metadata }, ['resourceVersion']) },
  );

// Owners: who owns whom, kept at every write so that a deletion need not look at everything

/** @typeParam P where an object is stored */
class Owners<P> {
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
