// Read your own writes: what a write returned stands in for the cached object until the cache has moved on.
import type { Clock } from '../../kube/clock.ts';
import { formatKey, keyOf } from '../../kube/key.ts';
import type { KubeObject, ObjectKey } from '../../kube/types.ts';
import type { ReadStore } from '../../kube/store.ts';

interface Written {
  readonly object: KubeObject;
  /** What the cache held when we wrote. */
  readonly base: string | undefined;
  readonly at: number;
}

export interface Overlay {
  read<T extends KubeObject>(store: ReadStore<T>, kind: string, key: ObjectKey): T | undefined;
  wrote(store: ReadStore<KubeObject>, object: KubeObject): void;
  /** A name is free again. */
  forget(kind: string, key: ObjectKey): void;
}

/** A cache that has not moved for so long will not: the object came and went between two lists. */
const STALE_MS = 30_000;

export function createOverlay(clock: Pick<Clock, 'now'>): Overlay {
  const written = new Map<string, Written>();
  const idOf = (kind: string, key: ObjectKey): string => `${kind} ${formatKey(key)}`;
  return {
    read<T extends KubeObject>(store: ReadStore<T>, kind: string, key: ObjectKey): T | undefined {
      const cached = store.get(key);
      const id = idOf(kind, key);
      const own = written.get(id);
      if (own === undefined) return cached;
      if (own.base === cached?.metadata.resourceVersion && clock.now() - own.at < STALE_MS) return own.object as T;
      written.delete(id);
      return cached;
    },
    wrote(store, object) {
      const key = keyOf(object);
      const base = store.get(key)?.metadata.resourceVersion;
      // The answer to an apply that changed nothing, or a cache that was faster.
      if (base === object.metadata.resourceVersion) return;
      written.set(idOf(object.kind, key), { object, base, at: clock.now() });
    },
    forget: (kind, key) => void written.delete(idOf(kind, key)),
  };
}
