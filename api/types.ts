// EmbeddingModel (kubembed.dev/v1alpha1): the TypeScript mirror of crds/, held together by a test, and what it means where it says nothing.
import type { KubeObject, ResourceType } from '../kube/types.ts';
import type { Condition } from './conditions.ts';

export const GROUP = 'kubembed.dev';
export const VERSION = 'v1alpha1';
export const API_VERSION = `${GROUP}/${VERSION}`;

export type Device = 'cpu' | 'gpu';
export type Precision = 'float32' | 'float16' | 'int8';
export const POOLINGS = ['mean', 'cls', 'lastToken', 'max', 'weightedMean', 'declared'] as const;
export type Pooling = (typeof POOLINGS)[number];
/** What a spec that says nothing of it means. */
export type UnsetPooling = Extract<Pooling, 'mean' | 'declared'>;

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
  /** Exactly one of the four; the chart's default (`emptyDir`, unless its values say otherwise) when omitted. */
  readonly emptyDir?: { readonly sizeLimit?: string };
  readonly existingClaim?: string;
  readonly claim?: {
    readonly size: string;
    readonly storageClassName?: string;
    readonly accessModes?: readonly string[];
  };
  /** A store packed as an OCI image, which the kubelet mounts. */
  readonly image?: { readonly reference: string; readonly pullPolicy?: 'Always' | 'IfNotPresent' | 'Never' };
}

/** Resource quantities by name, as in a container's `resources`; YAML's `cpu: 2` arrives as a number. */
export interface ResourceRequirements {
  readonly requests?: Readonly<Record<string, string | number>>;
  readonly limits?: Readonly<Record<string, string | number>>;
}

/** A part of a pod template; `null` takes away what is there without it. */
export interface PodTemplate {
  readonly metadata?: {
    readonly labels?: Readonly<Record<string, string | null>>;
    readonly annotations?: Readonly<Record<string, string | null>>;
  };
  readonly spec?: Readonly<Record<string, unknown>>;
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
  /** By served name: the prompt put before texts that ask for none. A single word is the name of one that the repository has, anything else the text itself. */
  readonly prompts?: Readonly<Record<string, string>>;
  /** What to do with inputs longer than the model's limit: `truncate` (default) or `error` (OpenAI's 400). */
  readonly overlongInput?: 'truncate' | 'error';
  /** Set through /scale; omitted when kubembed scales. */
  readonly replicas?: number;
  readonly scaling?: Scaling;
  readonly cache?: CacheSpec;
  /** Fill a cache that outlives pods when the model is accepted, instead of when the first request comes. */
  readonly prefetch?: boolean;
  readonly tokenSecretRef?: { readonly name: string; readonly key?: string };
  readonly resources?: ResourceRequirements;
  /** Laid over the pods that kubembed makes, as Kubernetes lays a strategic merge patch. */
  readonly podTemplate?: PodTemplate;
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
  /** Where weights were found complete: pods that start from there fetch nothing. */
  readonly cached?: {
    /** Which cache, so that another one of the same name is not taken for it. */
    readonly source: string;
    readonly commit: string;
  };
  readonly embedding?: {
    readonly dimensions: number;
    readonly maxTokens: number;
    /** In use, e.g. `cls`, or `cls+mean` where the repository declares two. */
    readonly pooling: string;
    /** What the repository declares, where that is another. */
    readonly declaredPooling?: string;
    readonly precision: Precision;
  };
  /** Why the autoscaler last chose its replica count, in words. */
  readonly scalingDecision?: string;
  /** Of a pod that fetches, in words. */
  readonly fetchProgress?: string;
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
  readonly prefetch: boolean;
}

/** What a spec that says nothing of them means; the operator's configuration has them. */
export interface SpecDefaults {
  readonly unsetPooling?: UnsetPooling;
  readonly cache?: CacheSpec | undefined;
  readonly prefetch?: boolean;
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

export function withDefaults(spec: EmbeddingModelSpec, defaults: SpecDefaults = {}): ResolvedSpec {
  const { unsetPooling = 'mean', cache = { emptyDir: {} }, prefetch = false } = defaults;
  const device = spec.device ?? 'cpu';
  return {
    model: spec.model,
    revision: spec.revision ?? 'main',
    device,
    precision: spec.precision ?? PRECISION_BY_DEVICE[device],
    pooling: spec.pooling ?? unsetPooling,
    overlongInput: spec.overlongInput ?? 'truncate',
    scaling: scalingWithDefaults(spec.scaling),
    cache: spec.cache ?? cache,
    prefetch: spec.prefetch ?? prefetch,
  };
}
