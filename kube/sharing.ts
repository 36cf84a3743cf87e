// Sharing: parts that many cached objects have in common are kept once. Ten thousand objects made from one template differ in little.

export interface Sharing {
  /** The same object, with each of its parts replaced by an equal one that is kept already. */
  readonly share: <T extends object>(object: T) => T;
}

/** Of the parts that were seen lately; twice as many are remembered at most. */
const MAX_PARTS = 4096;

/** Objects from a cache are never changed, so that nobody can tell a shared part from one of its own. */
export function createSharing(maxParts = MAX_PARTS): Sharing {
  let young = new Map<string, object>();
  let old: ReadonlyMap<string, object> = new Map();

  function keep(text: string, part: object): object {
    if (young.size >= maxParts) {
      old = young;
      young = new Map();
    }
    young.set(text, part);
    return part;
  }

  function part(value: unknown): unknown {
    if (typeof value !== 'object' || value === null) return value;
    const text = JSON.stringify(value);
    const known = young.get(text);
    if (known !== undefined) return known;
    return keep(text, old.get(text) ?? within(value));
  }

  const within = (value: object): object =>
    Array.isArray(value)
      ? value.map(part)
      : Object.fromEntries(Object.entries(value).map(([field, inner]) => [field, part(inner)]));

  return { share: <T extends object>(object: T): T => within(object) as T };
}
