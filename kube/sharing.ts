// Sharing: parts that many cached objects have in common are kept once. Ten thousand objects made from one template differ in little.

export interface Sharing {
  /** The same object, with each of its parts replaced by an equal one that is kept already. */
  readonly share: <T extends object>(object: T) => T;
}

/** Of the parts that were seen lately; twice as many are remembered at most. */
const MAX_PARTS = 4096;

interface Part {
  readonly object: object;
  /** Stands for the part where it is part of another: what lies within is printed once, however deep it lies. */
  readonly name: string;
}

/** Objects from a cache are never changed, so that nobody can tell a shared part from one of its own. */
export function createSharing(maxParts = MAX_PARTS): Sharing {
  let young = new Map<string, Part>();
  let old: ReadonlyMap<string, Part> = new Map();
  let named = 0;

  function keep(text: string, part: Part): Part {
    if (young.size >= maxParts) {
      old = young;
      young = new Map();
    }
    young.set(text, part);
    return part;
  }

  /** What is within first: of two equal parts all parts within are the same. */
  function part(value: object): Part {
    const [object, text] = Array.isArray(value) ? listed(value) : described(value);
    const known = young.get(text);
    if (known !== undefined) return known;
    const before = old.get(text);
    if (before !== undefined) return keep(text, before);
    named += 1;
    return keep(text, { object, name: `#${named}` });
  }

  /** The value to keep, and what tells it from others. No JSON begins with the sign of a name. */
  function one(value: unknown): readonly [value: unknown, text: string] {
    if (value === undefined) return [value, 'undefined'];
    if (typeof value !== 'object' || value === null) return [value, JSON.stringify(value)];
    const { object, name } = part(value);
    return [object, name];
  }

  function listed(values: readonly unknown[]): readonly [object: object, text: string] {
    const kept = values.map(one);
    return [kept.map(([value]) => value), `[${kept.map(([, text]) => text).join()}`];
  }

  function described(value: object): readonly [object: object, text: string] {
    let text = '{';
    const kept = Object.entries(value).map(([field, inner]) => {
      const [own, said] = one(inner);
      text += `${JSON.stringify(field)}:${said},`;
      return [field, own] as const;
    });
    return [Object.fromEntries(kept), text];
  }

  const within = (value: object): object => (Array.isArray(value) ? listed(value) : described(value))[0];

  return { share: <T extends object>(object: T): T => within(object) as T };
}
