// Informer: a local, indexed copy of a list on the server, and the news of every change to it.
import type { KubeClient, Selection } from './client.ts';
import type { Environment } from './clock.ts';
import { runReflector } from './reflector.ts';
import type { Sink } from './reflector.ts';
import { deepFreeze, formatKey, keyOf, typeName } from './types.ts';
import type { KubeObject, ObjectKey, ResourceType } from './types.ts';

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

/** Namespaces to look at; the set may change. */
export interface NamespaceSet {
  /** Undefined until it is known. */
  readonly current: () => readonly string[] | undefined;
  readonly onChange: (changed: () => void) => () => void;
}

/** One that stays as it is. */
export const fixedNamespaces = (names: readonly string[]): NamespaceSet => ({
  current: () => names,
  onChange: () => () => undefined,
});

export interface InformerOptions<T extends KubeObject> extends Selection {
  /** A list and a watch for each of them, instead of one for all. */
  readonly namespaces?: NamespaceSet | undefined;
  readonly indexers?: Indexers<T>;
  /** Every so often all objects are delivered again, from the cache: no API call. Off when omitted. */
  readonly resyncMs?: number;
  /** Between two attempts to reach the server, before jitter; default: half a minute. */
  readonly maxPauseMs?: number | undefined;
  /** Drops what nobody reads before an object is cached, to save memory. */
  readonly transform?: (object: T) => T;
}

const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

/** For `transform`: `managedFields` and kubectl's copy of what it applied are often most of an object, and nobody here reads them. */
export function withoutHistory<T extends KubeObject>(object: T): T {
  const { annotations } = object.metadata;
  const kept =
    annotations?.[LAST_APPLIED] === undefined
      ? annotations
      : Object.fromEntries(Object.entries(annotations).filter(([name]) => name !== LAST_APPLIED));
  const metadata = { ...object.metadata, managedFields: undefined, ...(kept && { annotations: kept }) };
  return { ...object, metadata };
}

export function createInformer<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType<T>,
  environment: Environment,
  options: InformerOptions<T> = {},
): Informer<T> {
  const { indexers, resyncMs, maxPauseMs, namespaces, transform, ...selection } = options;
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

  function set(next: T): void {
    const old = store.set(next);
    if (old && old.metadata.uid !== next.metadata.uid) {
      // Deleted and made anew while nobody watched.
      notify(old, undefined);
      notify(undefined, next);
    } else if (old?.metadata.resourceVersion !== next.metadata.resourceVersion) notify(old, next);
  }

  function remove(object: T): void {
    if (store.delete(keyOf(object))) notify(object, undefined);
  }

  function markSynced(): void {
    hasSynced = true;
    synced.resolve(undefined);
  }

  const inNamespace = (namespace: string | undefined): readonly T[] =>
    store.list().filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace);

  const sinkOf = (namespace: string | undefined, listed: () => void, signal: AbortSignal): Sink<T> => ({
    replace(items) {
      if (signal.aborted) return;
      const present = new Set(items.map((object) => formatKey(keyOf(object))));
      for (const object of inNamespace(namespace)) if (!present.has(formatKey(keyOf(object)))) remove(object);
      for (const object of items) set(object);
      listed();
    },
    apply({ type: change, object }) {
      if (signal.aborted) return;
      if (change === 'DELETED') remove(object);
      else set(object);
    },
  });

  const reflect = async (namespace: string | undefined, listed: () => void, signal: AbortSignal): Promise<void> => {
    const within = namespace === undefined ? selection : { ...selection, namespace };
    const source = { client, type, selection: within, maxPauseMs, ...(transform && { transform }) };
    await runReflector(source, sinkOf(namespace, listed, signal), environment, signal);
  };

  /** A reflector for each namespace, for as long as it belongs to the set; what leaves is gone to whoever looks. */
  async function reflectEach(set: NamespaceSet, signal: AbortSignal): Promise<void> {
    const running = new Map<string, { readonly stop: AbortController; readonly done: Promise<void> }>();
    const unlisted = new Set<string>();
    const check = (): void => {
      if (set.current() !== undefined && unlisted.size === 0) markSynced();
    };
    const start = (namespace: string): void => {
      const stop = new AbortController();
      unlisted.add(namespace);
      const listed = (): void => {
        unlisted.delete(namespace);
        check();
      };
      const done = reflect(namespace, listed, AbortSignal.any([signal, stop.signal]));
      running.set(namespace, { stop, done });
    };
    const end = (namespace: string): void => {
      running.get(namespace)?.stop.abort();
      running.delete(namespace);
      unlisted.delete(namespace);
      for (const object of inNamespace(namespace)) remove(object);
    };
    const follow = (): void => {
      const wanted = new Set(set.current());
      for (const namespace of [...running.keys()]) if (!wanted.has(namespace)) end(namespace);
      for (const namespace of wanted) if (!running.has(namespace)) start(namespace);
      check();
    };
    const unsubscribe = set.onChange(follow);
    const aborted = Promise.withResolvers<undefined>();
    if (signal.aborted) aborted.resolve(undefined);
    else signal.addEventListener('abort', () => aborted.resolve(undefined), { once: true });
    follow();
    await aborted.promise;
    unsubscribe();
    await Promise.all([...running.values()].map(async ({ done }) => await done));
  }

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
    async run(signal) {
      startResync(signal);
      await (namespaces === undefined ? reflect(undefined, markSynced, signal) : reflectEach(namespaces, signal));
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

/** Names under which an object can be found again; by index name. */
export type Indexers<T> = Readonly<Record<string, (object: T) => readonly string[]>>;

export interface ReadStore<T extends KubeObject> {
  get(key: ObjectKey): T | undefined;
  list(): readonly T[];
  /** With its key, as `formatKey` makes it. */
  entries(): Iterable<readonly [key: string, object: T]>;
  byIndex(index: string, value: string): readonly T[];
  readonly size: number;
}

export class ObjectStore<T extends KubeObject> implements ReadStore<T> {
  private readonly objects = new Map<string, T>();
  private readonly indexers: Indexers<T>;
  private readonly indices = new Map<string, Map<string, Set<string>>>();

  constructor(indexers: Indexers<T> = {}) {
    this.indexers = indexers;
    for (const index of Object.keys(indexers)) this.indices.set(index, new Map());
  }

  get size(): number {
    return this.objects.size;
  }

  get(key: ObjectKey): T | undefined {
    return this.objects.get(formatKey(key));
  }

  list(): readonly T[] {
    return [...this.objects.values()];
  }

  entries(): Iterable<readonly [key: string, object: T]> {
    return this.objects;
  }

  byIndex(index: string, value: string): readonly T[] {
    const entries = this.indices.get(index);
    if (!entries) throw new RangeError(`No index named ${index}`);
    return [...(entries.get(value) ?? [])].flatMap((key) => this.objects.get(key) ?? []);
  }

  /** Returns what was there before. */
  set(object: T): T | undefined {
    const key = formatKey(keyOf(object));
    const old = this.objects.get(key);
    if (old) this.unindex(key, old);
    this.objects.set(key, deepFreeze(object));
    for (const [entries, values] of this.entriesOf(object)) {
      for (const value of values) {
        const keys = entries.get(value);
        if (keys) keys.add(key);
        else entries.set(value, new Set([key]));
      }
    }
    return old;
  }

  delete(key: ObjectKey): T | undefined {
    const name = formatKey(key);
    const old = this.objects.get(name);
    if (old) this.unindex(name, old);
    this.objects.delete(name);
    return old;
  }

  private unindex(key: string, object: T): void {
    for (const [entries, values] of this.entriesOf(object)) {
      for (const value of values) {
        const keys = entries.get(value);
        keys?.delete(key);
        if (keys?.size === 0) entries.delete(value);
      }
    }
  }

  private *entriesOf(object: T): Generator<[Map<string, Set<string>>, readonly string[]]> {
    for (const [index, indexer] of Object.entries(this.indexers)) {
      const entries = this.indices.get(index);
      if (entries) yield [entries, indexer(object)];
    }
  }
}
