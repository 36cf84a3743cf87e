// Field ownership of server-side apply: who owns which piece of an object, and what a write does to that.
import { isDeepStrictEqual } from 'node:util';
import { displayPath, isItem, isUnder, leaves, mergeFields, removeFields } from './fields.ts';
import type { FieldPath } from './fields.ts';
import { fieldsOf, without } from './json.ts';
import type { Fields } from './json.ts';

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

export interface Applied {
  readonly object: Fields;
  readonly managers: Managers;
  /** `.spec.replicas (owned by hpa)`; what force would take over. */
  readonly conflicts: readonly string[];
}

/** Applies `intent` to `live` as `manager`: sets what it names, drops what the manager named before and no one else owns. */
export function apply(live: Fields, managers: Managers, manager: string, intent: Fields): Applied {
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
  return { object: fieldsOf(removeFields(merged, gone)), managers: withoutEmpty(next), conflicts };
}

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
  const removed = new Set([...old.keys()].filter((path) => !now.has(path)));
  if (changed.size === 0 && removed.size === 0) return managers;
  const next = new Map<string, ReadonlySet<FieldPath>>();
  for (const [other, paths] of managers) next.set(other, paths.difference(changed).difference(removed));
  next.set(manager, (next.get(manager) ?? new Set<FieldPath>()).union(changed));
  return withoutEmpty(next);
}

const withoutEmpty = (managers: Managers): Managers => new Map([...managers].filter(([, paths]) => paths.size > 0));
