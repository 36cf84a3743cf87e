// Validation of EmbeddingModels: the rules between fields, each once for the API server and once for files that no server has
// checked (local YAML), and the interpreter of the CRD's schema for those files.
import { isRecord, suggestion } from '../common/util/text.ts';
import { SPEC_PROPERTIES, SPEC_REQUIRED } from './schema.ts';
import type { Schema } from './schema.ts';
import { servedNames } from './names.ts';
import { API_VERSION, EMBEDDING_MODELS } from './types.ts';
import type { EmbeddingModel, EmbeddingModelSpec } from './types.ts';

// Rules between fields

/** As CEL for the CRD, and as a predicate. */
export interface Rule {
  /** Where in the spec the rule stands, `''` for the spec itself. */
  readonly at: '' | 'scaling' | 'cache' | 'revision';
  readonly cel: string;
  readonly message: string;
  readonly holds: (spec: EmbeddingModelSpec) => boolean;
}

/** Makers whose every resource is a GPU or a part of one. */
const GPU_MAKERS = ['nvidia.com/', 'amd.com/'] as const;

const hasGpuResource = ({ resources }: EmbeddingModelSpec): boolean =>
  [resources?.limits, resources?.requests].some((list) =>
    Object.keys(list ?? {}).some((name) => GPU_MAKERS.some((maker) => name.startsWith(maker))),
  );

const noGpuIn = (list: 'limits' | 'requests'): string => {
  const isGpu = GPU_MAKERS.map((maker) => `name.startsWith('${maker}')`).join(' || ');
  return `(!has(self.resources.${list}) || !self.resources.${list}.exists(name, ${isGpu}))`;
};

export const RULES: readonly Rule[] = [
  {
    at: 'scaling',
    cel: '!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas',
    message: 'minReplicas must not exceed maxReplicas',
    holds: ({ scaling }) =>
      scaling?.minReplicas === undefined ||
      scaling.maxReplicas === undefined ||
      scaling.minReplicas <= scaling.maxReplicas,
  },
  {
    at: 'cache',
    cel: '[has(self.emptyDir), has(self.existingClaim), has(self.claim), has(self.image)].filter(present, present).size() == 1',
    message: 'exactly one of emptyDir, existingClaim, claim and image must be set',
    holds: ({ cache }) =>
      cache === undefined ||
      [cache.emptyDir, cache.existingClaim, cache.claim, cache.image].filter((one) => one !== undefined).length === 1,
  },
  {
    at: '',
    cel: '!has(self.prefetch) || !self.prefetch || !has(self.cache) || !has(self.cache.emptyDir)',
    message: 'prefetch needs a cache that outlives pods, not emptyDir',
    holds: ({ prefetch, cache }) => prefetch !== true || cache?.emptyDir === undefined,
  },
  {
    at: 'revision',
    cel: "!self.contains('..')",
    message: 'a revision must not contain ..',
    holds: ({ revision }) => revision?.includes('..') !== true,
  },
  {
    at: '',
    cel: '!has(self.prompts) || self.prompts.all(name, has(self.servedNames) ? name in self.servedNames : name == self.model)',
    message: 'prompts may only have names that are in servedNames (the id alone, where those are omitted)',
    holds: (spec) => Object.keys(spec.prompts ?? {}).every((name) => servedNames(spec).includes(name)),
  },
  {
    at: '',
    cel: "!has(self.precision) || self.precision != 'int8' || !has(self.device) || self.device == 'cpu'",
    message: 'precision int8 needs device cpu',
    holds: ({ precision, device }) => precision !== 'int8' || (device ?? 'cpu') === 'cpu',
  },
  {
    at: '',
    cel: "!has(self.precision) || self.precision != 'float16' || (has(self.device) && self.device == 'gpu')",
    message: 'precision float16 needs device gpu',
    holds: ({ precision, device }) => precision !== 'float16' || device === 'gpu',
  },
  {
    at: '',
    cel: [
      "(has(self.device) && self.device == 'gpu') || !has(self.resources)",
      `(${noGpuIn('limits')} && ${noGpuIn('requests')})`,
    ].join(' || '),
    message: 'resources of nvidia.com and amd.com need device gpu',
    holds: (spec) => spec.device === 'gpu' || !hasGpuResource(spec),
  },
];

/** Transition rule: it needs the old object, so only an update can break it. */
export const MODEL_IMMUTABLE = {
  rule: 'self == oldSelf',
  message: 'model is immutable: delete this EmbeddingModel and make another',
};

/** The name is a label value on every child. */
export const NAME_MAX = 63;
export const NAME_RULE = {
  rule: `size(self.metadata.name) <= ${NAME_MAX}`,
  message: `the name of an EmbeddingModel must have at most ${NAME_MAX} characters`,
};

// Checks without an API server

export type Validation =
  { readonly ok: true; readonly model: EmbeddingModel } | { readonly ok: false; readonly faults: readonly string[] };

type Check = (schema: Schema, value: unknown, path: string) => readonly string[];

const TYPES: Readonly<Record<NonNullable<Schema['type']>, (value: unknown) => boolean>> = {
  object: isRecord,
  array: Array.isArray,
  string: (value) => typeof value === 'string',
  boolean: (value) => typeof value === 'boolean',
  integer: Number.isInteger,
  number: Number.isFinite,
};

const hasType = (schema: Schema, value: unknown): boolean => {
  if (schema['x-kubernetes-int-or-string'] === true) return typeof value === 'string' || Number.isInteger(value);
  return schema.type === undefined || TYPES[schema.type](value);
};

const checkText: Check = (schema, value, path) => {
  if (typeof value !== 'string') return [];
  if (schema.enum !== undefined && !schema.enum.includes(value))
    return [`${path}: "${value}" is none of ${schema.enum.join(', ')}`];
  if (value.length < (schema.minLength ?? 0) || value.length > (schema.maxLength ?? Infinity))
    return [`${path}: must have ${schema.minLength ?? 0} to ${schema.maxLength ?? 'any number of'} characters`];
  if (schema.pattern !== undefined && !new RegExp(schema.pattern).test(value))
    return [`${path}: "${value}" does not match ${schema.pattern}`];
  return [];
};

const checkNumber: Check = ({ minimum = -Infinity, maximum = Infinity }, value, path) =>
  typeof value === 'number' && (value < minimum || value > maximum)
    ? [`${path}: ${value} is not between ${minimum} and ${maximum}`]
    : [];

const identityOf = (schema: Schema, item: unknown): string | undefined => {
  if (schema['x-kubernetes-list-type'] === 'set') return JSON.stringify(item);
  if (schema['x-kubernetes-list-type'] !== 'map' || !isRecord(item)) return undefined;
  return JSON.stringify((schema['x-kubernetes-list-map-keys'] ?? []).map((key) => item[key]));
};

const checkList: Check = (schema, value, path) => {
  if (!Array.isArray(value)) return [];
  const items: readonly unknown[] = value;
  const identities = items.map((item) => identityOf(schema, item));
  return [
    ...(items.length > (schema.maxItems ?? Infinity) ? [`${path}: at most ${schema.maxItems} items`] : []),
    ...(items.length < (schema.minItems ?? 0) ? [`${path}: at least ${schema.minItems} items`] : []),
    ...items.flatMap((item, index) => (schema.items ? check(schema.items, item, `${path}[${index}]`) : [])),
    ...identities.flatMap((identity, index) =>
      identity !== undefined && identities.indexOf(identity) < index ? [`${path}[${index}]: duplicate value`] : [],
    ),
  ];
};

const unknownField = (path: string, name: string, { properties = {} }: Schema): string => {
  const known = Object.keys(properties);
  const near = suggestion(name, known);
  return `${path}.${name}: unknown field${near === '' ? `; known are ${known.join(', ')}` : `.${near}`}`;
};

const checkFields: Check = (schema, value, path) => {
  if (!isRecord(value) || schema['x-kubernetes-preserve-unknown-fields'] === true) return [];
  const missing = (schema.required ?? []).filter((name) => value[name] === undefined);
  const { maxProperties = Infinity } = schema;
  return [
    ...(Object.keys(value).length > maxProperties ? [`${path}: at most ${maxProperties} entries`] : []),
    ...missing.map((name) => `${path}.${name}: required`),
    ...Object.entries(value).flatMap(([name, field]) => {
      if (field === undefined) return [];
      const own = schema.properties?.[name] ?? schema.additionalProperties;
      return own === undefined ? [unknownField(path, name, schema)] : check(own, field, `${path}.${name}`);
    }),
  ];
};

const CHECKS: readonly Check[] = [checkText, checkNumber, checkList, checkFields];

function check(schema: Schema, value: unknown, path: string): readonly string[] {
  if (!hasType(schema, value)) return [`${path}: must be ${schema.type ?? 'an integer or a string'}`];
  return CHECKS.flatMap((one) => one(schema, value, path));
}

/** Faults of a spec, each with its path; empty when the API server would take it. */
export function specFaults(spec: unknown): readonly string[] {
  const faults = check({ type: 'object', properties: SPEC_PROPERTIES, required: SPEC_REQUIRED }, spec, 'spec');
  if (faults.length > 0) return faults;
  // Every field has its type by now.
  return RULES.filter(({ holds }) => !holds(spec as EmbeddingModelSpec)).map(
    ({ at, message }) => `${at === '' ? 'spec' : `spec.${at}`}: ${message}`,
  );
}

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

function nameFaults(metadata: unknown): readonly string[] {
  const name = isRecord(metadata) ? metadata['name'] : undefined;
  if (typeof name !== 'string') return ['metadata.name: required'];
  if (name.length > NAME_MAX) return [`metadata.name: ${NAME_RULE.message}`];
  return NAME.test(name) ? [] : [`metadata.name: "${name}" is not a lower-case DNS name`];
}

/** Checks a whole document as the API server would. */
export function validateEmbeddingModel(document: unknown): Validation {
  if (!isRecord(document)) return { ok: false, faults: ['not an object'] };
  const { apiVersion, kind, metadata, spec } = document;
  if (apiVersion !== API_VERSION || kind !== EMBEDDING_MODELS.kind)
    return { ok: false, faults: [`must be apiVersion ${API_VERSION}, kind ${EMBEDDING_MODELS.kind}`] };
  const faults = [...nameFaults(metadata), ...specFaults(spec)];
  return faults.length > 0 ? { ok: false, faults } : { ok: true, model: document as unknown as EmbeddingModel };
}
