// Fields of untyped API objects: merge patches, and the ownership that server-side apply keeps of every piece.
import { isDeepStrictEqual } from 'node:util';
import { isRecord } from '../../common/util/text.ts';

export type Fields = Readonly<Record<string, unknown>>;

export const fieldsOf = (value: unknown): Fields => (isRecord(value) ? value : {});

export const without = (fields: Fields, names: readonly string[]): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));

/** RFC 7386: null deletes, objects merge, everything else replaces. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return patch;
  const result: Record<string, unknown> = { ...fieldsOf(target) };
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) Reflect.deleteProperty(result, name);
    else result[name] = mergePatch(result[name], value);
  }
  return result;
}

// Field paths: how a JSON tree falls into the pieces that managers own one by one

/** Segments joined by newlines: a field's name, or the JSON of a list item's key. */
type FieldPath = string;
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

function listKeys(field: string, list: readonly unknown[]): readonly string[] | undefined {
  if (list.length === 0) return undefined;
  return LIST_KEYS[field]?.find(([first = '']) => list.every((item) => isRecord(item) && first in item));
}

const itemSegment = (keys: readonly string[], item: Fields): string =>
  JSON.stringify(Object.fromEntries(keys.map((key) => [key, item[key] ?? KEY_DEFAULTS[key]])));

const join = (path: FieldPath, segment: string): FieldPath => (path === '' ? segment : `${path}${SEPARATOR}${segment}`);

const isUnder = (path: FieldPath, ancestor: FieldPath): boolean => path.startsWith(ancestor + SEPARATOR);

const isItem = (path: FieldPath): boolean => path.slice(path.lastIndexOf(SEPARATOR) + 1).startsWith('{');

/** For messages: `.spec.replicas`. */
const displayPath = (path: FieldPath): string =>
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
  if (isRecord(value))
    return Object.entries(value).map(([name, child]) => ({ path: join(path, name), value: child, field: name }));
  const keys = Array.isArray(value) ? listKeys(field, value) : undefined;
  if (!keys) return [];
  return (value as Fields[]).map((item) => ({ path: join(path, itemSegment(keys, item)), value: item, field: '' }));
}

/** Every ownable piece with its value: leaves, and the items of keyed lists. */
function leaves(value: unknown, path: FieldPath = '', field = ''): ReadonlyMap<FieldPath, unknown> {
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
function mergeFields(live: unknown, applied: unknown, field = ''): unknown {
  if (isRecord(live) && isRecord(applied)) {
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
function removeFields(value: unknown, gone: ReadonlySet<FieldPath>, path: FieldPath = '', field = ''): unknown {
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
  if (!isRecord(value)) return value;
  const entries = Object.entries(value);
  const kept = entries.flatMap(([name, child]): [string, unknown][] => {
    const childPath = join(path, name);
    if (gone.has(childPath)) return [];
    const rest = removeFields(child, gone, childPath, name);
    return rest === undefined ? [] : [[name, rest]];
  });
  return kept.length === 0 && entries.length > 0 ? undefined : Object.fromEntries(kept);
}

// Ownership: who owns which piece of an object, and what a write does to that

/** By `name`, or `name/subresource`; applying and updating managers of one name are told apart by `:Update`. */
export type Managers = ReadonlyMap<string, ReadonlySet<FieldPath>>;

const SERVER_METADATA = [
  'name',
  'namespace',
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'managedFields',
];

/** The part of an object that managers may own. */
function ownable(object: Fields): Fields {
  const metadata = without(fieldsOf(object['metadata']), SERVER_METADATA);
  return { ...without(object, ['apiVersion', 'kind']), metadata };
}

const owned = (object: Fields): ReadonlyMap<FieldPath, unknown> => {
  const pieces = new Map(leaves(ownable(object)));
  pieces.delete('metadata');
  return pieces;
};

interface Applied {
  readonly object: Fields;
  readonly managers: Managers;
  /** `.spec.replicas (owned by hpa)`; what force would take over. */
  readonly conflicts: readonly string[];
}

/** Applies `intent` to `live` as `manager`: sets what it names, drops what the manager named before and no one else owns. */
export function applyFields(live: Fields, managers: Managers, manager: string, intent: Fields): Applied {
  const wanted = owned(intent);
  const present = owned(live);
  const conflicts: string[] = [];
  const next = new Map<string, ReadonlySet<FieldPath>>();
  for (const [other, paths] of managers) {
    if (other === manager) continue;
    const lost = [...paths].filter(
      (path) => wanted.has(path) && !isDeepStrictEqual(wanted.get(path), present.get(path)),
    );
    conflicts.push(...lost.map((path) => `${displayPath(path)} (owned by ${other})`));
    next.set(other, lost.length > 0 ? paths.difference(new Set(lost)) : paths);
  }
  const gone = dropped(managers.get(manager) ?? new Set(), wanted, next);
  next.set(manager, new Set(wanted.keys()));
  const merged = fieldsOf(mergeFields(live, ownable(intent)));
  const object = fieldsOf(removeFields(merged, gone));
  // An item that goes takes along what others set in it: they own nothing of one that comes after it.
  const removed = missingIn(owned(object), present);
  for (const [other, paths] of next) if (other !== manager) next.set(other, paths.difference(removed));
  return { object, managers: withoutEmpty(next), conflicts };
}

const missingIn = (now: ReadonlyMap<FieldPath, unknown>, before: ReadonlyMap<FieldPath, unknown>): Set<FieldPath> =>
  new Set([...before.keys()].filter((path) => !now.has(path)));

function dropped(
  before: ReadonlySet<FieldPath>,
  wanted: ReadonlyMap<FieldPath, unknown>,
  others: Managers,
): ReadonlySet<FieldPath> {
  const kept = [...wanted.keys(), ...[...others.values()].flatMap((paths) => [...paths])];
  // What was an empty map may have content by now, of whomever. An item goes with all that is in it, unless another owns
  // the item as such.
  const isKept = (path: FieldPath): boolean =>
    kept.some((other) => other === path || (!isItem(path) && isUnder(other, path)));
  return new Set([...before].filter((path) => !isKept(path)));
}

/** A create, update or patch: the writer owns what it changed, and what it removed has no owner any more. */
export function recordUpdate(before: Fields, after: Fields, managers: Managers, manager: string): Managers {
  const old = owned(before);
  const now = owned(after);
  const changed = new Set(
    [...now].filter(([path, value]) => !isDeepStrictEqual(old.get(path), value)).map(([path]) => path),
  );
  const removed = missingIn(now, old);
  if (changed.size === 0 && removed.size === 0) return managers;
  const next = new Map<string, ReadonlySet<FieldPath>>();
  for (const [other, paths] of managers) next.set(other, paths.difference(changed).difference(removed));
  next.set(manager, (next.get(manager) ?? new Set<FieldPath>()).union(changed));
  return withoutEmpty(next);
}

const withoutEmpty = (managers: Managers): Managers => new Map([...managers].filter(([, paths]) => paths.size > 0));
