// The CustomResourceDefinition as a value. `crds/embeddingmodels.yaml` is its print-out; a test holds the two together.
import { CONDITION_TYPES } from './conditions.ts';
import { MODEL_IMMUTABLE, NAME_RULE, RULES } from './validation.ts';
import type { Rule } from './validation.ts';
import { SPEC_PROPERTIES, SPEC_REQUIRED } from './schema.ts';
import type { Schema } from './schema.ts';
import { EMBEDDING_MODELS, GROUP, VERSION } from './types.ts';
import type { EmbeddingModelStatus } from './types.ts';

const rulesAt = (at: Rule['at']): readonly object[] =>
  RULES.filter((rule) => rule.at === at).map(({ cel, message }) => ({ rule: cel, message }));

function withRules(): Schema {
  const properties = Object.entries(SPEC_PROPERTIES).map(([name, schema]) => {
    const rules =
      name === 'model' ? [MODEL_IMMUTABLE] : RULES.some(({ at }) => at === name) ? rulesAt(name as Rule['at']) : [];
    return [name, rules.length > 0 ? { ...schema, 'x-kubernetes-validations': rules } : schema] as const;
  });
  return {
    description: 'Desired state.',
    type: 'object',
    required: SPEC_REQUIRED,
    properties: Object.fromEntries(properties),
    'x-kubernetes-validations': rulesAt(''),
  };
}

const count = (description: string): Schema => ({ description, type: 'integer', format: 'int32' });
const text = (description: string): Schema => ({ description, type: 'string' });

const CONDITION: Schema = {
  type: 'object',
  required: ['type', 'status', 'lastTransitionTime', 'reason', 'message'],
  properties: {
    type: text(`One of ${CONDITION_TYPES.join(', ')}.`),
    status: { description: 'True, False or Unknown.', type: 'string', enum: ['True', 'False', 'Unknown'] },
    observedGeneration: {
      description: 'Generation of the spec that this condition describes.',
      type: 'integer',
      format: 'int64',
    },
    lastTransitionTime: { description: 'When the status last changed.', type: 'string', format: 'date-time' },
    reason: { description: 'Reason in one word, for programs.', type: 'string', minLength: 1, maxLength: 1024 },
    message: { description: 'Explanation for people.', type: 'string', maxLength: 32_768 },
  },
};

const STATUS_PROPERTIES: Readonly<Record<keyof EmbeddingModelStatus, Schema>> = {
  observedGeneration: {
    description: 'Generation of the spec that this status describes.',
    type: 'integer',
    format: 'int64',
  },
  conditions: {
    description: 'Accepted, Fetched, Available, Progressing and Ready, each with a reason that can be acted on.',
    type: 'array',
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['type'],
    items: CONDITION,
  },
  release: text('The release that manages this resource, by the Lease of its operators: namespace/name.'),
  servedNames: {
    description: 'The names that requests reach this model by: those of spec.servedNames that are its own.',
    type: 'array',
    'x-kubernetes-list-type': 'set',
    items: { type: 'string' },
  },
  desiredReplicas: count('Pods that kubembed asks for.'),
  replicas: count('Pods that exist.'),
  readyReplicas: count('Pods that serve.'),
  selector: text('Label selector of the pods, for the scale subresource.'),
  revision: text('Commit whose weights every replica serves.'),
  resolvedRevisions: {
    description:
      'The commit of every branch and tag that spec.revision ever asked for: going back to one is going back to its commit.',
    type: 'array',
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['revision'],
    items: {
      type: 'object',
      required: ['revision', 'commit'],
      properties: {
        revision: text('Branch or tag, as asked for.'),
        commit: text('Commit that it was when first fetched.'),
      },
    },
  },
  cached: {
    description: 'Where the weights were found complete: replicas that start from there fetch nothing.',
    type: 'object',
    required: ['source', 'commit'],
    properties: {
      source: text('The claim with its uid, or the image.'),
      commit: text('The commit that it holds.'),
    },
  },
  embedding: {
    description: 'Properties of the vectors.',
    type: 'object',
    required: ['dimensions', 'maxTokens', 'pooling', 'precision'],
    properties: {
      dimensions: count('Length of a vector.'),
      maxTokens: count('Longest input in tokens, special tokens included.'),
      pooling: text('Pooling in use.'),
      declaredPooling: text('Pooling that the repository declares, where that is another.'),
      precision: text('Precision in use.'),
    },
  },
  fetchProgress: text(
    'How far a pod is that fetches the weights, and how long it may still take; absent while none does.',
  ),
  scalingDecision: text('Why kubembed last changed the number of replicas.'),
};

const column = (name: string, jsonPath: string, rest: object = {}): object => ({
  name,
  type: 'string',
  jsonPath,
  ...rest,
});

const PRINTER_COLUMNS = [
  column('Model', '.spec.model'),
  column('Device', '.spec.device'),
  column('Ready', '.status.conditions[?(@.type=="Ready")].status'),
  column('Desired', '.status.desiredReplicas', { type: 'integer' }),
  column('Replicas', '.status.readyReplicas', { type: 'integer' }),
  column('Reason', '.status.conditions[?(@.type=="Ready")].reason'),
  column('Progress', '.status.fetchProgress'),
  // A list is printed as JSON, too wide for most terminals.
  column('Names', '.status.servedNames', { priority: 1 }),
  column('Revision', '.status.revision', { priority: 1 }),
  column('Release', '.status.release', { priority: 1 }),
  column('Message', '.status.conditions[?(@.type=="Ready")].message', { priority: 1 }),
  column('Age', '.metadata.creationTimestamp', { type: 'date' }),
];

export const crd = (): object => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${EMBEDDING_MODELS.plural}.${GROUP}` },
  spec: {
    group: GROUP,
    scope: 'Namespaced',
    names: {
      plural: EMBEDDING_MODELS.plural,
      singular: 'embeddingmodel',
      kind: EMBEDDING_MODELS.kind,
      listKind: 'EmbeddingModelList',
      shortNames: ['em'],
      categories: ['kubembed'],
    },
    versions: [
      {
        name: VERSION,
        served: true,
        storage: true,
        additionalPrinterColumns: PRINTER_COLUMNS,
        subresources: {
          status: {},
          scale: {
            specReplicasPath: '.spec.replicas',
            statusReplicasPath: '.status.replicas',
            labelSelectorPath: '.status.selector',
          },
        },
        schema: {
          openAPIV3Schema: {
            description: 'A text embedding model, served under the OpenAI embeddings API.',
            type: 'object',
            required: ['spec'],
            'x-kubernetes-validations': [NAME_RULE],
            properties: {
              apiVersion: text('Version of the schema of this object.'),
              kind: text('EmbeddingModel.'),
              metadata: { type: 'object' },
              spec: withRules(),
              status: { description: 'Observed state.', type: 'object', properties: STATUS_PROPERTIES },
            },
          },
        },
      },
    ],
  },
});
