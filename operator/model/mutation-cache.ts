// Mutation cache: read your own writes. What a write returned stands in for the cached object until the informer has moved on.
import type { ApplyOptions, KubeClient } from '../../kube/client.ts';
import type { Clock } from '../../kube/clock.ts';
import { ifPresent, isConflict } from '../../kube/client.ts';
import { withoutHistory } from '../../kube/informer.ts';
import { formatKey, keyOf } from '../../kube/types.ts';
import type { ReadStore } from '../../kube/informer.ts';
import type { KubeObject, ObjectKey, ResourceType } from '../../kube/types.ts';
import type { Manifest } from '../manifests/manifest.ts';

interface Written {
  readonly object: KubeObject;
  /** What the cache held when we wrote. */
  readonly base: string | undefined;
  readonly cancel: () => void;
}

export interface MutationCache {
  read<T extends KubeObject>(store: ReadStore<T>, kind: string, key: ObjectKey): T | undefined;
  /** Sends a write of the object with that key and keeps the answer. */
  write(store: ReadStore<KubeObject>, key: ObjectKey, send: () => Promise<KubeObject>): Promise<void>;
  /** A name is free again. */
  forget(kind: string, key: ObjectKey): void;
  /** Tells of an object that the cache never came to know: it is to be looked at again. */
  onExpire(expired: (object: KubeObject) => void): void;
  readonly stop: () => void;
}

/** A cache that has not moved for so long will not: the object came and went between two lists. */
const EXPIRE_MS = 30_000;

export function createMutationCache(clock: Pick<Clock, 'setTimeout'>): MutationCache {
  const written = new Map<string, Written>();
  const listeners = new Set<(object: KubeObject) => void>();
  const idOf = (kind: string, key: ObjectKey): string => `${kind} ${formatKey(key)}`;
  const version = (store: ReadStore<KubeObject>, key: ObjectKey) => store.get(key)?.metadata.resourceVersion;

  function forget(id: string): void {
    written.get(id)?.cancel();
    written.delete(id);
  }

  function expire(id: string, object: KubeObject): void {
    written.delete(id);
    for (const listener of listeners) listener(object);
  }

  return {
    read<T extends KubeObject>(store: ReadStore<T>, kind: string, key: ObjectKey): T | undefined {
      const cached = store.get(key);
      const id = idOf(kind, key);
      const own = written.get(id);
      if (own === undefined) return cached;
      if (own.base === cached?.metadata.resourceVersion) return own.object as T;
      forget(id);
      return cached;
    },
    async write(store, key, send) {
      const base = version(store, key);
      const object = await send();
      const id = idOf(object.kind, key);
      forget(id);
      const now = version(store, key);
      // An apply that changed nothing; or the cache was faster than the answer, and may know of the object's end already.
      if (now === object.metadata.resourceVersion || now !== base) return;
      // When thousands are made at once, thousands stand here for half a minute.
      const kept = withoutHistory(object);
      written.set(id, { object: kept, base, cancel: clock.setTimeout(() => expire(id, kept), EXPIRE_MS) });
    },
    forget: (kind, key) => forget(idOf(kind, key)),
    onExpire: (expired) => void listeners.add(expired),
    stop: () => [...written.keys()].forEach(forget),
  };
}

export interface WriteDeps {
  readonly client: KubeClient;
  readonly written: MutationCache;
}

interface Intent {
  readonly type: ResourceType;
  readonly manifest: Manifest;
  readonly store: ReadStore<KubeObject>;
  /** The plan knows of the object: it may be applied to. */
  readonly isKnown: boolean;
}

/**
 * Applies a manifest, to an object of which nothing is known only where its name is free. The cache may be behind, and of what others make
 * it holds nothing: a forced apply would quietly take that over.
 *
 * @returns whether it was applied; if not, something has the name, or had in this moment
 */
export async function apply(
  { type, manifest, store, isKnown }: Intent,
  { client, written }: WriteDeps,
  options: ApplyOptions,
): Promise<boolean> {
  const key = keyOf(manifest);
  try {
    await written.write(store, key, async () => await client.apply(type, manifest, { ...options, ifAbsent: !isKnown }));
    return true;
  } catch (error) {
    if (isKnown || !isConflict(error)) throw error;
    return false;
  }
}

/** Deletes one object, and that very one: whoever has its name by now is left alone. */
export async function remove(
  type: ResourceType,
  object: KubeObject,
  { client, written }: WriteDeps,
  signal: AbortSignal,
): Promise<void> {
  await ifPresent(client.delete(type, keyOf(object), { signal, uid: object.metadata.uid }));
  written.forget(type.kind, keyOf(object));
}
