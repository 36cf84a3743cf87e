// Where objects live: request paths and query strings.
import { typeName } from './key.ts';
import type { ResourceType } from './types.ts';

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Target {
  readonly namespace?: string | undefined;
  readonly name?: string;
  readonly subresource?: string | undefined;
}

export function resourcePath(type: ResourceType, { namespace, name, subresource }: Target): string {
  if (!type.namespaced && namespace) throw new RangeError(`${typeName(type)} is not namespaced`);
  const root = type.group === '' ? ['api', type.version] : ['apis', type.group, type.version];
  const scope = namespace ? ['namespaces', namespace] : [];
  const parts = [
    ...root,
    ...scope,
    type.plural,
    ...(name === undefined ? [] : [name]),
    ...(subresource ? [subresource] : []),
  ];
  return `/${parts.map(encodeURIComponent).join('/')}`;
}

/** With its question mark; empty when nothing is asked. */
export function queryString(query: Query): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`],
  );
  return pairs.length > 0 ? `?${pairs.join('&')}` : '';
}
