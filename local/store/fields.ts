// Field paths: how a JSON tree falls into the pieces that server-side apply lets managers own one by one.
import { isFields } from './json.ts';
import type { Fields } from './json.ts';

/** Segments joined by newlines: a field's name, or the JSON of a list item's key. */
export type FieldPath = string;
const SEPARATOR = '\n';

/**
 * Lists whose items are told apart by key fields; every other list is atomic: owned and replaced as a whole.
 * A list is keyed when all of its items carry the first key of one of the alternatives.
 */
const LIST_KEYS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  conditions: [['type']],
  containers: [['name']],
  env: [['name']],
  imagePullSecrets: [['name']],
  initContainers: [['name']],
  ownerReferences: [['uid']],
  ports: [
    ['containerPort', 'protocol'],
    ['port', 'protocol'],
  ],
  topologySpreadConstraints: [['topologyKey', 'whenUnsatisfiable']],
  volumeMounts: [['mountPath']],
  volumes: [['name']],
};
const KEY_DEFAULTS: Fields = { protocol: 'TCP' };

export function listKeys(field: string, list: readonly unknown[]): readonly string[] | undefined {
  if (list.length === 0) return undefined;
  return LIST_KEYS[field]?.find(([first = '']) => list.every((item) => isFields(item) && first in item));
}

export const itemSegment = (keys: readonly string[], item: Fields): string =>
  JSON.stringify(Object.fromEntries(keys.map((key) => [key, item[key] ?? KEY_DEFAULTS[key]])));

export const join = (path: FieldPath, segment: string): FieldPath =>
  path === '' ? segment : `${path}${SEPARATOR}${segment}`;

export const isUnder = (path: FieldPath, ancestor: FieldPath): boolean => path.startsWith(ancestor + SEPARATOR);

export const isItem = (path: FieldPath): boolean => path.slice(path.lastIndexOf(SEPARATOR) + 1).startsWith('{');

/** For messages: `.spec.replicas`. */
export const displayPath = (path: FieldPath): string =>
  path
    .split(SEPARATOR)
    .map((segment) => (segment.startsWith('{') ? `[${segment.slice(1, -1).replaceAll('"', '')}]` : `.${segment}`))
    .join('');

/** Stands for a list item as such, apart from its fields. */
const ITEM = Symbol('item');

interface Child {
  readonly path: FieldPath;
  readonly value: unknown;
  /** The field's name; empty for a list item. */
  readonly field: string;
}

function children(value: unknown, path: FieldPath, field: string): readonly Child[] {
  if (isFields(value))
    return Object.entries(value).map(([name, child]) => ({ path: join(path, name), value: child, field: name }));
  const keys = Array.isArray(value) ? listKeys(field, value) : undefined;
  if (!keys) return [];
  return (value as Fields[]).map((item) => ({ path: join(path, itemSegment(keys, item)), value: item, field: '' }));
}

/** Every ownable piece with its value: leaves, and the items of keyed lists. */
export function leaves(value: unknown, path: FieldPath = '', field = ''): ReadonlyMap<FieldPath, unknown> {
  const found = new Map<FieldPath, unknown>();
  const inside = children(value, path, field);
  if (inside.length === 0 && path !== '') return found.set(path, value);
  for (const child of inside) {
    if (child.field === '') found.set(child.path, ITEM);
    for (const [leaf, leafValue] of leaves(child.value, child.path, child.field)) found.set(leaf, leafValue);
  }
  return found;
}

/** Later wins, field by field; keyed lists item by item. */
export function mergeFields(live: unknown, applied: unknown, field = ''): unknown {
  if (isFields(live) && isFields(applied)) {
    const result: Record<string, unknown> = { ...live };
    for (const [name, value] of Object.entries(applied)) result[name] = mergeFields(live[name], value, name);
    return result;
  }
  const both: unknown[] =
    Array.isArray(applied) && Array.isArray(live) ? [...(live as unknown[]), ...(applied as unknown[])] : [];
  const keys = listKeys(field, both);
  if (!keys) return applied;
  const byKey = (list: unknown): Map<string, Fields> =>
    new Map((list as Fields[]).map((item) => [itemSegment(keys, item), item]));
  const [mine, theirs] = [byKey(applied), byKey(live)];
  return interleave([...theirs.keys()], [...mine.keys()]).map((segment) => {
    const item = mine.get(segment);
    return item ? mergeFields(theirs.get(segment), item) : theirs.get(segment);
  });
}

/** The applied order wins; what only the live list has stays before the shared item that it preceded. */
function interleave(live: readonly string[], applied: readonly string[]): readonly string[] {
  const order: string[] = [];
  let at = 0;
  const takeUntil = (target: string | undefined): void => {
    for (let next = live[at]; next !== undefined && next !== target; at += 1, next = live[at]) {
      if (!applied.includes(next)) order.push(next);
    }
  };
  for (const [i, segment] of applied.entries()) {
    takeUntil(applied.slice(i).find((later) => live.includes(later)));
    if (live[at] === segment) at += 1;
    order.push(segment);
  }
  takeUntil(undefined);
  return order;
}

/** The value without the pieces in `gone`; containers that this empties go too, key fields of a kept item stay. */
export function removeFields(value: unknown, gone: ReadonlySet<FieldPath>, path: FieldPath = '', field = ''): unknown {
  const keys = Array.isArray(value) ? listKeys(field, value) : undefined;
  if (keys) {
    const kept = (value as Fields[]).flatMap((item) => {
      const itemPath = join(path, itemSegment(keys, item));
      if (gone.has(itemPath)) return [];
      const keyFields = Object.fromEntries(keys.filter((key) => key in item).map((key) => [key, item[key]]));
      return [{ ...keyFields, ...(removeFields(item, gone, itemPath) as Fields | undefined) }];
    });
    return kept.length > 0 ? kept : undefined;
  }
  if (!isFields(value)) return value;
  const entries = Object.entries(value);
  const kept = entries.flatMap(([name, child]): [string, unknown][] => {
    const childPath = join(path, name);
    if (gone.has(childPath)) return [];
    const rest = removeFields(child, gone, childPath, name);
    return rest === undefined ? [] : [[name, rest]];
  });
  return kept.length === 0 && entries.length > 0 ? undefined : Object.fromEntries(kept);
}
