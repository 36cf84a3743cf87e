// A manifest, the hash it carries, and whether what the server stores still covers it: when to apply one is answered here, for
// children and catalog resources alike. Pure.
import { ANNOTATION_HASH, shortHash } from '../../api/names.ts';
import { isRecord } from '../../common/util/text.ts';
import type { ApplyBody } from '../../kube/client.ts';
import type { KubeObject } from '../../kube/types.ts';

/** A whole manifest of one object, ready for server-side apply. */
export type Manifest = ApplyBody & KubeObject;

/** JSON with sorted keys: the same manifest always hashes to the same text. */
export const canonicalJson = (value: unknown): string =>
  JSON.stringify(value, (_key, field: unknown) =>
    isRecord(field)
      ? Object.fromEntries(Object.entries(field).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : field,
  );

/** Annotates a manifest with its own hash: a field taken out of the manifest shows as a change, though nothing is missing. */
export function withHash<T extends Manifest>(manifest: T): T {
  const annotations = { ...manifest.metadata.annotations, [ANNOTATION_HASH]: shortHash(canonicalJson(manifest), 16) };
  return { ...manifest, metadata: { ...manifest.metadata, annotations } };
}

/** Of a manifest that `withHash` made. */
export const hashOf = ({ metadata }: Manifest): string => metadata.annotations?.[ANNOTATION_HASH] ?? '';

/** Whether the stored object lacks something of the manifest, or was applied from another one. */
export const needsApply = (found: KubeObject | undefined, manifest: Manifest): boolean =>
  found === undefined || !covers(found, manifest);

// Does an object as the server stores it hold everything a manifest asks for? Defaults and foreign fields do not count.

/** What names an item of a list that is merged by key; items beyond ours are somebody else's (a sidecar, a mesh). */
const KEYS = ['name', 'mountPath', 'devicePath', 'topologyKey', 'containerPort', 'ip', 'uid'] as const;

/** Fields whose values are quantities: the server rewrites them in its own spelling. */
const QUANTITY_PARENTS: ReadonlySet<string> = new Set(['requests', 'limits', 'overhead']);
const QUANTITY_FIELDS: ReadonlySet<string> = new Set(['sizeLimit', 'storage', 'divisor']);

/** Whether every field of `wanted` stands in `found` with the same value. */
export function covers(found: unknown, wanted: unknown, name = ''): boolean {
  if (wanted === undefined || Object.is(found, wanted) || (found === undefined && isNothing(wanted))) return true;
  if (Array.isArray(wanted)) return Array.isArray(found) && coversList(found, wanted);
  if (!isRecord(wanted) || !isRecord(found)) return false;
  return Object.entries(wanted).every(([field, value]) => coversField(field, name, found[field], value));
}

/** The server drops these; `false`, 0 and `{}` it may keep, and they may mean something. */
const isNothing = (value: unknown): boolean =>
  value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0);

function coversList(found: readonly unknown[], wanted: readonly unknown[]): boolean {
  const key = keyOfItems(wanted);
  if (key === undefined)
    return found.length === wanted.length && wanted.every((item, index) => covers(found[index], item));
  return wanted.every((item) => {
    const identity = (item as Readonly<Record<string, unknown>>)[key];
    return covers(
      found.find((candidate) => isRecord(candidate) && candidate[key] === identity),
      item,
    );
  });
}

const keyOfItems = (items: readonly unknown[]): string | undefined =>
  items.length === 0 ? undefined : KEYS.find((key) => items.every((item) => isRecord(item) && item[key] !== undefined));

function coversField(name: string, parent: string, found: unknown, wanted: unknown): boolean {
  const isQuantity = QUANTITY_PARENTS.has(parent) || QUANTITY_FIELDS.has(name);
  if (isQuantity && isScalar(found) && isScalar(wanted)) return sameQuantity(found, wanted);
  return covers(found, wanted, name);
}

const isScalar = (value: unknown): value is string | number => typeof value === 'string' || typeof value === 'number';

// Quantities: their value, so that `1000m`, `1` and 1 are the same amount.

const SUFFIXES: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** The amount, or undefined when the text is no quantity. */
export function parseQuantity(quantity: string | number): number | undefined {
  if (typeof quantity === 'number') return quantity;
  const [, digits, suffix = '', exponent] =
    /^(\d+\.?\d*|\.\d+)(?:([numkMGTPE]i?)|[eE]([+-]?\d+))?$/.exec(quantity) ?? [];
  const factor = exponent === undefined ? SUFFIXES[suffix] : 10 ** Number(exponent);
  return digits === undefined || factor === undefined ? undefined : Number(digits) * factor;
}

/** Same amount, within the rounding of the decimal fractions. */
export function sameQuantity(a: string | number, b: string | number): boolean {
  const [left, right] = [parseQuantity(a), parseQuantity(b)];
  if (left === undefined || right === undefined) return a === b;
  return Math.abs(left - right) <= 1e-9 * Math.max(Math.abs(left), Math.abs(right));
}
