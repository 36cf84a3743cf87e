// What the server alone decides about an object: identity, generation, and which parts a write may touch.
import { isDeepStrictEqual } from 'node:util';
import { apiVersionOf } from '../../kube/types.ts';
import type { KubeObject, ObjectKey, ResourceType } from '../../kube/types.ts';
import { fieldsOf, without } from './json.ts';
import type { Fields } from './json.ts';

export type Subresource = 'status' | undefined;

/** Everything whose change is a new generation. */
const intent = (object: Fields): Fields => without(object, ['metadata', 'status', 'apiVersion', 'kind']);

export interface Identity {
  readonly uid: string;
  readonly creationTimestamp: string;
}

/** A new object; its status is not the creator's to set. */
export function initial(type: ResourceType, key: ObjectKey, object: Fields, identity: Identity): KubeObject {
  const metadata = {
    ...without(fieldsOf(object['metadata']), ['deletionTimestamp', 'resourceVersion', 'managedFields', 'namespace']),
    name: key.name,
    ...(key.namespace === '' ? {} : { namespace: key.namespace }),
    ...identity,
    generation: 1,
  };
  return { ...without(object, ['status']), apiVersion: apiVersionOf(type), kind: type.kind, metadata };
}

/** `next` as it may follow `current`: a status write changes status alone, any other write all but status. */
export function successor(current: KubeObject, next: Fields, subresource: Subresource): KubeObject {
  const { name, uid, creationTimestamp, namespace, deletionTimestamp, generation = 1 } = current.metadata;
  const old: Fields = { ...current };
  if (subresource === 'status') {
    const rest = without(old, ['status']);
    return ('status' in next ? { ...rest, status: next['status'] } : rest) as unknown as KubeObject;
  }
  const changed = !isDeepStrictEqual(intent(old), intent(next));
  const metadata = {
    ...without(fieldsOf(next['metadata']), ['managedFields', 'resourceVersion', 'deletionTimestamp', 'namespace']),
    name,
    ...(namespace === undefined ? {} : { namespace }),
    uid,
    creationTimestamp,
    generation: changed ? generation + 1 : generation,
    ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
  };
  return {
    ...without(next, ['status']),
    apiVersion: current.apiVersion,
    kind: current.kind,
    metadata,
    ...('status' in old ? { status: old['status'] } : {}),
  } as KubeObject;
}

/** Equal but for the resourceVersion: such a write is no change at all. */
export const sameContent = (a: KubeObject, b: KubeObject): boolean =>
  isDeepStrictEqual(
    { ...a, metadata: without({ ...a.metadata }, ['resourceVersion']) },
    { ...b, metadata: without({ ...b.metadata }, ['resourceVersion']) },
  );
