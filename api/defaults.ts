// Defaults: what an EmbeddingModel means where it says nothing. The CRD sets no more than `device`, so that this is the one place.
import type { CacheSpec, Device, EmbeddingModelSpec, Pooling, Precision, Scaling } from './types.ts';

export interface ResolvedScaling {
  readonly minReplicas: number;
  readonly maxReplicas: number;
  readonly targetUtilization: number;
  readonly idleSeconds: number;
}

/** A spec with nothing left open that a decision needs. */
export interface ResolvedSpec {
  readonly model: string;
  readonly revision: string;
  readonly aliases: readonly string[];
  readonly device: Device;
  readonly precision: Precision;
  readonly pooling: Pooling;
  readonly overlongInput: 'truncate' | 'error';
  readonly scaling: ResolvedScaling;
  readonly cache: CacheSpec;
}

export const SCALING_DEFAULTS: ResolvedScaling = {
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
    aliases: spec.aliases ?? [],
    device,
    precision: spec.precision ?? PRECISION_BY_DEVICE[device],
    pooling: spec.pooling ?? 'mean',
    overlongInput: spec.overlongInput ?? 'truncate',
    scaling: scalingWithDefaults(spec.scaling),
    cache: spec.cache ?? { emptyDir: {} },
  };
}

const COMMIT_SHA = /^[0-9a-f]{40}$/;

/** A full commit sha names the same bytes for ever: it needs no resolving. */
export const isCommitSha = (revision: string): boolean => COMMIT_SHA.test(revision);
