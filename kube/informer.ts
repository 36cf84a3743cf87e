// Informer: a local, indexed copy of a list on the server, and the news of every change to it.
import type { KubeClient } from './client.ts';
import { formatKey, keyOf, typeName } from './key.ts';
import { runReflector } from './reflector.ts';
import type { Environment, Selection, Sink } from './reflector.ts';
import { ObjectStore } from './store.ts';
import type { Indexers, ReadStore } from './store.ts';
import type { KubeObject, ResourceType } from './types.ts';

/** `old` is undefined for a new object, `next` for one that is gone; a resync passes the same object twice. */
export type ChangeHandler<T extends KubeObject> = (old: T | undefined, next: T | undefined) => void;

export interface Informer<T extends KubeObject = KubeObject> {
  readonly type: ResourceType<T>;
  readonly store: ReadStore<T>;
  /** True once a first full list has been delivered to the handlers. */
  hasSynced(): boolean;
  /** Resolves when `hasSynced` becomes true; rejects with the signal's reason. */
  whenSynced(signal: AbortSignal): Promise<void>;
  /** What is in the store already is delivered as new at once. The returned function removes the handler. */
  onChange(handler: ChangeHandler<T>): () => void;
  /** Runs until the signal aborts; once per informer. */
  run(signal: AbortSignal): Promise<void>;
}

export interface InformerOptions<T extends KubeObject> extends Selection {
  readonly indexers?: Indexers<T>;
  /** Every so often all objects are delivered again, from the cache: no API call. Off when omitted. */
  readonly resyncMs?: number;
  /** Drops what nobody reads before an object is cached, to save memory. */
  readonly transform?: (object: T) => T;
}

export function createInformer<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType<T>,
  environment: Environment,
  options: InformerOptions<T> = {},
): Informer<T> {
  const { indexers, resyncMs, transform = (object: T) => object, ...selection } = options;
  const store = new ObjectStore<T>(indexers);
  const handlers = new Set<ChangeHandler<T>>();
  const synced = Promise.withResolvers<undefined>();
  let hasSynced = false;

  function call(handler: ChangeHandler<T>, old: T | undefined, next: T | undefined): void {
    try {
      handler(old, next);
    } catch (error) {
      environment.log.error({ resource: typeName(type), error }, 'A change handler failed');
    }
  }

  function notify(old: T | undefined, next: T | undefined): void {
    for (const handler of [...handlers]) call(handler, old, next);
  }

  function set(object: T): void {
    const next = transform(object);
    const old = store.set(next);
    if (old && old.metadata.uid !== next.metadata.uid) {
      // Deleted and made anew while nobody watched.
      notify(old, undefined);
      notify(undefined, next);
    } else if (old?.metadata.resourceVersion !== next.metadata.resourceVersion) notify(old, next);
  }

  function remove(object: T): void {
    if (store.delete(keyOf(object))) notify(transform(object), undefined);
  }

  const sink: Sink<T> = {
    replace(items) {
      const present = new Set(items.map((object) => formatKey(keyOf(object))));
      for (const object of store.list()) if (!present.has(formatKey(keyOf(object)))) remove(object);
      for (const object of items) set(object);
      hasSynced = true;
      synced.resolve(undefined);
    },
    apply: ({ type: change, object }) => (change === 'DELETED' ? remove(object) : set(object)),
  };

  function startResync(signal: AbortSignal): void {
    if (resyncMs === undefined) return;
    let cancel = (): void => undefined;
    const arm = (): void => {
      cancel = environment.clock.setTimeout(() => {
        for (const object of store.list()) notify(object, object);
        arm();
      }, resyncMs);
    };
    arm();
    signal.addEventListener('abort', () => cancel(), { once: true });
  }

  return {
    type,
    store,
    hasSynced: () => hasSynced,
    whenSynced: async (signal) => await unlessAborted(synced.promise, signal),
    onChange(handler) {
      for (const object of store.list()) call(handler, undefined, object);
      handlers.add(handler);
      return () => void handlers.delete(handler);
    },
    run(signal) {
      startResync(signal);
      return runReflector({ client, type, selection }, sink, environment, signal);
    },
  };
}

async function unlessAborted(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason as Error);
  signal.addEventListener('abort', abort);
  try {
    await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
