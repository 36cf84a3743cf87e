// The Kubernetes object model this program relies on: metadata, resource types, list and watch shapes, and how objects are named.

/** `metadata.ownerReferences[]`. */
export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** The parts of `metadata` that kubembed reads or writes. Objects read from a server are frozen: never mutate them. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  /** Opaque: compare for equality only, never as a number. */
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
  readonly finalizers?: readonly string[];
}

export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/**
 * One row of the resource table: how a kind is addressed. `T` ties the address to the type of its objects.
 * There is no discovery: what is not in a table is not used.
 */
export interface ResourceType<T extends KubeObject = KubeObject> {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Phantom: never set; carries `T`. */
  readonly _object?: T;
}

/** Namespace and name of an object; `namespace` is `''` for cluster-scoped kinds. */
export interface ObjectKey {
  readonly namespace: string;
  readonly name: string;
}

export interface KubeList<T extends KubeObject> {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  readonly items: readonly T[];
}

export type WatchEvent<T extends KubeObject> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  | { readonly type: 'BOOKMARK'; readonly object: { readonly metadata: BookmarkMeta } };

type BookmarkMeta = Pick<ObjectMeta, 'annotations'> & { readonly resourceVersion: string };

export const INITIAL_EVENTS_END = 'k8s.io/initial-events-end';

/** All that there was when the watch began has been told. */
export const isInitialEnd = <T extends KubeObject>({ type, object }: WatchEvent<T>): boolean =>
  type === 'BOOKMARK' && object.metadata.annotations?.[INITIAL_EVENTS_END] === 'true';

/** Who made it and answers for it: there is one at most. */
export const controllerOf = ({ metadata }: Pick<KubeObject, 'metadata'>): OwnerReference | undefined =>
  metadata.ownerReferences?.find(({ controller }) => controller === true);

/** Where a namespaced object without `metadata.namespace` goes. */
export const DEFAULT_NAMESPACE = 'default';

export const keyOf = (object: Pick<KubeObject, 'metadata'>): ObjectKey => ({
  namespace: object.metadata.namespace ?? '',
  name: object.metadata.name,
});

/** `namespace/name`, or `name` for a cluster-scoped object; as client-go's MetaNamespaceKeyFunc. */
export const formatKey = ({ namespace, name }: ObjectKey): string => (namespace ? `${namespace}/${name}` : name);

export function parseKey(key: string): ObjectKey {
  const slash = key.indexOf('/');
  return { namespace: key.slice(0, Math.max(slash, 0)), name: key.slice(slash + 1) };
}

/** The key under which an object of this type is written: scope decides, not the caller's metadata. */
export function targetKey(
  type: ResourceType,
  metadata: { readonly name: string; readonly namespace?: string },
): ObjectKey {
  return { namespace: type.namespaced ? (metadata.namespace ?? DEFAULT_NAMESPACE) : '', name: metadata.name };
}

/** `plural.group`, as in CRD names and RBAC messages. */
export const typeName = ({ group, plural }: ResourceType): string => (group ? `${plural}.${group}` : plural);

export const apiVersionOf = ({ group, version }: ResourceType): string => (group ? `${group}/${version}` : version);

/** So that an object that many readers share can't be changed by one of them. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const child of Object.values(value)) deepFreeze(child);
  return value;
}
