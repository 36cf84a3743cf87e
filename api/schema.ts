// The OpenAPI schema of an EmbeddingModel's spec: source of crds/, of `kubectl explain`, and of the checks in validate.ts.
import { POOLINGS } from './types.ts';
import type { EmbeddingModelSpec } from './types.ts';

/** The subset of structural OpenAPI v3 that the CRD uses and that validate.ts understands. */
export interface Schema {
  readonly description?: string;
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly format?: string;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly 'x-kubernetes-int-or-string'?: true;
  readonly 'x-kubernetes-preserve-unknown-fields'?: true;
  readonly 'x-kubernetes-list-type'?: 'set' | 'map' | 'atomic';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-map-type'?: 'atomic';
  readonly 'x-kubernetes-validations'?: readonly object[];
}

const QUANTITY: Schema = {
  description: 'A resource quantity, such as 500m or 2Gi.',
  'x-kubernetes-int-or-string': true,
  anyOf: [{ type: 'integer' }, { type: 'string' }],
  pattern: '^([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$',
};

const quantities = (description: string): Schema => ({
  description,
  type: 'object',
  maxProperties: 32,
  additionalProperties: QUANTITY,
});

const strings = (description: string): Schema => ({
  description,
  type: 'object',
  additionalProperties: { type: 'string' },
});

/** Kubernetes' own object names. */
const objectName = (description: string): Schema => ({
  description,
  type: 'string',
  pattern: '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$',
  maxLength: 253,
});

const SCALING: Schema = {
  description: 'How kubembed scales this model by demand. Ignored while spec.replicas is set.',
  type: 'object',
  properties: {
    minReplicas: {
      description: 'Minimum number of replicas; 0 (the default) lets the model sleep when idle.',
      type: 'integer',
      format: 'int32',
      minimum: 0,
      maximum: 1000,
    },
    maxReplicas: {
      description: 'Maximum number of replicas. Default: 1, or minReplicas where that is more.',
      type: 'integer',
      format: 'int32',
      minimum: 1,
      maximum: 1000,
    },
    targetUtilization: {
      description: 'Fraction of the measured capacity to fill before another replica is added. Default: 0.7.',
      type: 'number',
      minimum: 0.1,
      maximum: 1,
    },
    idleSeconds: {
      description: 'Seconds without any demand after which a model with minReplicas 0 goes to zero. Default: 300.',
      type: 'integer',
      format: 'int32',
      minimum: 1,
      maximum: 604_800,
    },
  },
};

const CACHE: Schema = {
  description:
    "Where the weights are kept. Exactly one of emptyDir, existingClaim, claim and image; when omitted what the chart's runtime.cache says, emptyDir by default.",
  type: 'object',
  properties: {
    emptyDir: {
      description: 'On the node; every pod downloads the weights.',
      type: 'object',
      properties: { sizeLimit: { ...QUANTITY, description: 'Maximum size of the weights, such as 2Gi.' } },
    },
    existingClaim: objectName('Name of a PersistentVolumeClaim in the same namespace, shared by all replicas.'),
    claim: {
      description: 'A PersistentVolumeClaim to make; it is deleted with the EmbeddingModel.',
      type: 'object',
      required: ['size'],
      properties: {
        size: { ...QUANTITY, description: 'Size to ask for, such as 5Gi.' },
        storageClassName: objectName("StorageClass; the cluster's default when omitted."),
        accessModes: {
          description: 'Access modes; ReadWriteOnce when omitted. Replicas on several nodes need ReadWriteMany.',
          type: 'array',
          maxItems: 4,
          'x-kubernetes-list-type': 'set',
          items: { type: 'string', enum: ['ReadWriteOnce', 'ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOncePod'] },
        },
      },
    },
    image: {
      description:
        'An OCI image whose files are a model store, as the command `models pack` makes it; the node mounts and keeps it.',
      type: 'object',
      required: ['reference'],
      properties: {
        reference: {
          description: 'Name of the image, best with its digest.',
          type: 'string',
          minLength: 1,
          maxLength: 1000,
          pattern: '^[A-Za-z0-9][A-Za-z0-9._:/@-]*$',
        },
        pullPolicy: {
          description: 'When the node pulls it; IfNotPresent when omitted, Always with the tag latest.',
          type: 'string',
          enum: ['Always', 'IfNotPresent', 'Never'],
        },
      },
    },
  },
};

/** One schema per field of the spec: a field in the types without one here (or the reverse) does not compile. */
export const SPEC_PROPERTIES: Readonly<Record<keyof EmbeddingModelSpec, Schema>> = {
  model: {
    description: 'Hugging Face id, org/name or name. It must be in the catalog (supported_models.txt). Immutable.',
    type: 'string',
    minLength: 1,
    maxLength: 193,
    pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$',
  },
  revision: {
    description: 'Branch, tag or commit; main when omitted. Resolved once to a commit, which status.revision keeps.',
    type: 'string',
    minLength: 1,
    maxLength: 250,
    pattern: '^[A-Za-z0-9][A-Za-z0-9._/-]*$',
  },
  servedNames: {
    description:
      'What clients send as `model`, such as text-embedding-3-small; the id alone when omitted. A name belongs to one EmbeddingModel.',
    type: 'array',
    minItems: 1,
    maxItems: 32,
    'x-kubernetes-list-type': 'set',
    items: { type: 'string', minLength: 1, maxLength: 193, pattern: '^[A-Za-z0-9][A-Za-z0-9._:/-]*$' },
  },
  device: {
    description: 'What the model runs on: cpu or gpu.',
    type: 'string',
    enum: ['cpu', 'gpu'],
    default: 'cpu',
  },
  precision: {
    description: 'float32 (default on cpu), float16 (default on gpu, gpu only) or int8 (cpu only).',
    type: 'string',
    enum: ['float32', 'float16', 'int8'],
  },
  pooling: {
    description:
      'How token vectors become one: mean (the default), cls, lastToken, max, weightedMean, or declared: what the repository declares. Where it declares another than the one in use, a warning says so.',
    type: 'string',
    enum: [...POOLINGS],
  },
  prompts: {
    description:
      "By served name: the prompt put before texts whose request asks for none, such as {e5-query: 'query: '}. A single word is the name of a prompt that the repository has; anything else is the text itself.",
    type: 'object',
    maxProperties: 32,
    additionalProperties: { type: 'string', maxLength: 4096 },
  },
  overlongInput: {
    description: "What to do with inputs longer than the model's limit: truncate (default) or error (a 400).",
    type: 'string',
    enum: ['truncate', 'error'],
  },
  replicas: {
    description: 'Fixed number of replicas, as set by kubectl scale or an autoscaler. Omit it to let kubembed scale.',
    type: 'integer',
    format: 'int32',
    minimum: 0,
    maximum: 1000,
  },
  scaling: SCALING,
  cache: CACHE,
  prefetch: {
    description:
      "Fill the cache by a Job as soon as the model is accepted; replicas start when it is full. It needs a cache that outlives pods: with emptyDir it does nothing. When omitted what the chart's runtime.prefetch says.",
    type: 'boolean',
  },
  tokenSecretRef: {
    description: 'Secret with a Hugging Face token. Only the fetching init container sees it.',
    type: 'object',
    required: ['name'],
    properties: {
      name: objectName('Name of a Secret in the same namespace.'),
      key: {
        description: 'Key in the Secret; HF_TOKEN when omitted.',
        type: 'string',
        minLength: 1,
        maxLength: 253,
        pattern: '^[-._a-zA-Z0-9]+$',
      },
    },
  },
  resources: {
    description:
      "Requests and limits of the serving container, over the device's defaults. The cpu limit sets the threads. On gpu one GPU is added unless a GPU resource (MIG slices and shares included) is named.",
    type: 'object',
    properties: {
      requests: quantities('Minimum resources, by name.'),
      limits: quantities('Maximum resources, by name.'),
    },
  },
  podTemplate: {
    description:
      "Laid over the pods that kubembed makes, as kubectl lays a strategic merge patch: lists with keys (containers `fetch` and `runtime`, env, volumes, …) are merged item by item, others replaced; null or `$patch: delete` takes away. What the operator sets for the model's sake (image, command, service account, KUBEMBED_ variables, labels of its own) it cannot change.",
    type: 'object',
    properties: {
      metadata: {
        description: 'Further labels and annotations of the pods.',
        type: 'object',
        properties: { labels: strings('Labels.'), annotations: strings('Annotations.') },
      },
      spec: {
        description:
          'Fields of a pod spec, such as nodeSelector, tolerations, affinity, runtimeClassName, priorityClassName, imagePullSecrets, securityContext, volumes; and of its containers env, envFrom, volumeMounts, resources.',
        type: 'object',
        'x-kubernetes-preserve-unknown-fields': true,
      },
    },
  },
};

export const SPEC_REQUIRED: readonly (keyof EmbeddingModelSpec)[] = ['model'];
