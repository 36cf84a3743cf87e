// Does an object as the server stores it hold everything a manifest asks for? Defaults and foreign fields do not count.
import { sameQuantity } from './quantity.ts';

type Fields = Readonly<Record<string, unknown>>;

/** What names an item of a list that is merged by key; items beyond ours are somebody else's (a sidecar, a mesh). */
const KEYS = ['name', 'mountPath', 'topologyKey', 'containerPort', 'uid'] as const;

/** Fields whose values are quantities: the server rewrites them in its own spelling. */
const QUANTITY_PARENTS: ReadonlySet<string> = new Set(['requests', 'limits']);
const QUANTITY_FIELDS: ReadonlySet<string> = new Set(['sizeLimit', 'storage', 'divisor']);

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const keyOfItems = (items: readonly unknown[]): string | undefined =>
  items.length === 0 ? undefined : KEYS.find((key) => items.every((item) => isFields(item) && item[key] !== undefined));

function coversList(found: readonly unknown[], wanted: readonly unknown[]): boolean {
  const key = keyOfItems(wanted);
  if (key === undefined)
    return found.length === wanted.length && wanted.every((item, index) => covers(found[index], item));
  return wanted.every((item) => {
    const identity = (item as Fields)[key];
    return covers(
      found.find((candidate) => isFields(candidate) && candidate[key] === identity),
      item,
    );
  });
}

function coversField(name: string, parent: string, found: unknown, wanted: unknown): boolean {
  const isQuantity = QUANTITY_PARENTS.has(parent) || QUANTITY_FIELDS.has(name);
  if (isQuantity && isScalar(found) && isScalar(wanted)) return sameQuantity(found, wanted);
  return covers(found, wanted, name);
}

const isScalar = (value: unknown): value is string | number => typeof value === 'string' || typeof value === 'number';

/** The server drops these; `false`, 0 and `{}` it may keep, and they may mean something. */
const isNothing = (value: unknown): boolean =>
  value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0);

/** Whether every field of `wanted` stands in `found` with the same value. */
export function covers(found: unknown, wanted: unknown, name = ''): boolean {
  if (wanted === undefined || Object.is(found, wanted) || (found === undefined && isNothing(wanted))) return true;
  if (Array.isArray(wanted)) return Array.isArray(found) && coversList(found, wanted);
  if (!isFields(wanted) || !isFields(found)) return false;
  return Object.entries(wanted).every(([field, value]) => coversField(field, name, found[field], value));
}
