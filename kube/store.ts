// ObjectStore: an indexed cache of deep-frozen objects.
import { deepFreeze } from './freeze.ts';
import { formatKey, keyOf } from './key.ts';
import type { KubeObject, ObjectKey } from './types.ts';

/** Names under which an object can be found again; by index name. */
export type Indexers<T> = Readonly<Record<string, (object: T) => readonly string[]>>;

export interface ReadStore<T extends KubeObject> {
  get(key: ObjectKey): T | undefined;
  list(): readonly T[];
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
