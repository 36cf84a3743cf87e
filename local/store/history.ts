// The watch cache: a bounded log of changes that watchers replay from a resourceVersion and then follow.
import type { KubeObject, WatchEvent } from '../../kube/types.ts';

export interface Change {
  readonly revision: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: KubeObject;
  readonly previous: KubeObject | undefined;
}

export interface History {
  append(change: Change): void;
  /** The first change after this revision; only meaningful for revisions not before `oldest()`. */
  after(revision: number): Change | undefined;
  /** The oldest revision a watch may start from. */
  oldest(): number;
  /** Called after each append; the returned function unsubscribes. */
  subscribe(listener: () => void): () => void;
}

export function createHistory(limit: number): History {
  let changes: Change[] = [];
  let oldest = 0;
  const listeners = new Set<() => void>();
  return {
    append(change) {
      changes.push(change);
      if (changes.length > 2 * limit) {
        changes = changes.slice(-limit);
        oldest = (changes[0]?.revision ?? change.revision) - 1;
      }
      for (const listener of [...listeners]) listener();
    },
    after: (revision) => changes.find((change) => change.revision > revision),
    oldest: () => oldest,
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** The change as a watcher with this selection sees it: objects enter and leave a selection by being modified. */
export function seenBy(selected: (object: KubeObject) => boolean, change: Change): readonly WatchEvent<KubeObject>[] {
  const was = change.previous !== undefined && selected(change.previous);
  const is = change.type !== 'DELETED' && selected(change.object);
  if (is) return [{ type: was ? 'MODIFIED' : 'ADDED', object: change.object }];
  return was ? [{ type: 'DELETED', object: change.object }] : [];
}
