// Builders of test objects: valid by default, each test names only what matters to it.
import { API_VERSION, EMBEDDING_MODELS } from '../../operator/api/types.ts';
import type { EmbeddingModel, EmbeddingModelSpec, EmbeddingModelStatus } from '../../operator/api/types.ts';
import { readOperatorConfig } from '../../operator/config.ts';
import type { DesiredConfig } from '../../operator/desired/config.ts';
import type { ObjectMeta } from '../../kube/types.ts';

export const MINILM = 'sentence-transformers/all-MiniLM-L6-v2';
export const SHA = 'c9745ed1d9f207416be6d2e6f8de32d1f16199bf';

interface ModelParts {
  readonly metadata?: Partial<ObjectMeta>;
  readonly spec?: Partial<EmbeddingModelSpec>;
  readonly status?: EmbeddingModelStatus;
}

export const embeddingModel = (name = 'minilm', parts: ModelParts = {}): EmbeddingModel => ({
  apiVersion: API_VERSION,
  kind: EMBEDDING_MODELS.kind,
  metadata: {
    name,
    namespace: 'default',
    uid: `uid-${name}`,
    generation: 1,
    creationTimestamp: '2026-01-01T00:00:00Z',
    ...parts.metadata,
  },
  spec: { model: MINILM, ...parts.spec },
  ...(parts.status && { status: parts.status }),
});

/** What goes over the wire to create one. */
export const manifest = (
  name: string,
  spec: Partial<EmbeddingModelSpec> = {},
  namespace = 'default',
): EmbeddingModel => ({
  apiVersion: API_VERSION,
  kind: EMBEDDING_MODELS.kind,
  metadata: { name, namespace },
  spec: { model: MINILM, ...spec },
});

export const desiredConfig = (overrides: Partial<DesiredConfig> = {}): DesiredConfig => ({
  ...readOperatorConfig({
    KUBEMBED_RUNTIME_IMAGE: 'kubembed-runtime:test',
    KUBEMBED_RUNTIME_GPU_IMAGE: 'kubembed-runtime-gpu:test',
  }).desired,
  ...overrides,
});
