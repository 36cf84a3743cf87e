// Keys: the namespace/name by which stores, queues and requests name an object, and the name of a resource type.
import type { KubeObject, ObjectKey, ResourceType } from './types.ts';

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
