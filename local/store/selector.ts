// Label and field selectors, parsed to predicates.
import type { KubeObject } from '../../kube/types.ts';
import { fieldsOf } from './json.ts';

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

export interface Selection {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export function selects({ namespace, labelSelector, fieldSelector }: Selection): (object: KubeObject) => boolean {
  const labels = requirements(labelSelector ?? '');
  const fields = requirements(fieldSelector ?? '');
  return (object) =>
    (namespace === undefined || namespace === '' || object.metadata.namespace === namespace) &&
    labels.every((match) => match((name) => object.metadata.labels?.[name])) &&
    fields.every((match) => match((path) => fieldAt(object, path)));
}
