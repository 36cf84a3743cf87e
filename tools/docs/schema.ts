// JSON Schema in words and as rows of a table: what the references of CRD, values and API share. Pure.
import { code } from './markdown.ts';

export interface Schema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
  readonly anyOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly $ref?: string;
  readonly 'x-kubernetes-int-or-string'?: boolean;
  readonly 'x-kubernetes-validations'?: readonly { readonly rule: string; readonly message: string }[];
}

/** Limits that stand for "none" in generated schemas. */
const BOUNDLESS = 2 ** 31 - 1;
const range = (what: string, least: number | undefined, most: number | undefined): string[] => {
  const upper = most === undefined || most >= BOUNDLESS ? undefined : most;
  if (least !== undefined && upper !== undefined) return [`${least} to ${upper}${what}`];
  if (upper !== undefined) return [`at most ${upper}${what}`];
  return least === undefined || least === 0 ? [] : [`at least ${least}${what}`];
};

const typesOf = ({ type }: Schema): readonly string[] =>
  type === undefined ? [] : typeof type === 'string' ? [type] : type;

const isNull = (schema: Schema): boolean => typesOf(schema).join() === 'null';

function arrayInWords({ items = {} }: Schema): string {
  const inner = typeInWords(items);
  return inner.includes(' or ') ? `list of (${inner})` : `list of ${inner}`;
}

/** `string`, `list of integer`, `"a" or "b"`, `map of string`. */
export function typeInWords(schema: Schema): string {
  if (schema.$ref !== undefined) return schema.$ref.split('/').at(-1)!;
  if (schema.enum !== undefined) return schema.enum.map((value) => code(String(value))).join(', ');
  if (schema.const !== undefined) return code(JSON.stringify(schema.const));
  if (schema['x-kubernetes-int-or-string'] === true) return 'number or string';
  if (schema.anyOf !== undefined) {
    return [...new Set(schema.anyOf.filter((one) => !isNull(one)).map(typeInWords))].join(' or ');
  }
  const types = typesOf(schema).filter((type) => type !== 'null');
  if (types.join() === 'array') return arrayInWords(schema);
  if (types.join() === 'object' && typeof schema.additionalProperties === 'object') {
    return `map of ${typeInWords(schema.additionalProperties)}`;
  }
  return types.join(' or ') || 'any';
}

/** Lengths, ranges and defaults. */
export function limitsInWords(schema: Schema): string {
  const { minimum, maximum, minLength, maxLength, minItems, maxItems } = schema;
  const inside = (schema.anyOf ?? []).filter((one) => !isNull(one));
  return [
    ...range('', minimum, maximum),
    ...range(' characters', minLength === 1 ? undefined : minLength, maxLength),
    ...range(' items', minItems, maxItems),
    ...(inside.length === 1 ? [limitsInWords(inside[0]!)] : []),
    ...(schema.default === undefined
      ? []
      : [`default ${code(typeof schema.default === 'string' ? schema.default : JSON.stringify(schema.default))}`]),
  ]
    .filter((words) => words !== '')
    .join('; ');
}

export interface Field {
  readonly path: string;
  readonly schema: Schema;
  readonly required: boolean;
}

/** Every field below a schema, depth first, with its path. */
export function fieldsOf({ properties = {}, required = [] }: Schema, parent = ''): Field[] {
  return Object.entries(properties).flatMap(([name, schema]) => {
    const path = parent === '' ? name : `${parent}.${name}`;
    const below = schema.items?.properties === undefined ? fieldsOf(schema, path) : fieldsOf(schema.items, `${path}[]`);
    return [{ path, schema, required: required.includes(name) }, ...below];
  });
}

export const fieldRow = ({ path, schema, required }: Field): string[] => [
  code(path) + (required ? ' (required)' : ''),
  typeInWords(schema),
  limitsInWords(schema),
  schema.description ?? '',
];
