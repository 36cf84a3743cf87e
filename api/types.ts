// EmbeddingModel (kubembed.dev/v1alpha1): the TypeScript mirror of crds/, held together by a test, and what it means where it says nothing.
import { createHash } from 'node:crypto';
import type { KubeObject, ResourceType, OwnerReference } from '../kube/types.ts';
import type { Condition } from './conditions.ts';

export const GROUP = 'kubembed.dev';
export const VERSION = 'v1alpha1';
export const API_VERSION = `${GROUP}/${VERSION}`;

export type Device = 'cpu' | 'gpu';
export type Precision = 'float32' | 'float16' | 'int8';
export type Pooling = 'mean' | 'cls';

export interface Scaling {
  /** 0 or more; 0 lets the model sleep when idle. */
  readonly minReplicas?: number;
  readonly maxReplicas?: number;
  /** Fraction of measured capacity to fill, 0.1–1. */
  readonly targetUtilization?: number;
  /** Seconds without demand after which a model with `minReplicas: 0` goes to zero. */
  readonly idleSeconds?: number;
}

export interface CacheSpec {
  /** Exactly one of the three; `emptyDir` when omitted. */
  readonly emptyDir?: { readonly sizeLimit?: string };
  readonly existingClaim?: string;
  readonly claim?: {
    readonly size: string;
    readonly storageClassName?: string;
    readonly accessModes?: readonly string[];
  };
}

/** Resource quantities by name, as in a container's `resources`; YAML's `cpu: 2` arrives as a number. */
export interface ResourceRequirements {
  readonly requests?: Readonly<Record<string, string | number>>;
  readonly limits?: Readonly<Record<string, string | number>>;
}

export interface EmbeddingModelSpec {
  /** Hugging Face id, `org/name` or `name`. Immutable. */
  readonly model: string;
  /** Branch, tag or commit; `main` when omitted. */
  readonly revision?: string;
  /** What clients send as `model`; the id when omitted. */
  readonly servedNames?: readonly string[];
  readonly device?: Device;
  readonly precision?: Precision;
  readonly pooling?: Pooling;
  /** What to do with inputs longer than the model's limit: `truncate` (default) or `error` (OpenAI's 400). */
  readonly overlongInput?: 'truncate' | 'error';
  /** Set through /scale; omitted when kubembed scales. */
  readonly replicas?: number;
  readonly scaling?: Scaling;
  readonly cache?: CacheSpec;
  readonly tokenSecretRef?: { readonly name: string; readonly key?: string };
  readonly resources?: ResourceRequirements;
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly tolerations?: readonly object[];
  readonly affinity?: object;
  readonly runtimeClassName?: string;
  readonly priorityClassName?: string;
  readonly imagePullSecrets?: readonly { readonly name: string }[];
}

export interface ResolvedRevision {
  /** As asked for. */
  readonly revision: string;
  readonly commit: string;
}

export interface EmbeddingModelStatus {
  readonly observedGeneration?: number;
  /** The release that manages it, by the Lease of its operators: `namespace/name`. */
  readonly release?: string;
  readonly conditions?: readonly Condition[];
  /** The names that requests reach this model by: those of `spec.servedNames` that are its own. */
  readonly servedNames?: readonly string[];
  /** What kubembed asks of the Deployment. */
  readonly desiredReplicas?: number;
  readonly replicas?: number;
  readonly readyReplicas?: number;
  /** Label selector string for /scale. */
  readonly selector?: string;
  /** Commit sha that every replica serves; resolved once per spec.revision. */
  readonly revision?: string;
  /** For every branch and tag that was ever asked for. */
  readonly resolvedRevisions?: readonly ResolvedRevision[];
  readonly embedding?: {
    readonly dimensions: number;
    readonly maxTokens: number;
    readonly pooling: Pooling;
    readonly precision: Precision;
  };
  /** Why the autoscaler last chose its replica count, in words. */
  readonly scalingDecision?: string;
}

export interface EmbeddingModel extends KubeObject {
  readonly spec: EmbeddingModelSpec;
  readonly status?: EmbeddingModelStatus;
}

export const EMBEDDING_MODELS: ResourceType<EmbeddingModel> = {
  group: GROUP,
  version: VERSION,
  plural: 'embeddingmodels',
  kind: 'EmbeddingModel',
  namespaced: true,
};

// Defaults

export interface ResolvedScaling {
  readonly minReplicas: number;
  readonly maxReplicas: number;
  readonly targetUtilization: number;
  readonly idleSeconds: number;
}

/** A spec with nothing left open that a decision needs. The CRD itself sets no default but `device`, so that they all stand here. */
export interface ResolvedSpec {
  readonly model: string;
  readonly revision: string;
  readonly device: Device;
  readonly precision: Precision;
  readonly pooling: Pooling;
  readonly overlongInput: 'truncate' | 'error';
  readonly scaling: ResolvedScaling;
  readonly cache: CacheSpec;
}

const SCALING_DEFAULTS: ResolvedScaling = {
  minReplicas: 0,
  maxReplicas: 1,
  targetUtilization: 0.7,
  idleSeconds: 300,
};

const PRECISION_BY_DEVICE: Readonly<Record<Device, Precision>> = { cpu: 'float32', gpu: 'float16' };

function scalingWithDefaults(scaling: Scaling = {}): ResolvedScaling {
  const minReplicas = scaling.minReplicas ?? SCALING_DEFAULTS.minReplicas;
  return {
    minReplicas,
    // An unsaid maximum never undercuts a said minimum.
    maxReplicas: scaling.maxReplicas ?? Math.max(SCALING_DEFAULTS.maxReplicas, minReplicas),
    targetUtilization: scaling.targetUtilization ?? SCALING_DEFAULTS.targetUtilization,
    idleSeconds: scaling.idleSeconds ?? SCALING_DEFAULTS.idleSeconds,
  };
}

export function withDefaults(spec: EmbeddingModelSpec): ResolvedSpec {
  const device = spec.device ?? 'cpu';
  return {
    model: spec.model,
    revision: spec.revision ?? 'main',
    device,
    precision: spec.precision ?? PRECISION_BY_DEVICE[device],
    pooling: spec.pooling ?? 'mean',
    overlongInput: spec.overlongInput ?? 'truncate',
    scaling: scalingWithDefaults(spec.scaling),
    cache: spec.cache ?? { emptyDir: {} },
  };
}

// Names: labels, annotations and the deterministic names of everything that belongs to an EmbeddingModel.

/** On every child, pod and EndpointSlice: the name of the EmbeddingModel (in the same namespace). */
export const LABEL_MODEL = 'kubembed.dev/model';
/** On EmbeddingModels made from a catalog: its name. */
export const LABEL_CATALOG = 'kubembed.dev/catalog';
export const LABEL_MANAGED_BY = 'app.kubernetes.io/managed-by';
export const LABEL_COMPONENT = 'app.kubernetes.io/component';
export const MANAGED_BY = 'kubembed-operator';
/** On children: hash of the manifest they were applied from. */
export const ANNOTATION_HASH = 'kubembed.dev/spec-hash';

/**
 * On children and on EmbeddingModels made from a catalog: the release that made them, by its Lease (`namespace/name`). On any other
 * EmbeddingModel it says which release is to manage it.
 */
export const ANNOTATION_RELEASE = 'kubembed.dev/release';

export const FIELD_MANAGER = 'kubembed-operator';
export const CATALOG_FIELD_MANAGER = 'kubembed-catalog';

/** Names of containers and ports that router, chart and local mode may rely on. */
export const FETCH_CONTAINER = 'fetch';
export const SERVE_CONTAINER = 'runtime';
export const HTTP_PORT_NAME = 'http';

const LABEL_MAX = 63;
const HASH_LENGTH = 8;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

export const shortHash = (text: string, length = HASH_LENGTH): string =>
  createHash('sha256').update(text).digest('hex').slice(0, length);

/** Cuts to `max` characters, the last of them a hash of the whole: two long names never meet. */
const withHash = (base: string, whole: string, max: number): string =>
  `${base.slice(0, max - HASH_LENGTH - 1).replace(/[-.]+$/, '')}-${shortHash(whole)}`;

/**
 * A resource name for a Hugging Face id: lower case, `/` as `--`. Where that would lose more than case
 * (the hub tells no two repositories apart by case), or is too long, a short hash of the id is appended.
 */
export function resourceNameOf(modelId: string): string {
  const name = modelId.toLowerCase().replace('/', '--');
  if (SUBDOMAIN.test(name) && name.length <= LABEL_MAX && !modelId.includes('--')) return name;
  const base = name.replace(/[^a-z0-9-]/g, '-').replace(/^-+|-+$/g, '');
  return withHash(base === '' ? 'model' : base, modelId, LABEL_MAX);
}

/** Name of the Deployment, Service, ServiceAccount and PodDisruptionBudget of an EmbeddingModel: a DNS-1035 label. */
export function childName(modelName: string): string {
  const name = `em-${modelName}`;
  if (!modelName.includes('.') && name.length <= LABEL_MAX) return name;
  return withHash(name.replaceAll('.', '-'), modelName, LABEL_MAX);
}

export const revisionConfigMapName = (modelName: string): string => `${childName(modelName)}-revision`;
export const cacheClaimName = (modelName: string): string => `${childName(modelName)}-cache`;

/**
 * Key in the revision ConfigMap for what `spec.revision` resolved to. It differs per requested revision, so that a changed
 * spec never reads the commit of the old one.
 */
export const revisionKey = (requestedRevision: string): string => `sha-${shortHash(requestedRevision, 16)}`;

/** Labels that select the pods of an EmbeddingModel. Immutable in a Deployment: never add to them. */
export const podSelector = (modelName: string): Readonly<Record<string, string>> => ({ [LABEL_MODEL]: modelName });

export const selectorString = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');

/** `namespace/name`: the key of the demand stream, of queues and of metrics labels. */
export const modelKey = ({ metadata }: EmbeddingModel): string => `${metadata.namespace ?? ''}/${metadata.name}`;

export const ownerReferenceTo = ({ metadata }: EmbeddingModel): OwnerReference => ({
  apiVersion: API_VERSION,
  kind: EMBEDDING_MODELS.kind,
  name: metadata.name,
  uid: metadata.uid ?? '',
  controller: true,
  blockOwnerDeletion: true,
});

/** Every name under which clients are to reach a model: those that it lists, or else its id. */
export const servedNames = ({ model, servedNames: own }: EmbeddingModelSpec): readonly string[] => own ?? [model];

/** The hub tells no two ids apart by case, and nor do routers: names that differ in case alone are one name, which has one owner. */
export const foldName = (name: string): string => name.toLowerCase();
