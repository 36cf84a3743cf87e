// One pod template laid over another as Kubernetes lays a strategic merge patch over an object: maps field by field, lists by the key
// that their kind of item has, every other list and value replaced. Pure.
import { isRecord } from '../../common/util/text.ts';

/** How a list is merged whose items are known by a field. */
interface ListShape {
  readonly key: string;
  /** A second field by which items differ, and what it is where it is not said. */
  readonly and?: { readonly field: string; readonly unsaid: string };
  /** An item is one of several kinds, so that one laid over another replaces it: a variable has a value or a source, never both. */
  readonly isUnion?: true;
  readonly items?: Shape;
}

interface Shape {
  readonly lists?: Readonly<Record<string, ListShape>>;
  readonly fields?: Readonly<Record<string, Shape>>;
}

// `patchMergeKey` and `listMapKey` of k8s.io/api/core/v1. What is not here is atomic there: tolerations, args, envFrom, terms of affinity.

const CONTAINER: Shape = {
  lists: {
    env: { key: 'name', isUnion: true },
    ports: { key: 'containerPort', and: { field: 'protocol', unsaid: 'TCP' } },
    volumeMounts: { key: 'mountPath' },
    volumeDevices: { key: 'devicePath' },
  },
  fields: { resources: { lists: { claims: { key: 'name' } } } },
};

const POD_SPEC: Shape = {
  lists: {
    initContainers: { key: 'name', items: CONTAINER },
    containers: { key: 'name', items: CONTAINER },
    volumes: { key: 'name', isUnion: true },
    imagePullSecrets: { key: 'name' },
    hostAliases: { key: 'ip' },
    topologySpreadConstraints: { key: 'topologyKey' },
    resourceClaims: { key: 'name', isUnion: true },
    schedulingGates: { key: 'name' },
  },
};

export const POD_TEMPLATE: Shape = { fields: { spec: POD_SPEC } };

const DIRECTIVE = '$patch';
const FOR_MAPS: readonly unknown[] = ['merge', 'replace', 'delete'];

const directiveOf = (value: unknown): unknown => (isRecord(value) ? value[DIRECTIVE] : undefined);

/** What stands for "take it away". */
const isRemoval = (value: unknown): boolean => value === null || directiveOf(value) === 'delete';

// Laying over

function identityOf({ key, and }: ListShape, item: unknown): string {
  const fields = isRecord(item) ? item : {};
  return JSON.stringify([fields[key], and && (fields[and.field] ?? and.unsaid)]);
}

/** What is known of a list's items: changed in place, taken away, or not there. */
function change(items: unknown[], item: unknown, shape: ListShape): number {
  const identity = identityOf(shape, item);
  const index = items.findIndex((one) => identityOf(shape, one) === identity);
  if (index >= 0 && isRemoval(item)) items.splice(index, 1);
  else if (index >= 0) items[index] = overlay(shape.isUnion === true ? undefined : items[index], item, shape.items);
  return index;
}

/** Items of the patch that are new come where it has them: before the next one of it that is known, or else last. */
function overlayList(base: readonly unknown[], patch: readonly unknown[], shape: ListShape): readonly unknown[] {
  const isItem = (item: unknown): boolean => !isRecord(item) || shape.key in item;
  // As an item of its own, the directive is about the list.
  const replaces = patch.some((item) => directiveOf(item) === 'replace' && !isItem(item));
  const result: unknown[] = replaces ? [] : [...base];
  let newcomers: unknown[] = [];
  for (const item of patch.filter(isItem)) {
    const known = change(result, item, shape);
    if (known >= 0) {
      result.splice(known, 0, ...newcomers);
      newcomers = [];
    } else if (change(newcomers, item, shape) < 0 && !isRemoval(item)) {
      newcomers.push(overlay(undefined, item, shape.items));
    }
  }
  return [...result, ...newcomers];
}

/** `patch` over `base`, of the given shape; `null` and `$patch: delete` take away, `$patch: replace` forgets what was there. */
export function overlay(base: unknown, patch: unknown, shape: Shape = {}): unknown {
  if (!isRecord(patch)) return patch;
  const { [DIRECTIVE]: directive, ...fields } = patch;
  const result = new Map(Object.entries(isRecord(base) && directive !== 'replace' ? base : {}));
  for (const [name, value] of Object.entries(fields)) {
    const list = shape.lists?.[name];
    if (isRemoval(value)) result.delete(name);
    else if (list !== undefined && Array.isArray(value)) {
      const below = result.get(name);
      result.set(name, overlayList(Array.isArray(below) ? below : [], value, list));
    } else result.set(name, overlay(result.get(name), value, shape.fields?.[name]));
  }
  return Object.fromEntries(result);
}

// What cannot be laid over anything

function listFaults(list: readonly unknown[], shape: ListShape | undefined, path: string): readonly string[] {
  return list.flatMap((item, index) => {
    const at = `${path}[${index}]`;
    if (shape === undefined && directiveOf(item) !== undefined)
      return [`${at}.${DIRECTIVE}: this list is replaced as a whole`];
    if (shape === undefined) return overlayFaults(item, undefined, at);
    if (!isRecord(item)) return [`${at}: must be an object with ${shape.key}`];
    if (!(shape.key in item) && directiveOf(item) !== 'replace') return [`${at}.${shape.key}: required`];
    return overlayFaults(item, shape.items, at);
  });
}

/** Each with its path. What Kubernetes itself would refuse of the result is Kubernetes' to say. */
export function overlayFaults(patch: unknown, shape: Shape = {}, path = ''): readonly string[] {
  if (Array.isArray(patch)) return listFaults(patch, undefined, path);
  if (!isRecord(patch)) return [];
  return Object.entries(patch).flatMap(([name, value]) => {
    const at = path === '' ? name : `${path}.${name}`;
    const list = shape.lists?.[name];
    const below = shape.fields?.[name];
    if (name === DIRECTIVE) return FOR_MAPS.includes(value) ? [] : [`${at}: must be one of ${FOR_MAPS.join(', ')}`];
    if (name.startsWith('$')) return [`${at}: unknown directive; known is ${DIRECTIVE}`];
    if (isRemoval(value)) return [];
    if (list !== undefined) return Array.isArray(value) ? listFaults(value, list, at) : [`${at}: must be a list`];
    if (below !== undefined && !isRecord(value)) return [`${at}: must be an object`];
    return overlayFaults(value, below, at);
  });
}
