// What a watch sees: which objects are selected, the history of their changes, and how it is replayed and followed.
import { ApiError } from '../../kube/client.ts';
import type { Selection, WatchOptions } from '../../kube/client.ts';
import type { Clock } from '../../kube/clock.ts';
import { INITIAL_EVENTS_END } from '../../kube/types.ts';
import type { KubeObject, ResourceType, WatchEvent } from '../../kube/types.ts';
import { fieldsOf } from './fields.ts';

// Label and field selectors, parsed to predicates

type Match = (values: (name: string) => string | undefined) => boolean;

const SET = /^(\S+)\s+(in|notin)\s*\(([^)]*)\)$/;
const EQUALITY = /^([^=!\s]+)\s*(==|=|!=)\s*(\S*)$/;

function requirement(text: string): Match {
  const set = SET.exec(text);
  if (set) {
    const [, name = '', operator, list = ''] = set;
    const values = new Set(list.split(',').map((value) => value.trim()));
    return operator === 'in' ? (get) => values.has(get(name) ?? '\0') : (get) => !values.has(get(name) ?? '\0');
  }
  const equality = EQUALITY.exec(text);
  if (equality) {
    const [, name = '', operator, value] = equality;
    return operator === '!=' ? (get) => get(name) !== value : (get) => get(name) === value;
  }
  return text.startsWith('!') ? (get) => get(text.slice(1)) === undefined : (get) => get(text) !== undefined;
}

/** Splits at commas outside parentheses. */
const requirements = (selector: string): readonly Match[] =>
  selector
    .split(/,(?![^(]*\))/)
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(requirement);

function fieldAt(object: KubeObject, path: string): string | undefined {
  let value: unknown = object;
  for (const name of path.split('.')) value = fieldsOf(value)[name];
  return typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value);
}

export function selects({ namespace, labelSelector, fieldSelector }: Selection): (object: KubeObject) => boolean {
  const labels = requirements(labelSelector ?? '');
  const fields = requirements(fieldSelector ?? '');
  return (object) =>
    (namespace === undefined || namespace === '' || object.metadata.namespace === namespace) &&
    labels.every((match) => match((name) => object.metadata.labels?.[name])) &&
    fields.every((match) => match((path) => fieldAt(object, path)));
}

// History: a bounded log of changes

interface Change {
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
function seenBy(selected: (object: KubeObject) => boolean, change: Change): readonly WatchEvent<KubeObject>[] {
  const was = change.previous !== undefined && selected(change.previous);
  const is = change.type !== 'DELETED' && selected(change.object);
  if (is) return [{ type: was ? 'MODIFIED' : 'ADDED', object: change.object }];
  return was ? [{ type: 'DELETED', object: change.object }] : [];
}

export const expired = (resourceVersion: string, oldest: number): ApiError =>
  new ApiError({
    status: 410,
    reason: 'Expired',
    message: `too old resource version: ${resourceVersion} (${oldest})`,
  });

// Watches

const BOOKMARK_INTERVAL_MS = 60_000;

export interface Watched {
  readonly clock: Clock;
  resourceVersion(): string;
  list(type: ResourceType): readonly KubeObject[];
  history(type: ResourceType): History;
}

/** Replays what happened since a resourceVersion, then follows until time is up. */
export async function* watchStore(
  store: Watched,
  type: ResourceType,
  options: WatchOptions,
): AsyncGenerator<WatchEvent<KubeObject>> {
  const selected = selects(options);
  const history = store.history(type);
  const due = { bookmark: false, end: false };
  let news = Promise.withResolvers<undefined>();
  const notify = (): void => news.resolve(undefined);
  const stops = [
    history.subscribe(notify),
    every(store.clock, BOOKMARK_INTERVAL_MS, () => {
      due.bookmark = true;
      notify();
    }),
    store.clock.setTimeout(() => {
      due.bookmark = due.end = true;
      notify();
    }, options.timeoutSeconds * 1000),
  ];
  options.signal.addEventListener('abort', notify);
  try {
    let position = Number(options.resourceVersion ?? 0);
    if (position === 0) {
      position = Number(store.resourceVersion());
      yield* store
        .list(type)
        .filter(selected)
        .map((object) => ({ type: 'ADDED' as const, object }));
    }
    if (options.resourceVersion === undefined) {
      const annotations = { [INITIAL_EVENTS_END]: 'true' };
      yield { type: 'BOOKMARK', object: { metadata: { resourceVersion: String(position), annotations } } };
    }
    for (;;) {
      options.signal.throwIfAborted();
      const change = nextChange(history, position);
      if (change) {
        position = change.revision;
        yield* seenBy(selected, change);
      } else if (due.bookmark) {
        due.bookmark = false;
        position = Math.max(position, Number(store.resourceVersion()));
        yield { type: 'BOOKMARK', object: { metadata: { resourceVersion: String(position) } } };
      } else if (due.end) return;
      else {
        await news.promise;
        news = Promise.withResolvers();
      }
    }
  } finally {
    for (const stop of stops) stop();
    options.signal.removeEventListener('abort', notify);
  }
}

function nextChange(history: History, position: number): Change | undefined {
  if (position < history.oldest()) throw expired(String(position), history.oldest());
  return history.after(position);
}

function every(clock: Clock, ms: number, fn: () => void): () => void {
  let cancel = (): void => undefined;
  const arm = (): void => {
    cancel = clock.setTimeout(() => {
      arm();
      fn();
    }, ms);
  };
  arm();
  return () => cancel();
}
