// Builders of test objects: valid by default, each test names only what matters to it.
import { API_VERSION, EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel, EmbeddingModelSpec, EmbeddingModelStatus } from '../../api/types.ts';
import { readOperatorConfig } from '../../operator/config.ts';
import type { ManifestConfig } from '../../operator/config.ts';
import { slimPod } from '../../operator/model/caches.ts';
import type { Snapshot } from '../../operator/model/snapshot.ts';
import { LABEL_MODEL } from '../../api/names.ts';
import type { ContainerStatus, Pod } from '../../kube/resources.ts';
import type { KubeObject, ObjectMeta, OwnerReference } from '../../kube/types.ts';

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

/** What goes over the wire to create one: under a name of its own, so that it is in nobody's way. */
export const manifest = (
  name: string,
  spec: Partial<EmbeddingModelSpec> = {},
  namespace = 'default',
): EmbeddingModel => ({
  apiVersion: API_VERSION,
  kind: EMBEDDING_MODELS.kind,
  metadata: { name, namespace },
  spec: { model: MINILM, servedNames: [`${namespace}/${name}`], ...spec },
});

/** Of an accepted model that has nothing yet. */
export const snapshot = (parts: Partial<Snapshot> = {}): Snapshot => ({
  model: embeddingModel(),
  acceptance: { status: 'True', reason: 'Accepted', message: 'ok', names: ['minilm'] },
  children: {},
  pods: [],
  prefetchPods: [],
  existingClaim: undefined,
  target: undefined,
  refusals: [],
  isRolloutQueued: false,
  paused: new Map(),
  progress: undefined,
  warnings: [],
  now: '2026-02-02T02:02:02Z',
  ...parts,
});

export const manifestConfig = (overrides: Partial<ManifestConfig> = {}): ManifestConfig => ({
  ...readOperatorConfig({
    KUBEMBED_RUNTIME_IMAGE: 'kubembed-runtime:test',
    KUBEMBED_RUNTIME_GPU_IMAGE: 'kubembed-runtime-gpu:test',
  }).manifests,
  ...overrides,
});

/** As the controller of what belongs to it. */
export const ownedBy = ({ apiVersion, kind, metadata }: KubeObject): OwnerReference => ({
  ...{ apiVersion, kind, name: metadata.name, uid: metadata.uid ?? '' },
  controller: true,
});

interface PodParts {
  readonly revision?: string;
  readonly created?: string;
  readonly deleting?: boolean;
  readonly status?: Pod['status'];
}

/** A pod of the model, as the kubelet would report it and the cache keeps it; `status` says how far it is. */
export const pod = (name: string, { revision = 'main', created, deleting, status }: PodParts = {}): Pod =>
  slimPod({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: 'default',
      labels: { [LABEL_MODEL]: 'minilm' },
      creationTimestamp: created ?? '2026-01-01T00:00:00Z',
      ...(deleting && { deletionTimestamp: '2026-01-01T01:00:00Z' }),
    },
    spec: {
      initContainers: [{ name: 'fetch', image: 'i', env: [{ name: 'KUBEMBED_REVISION', value: revision }] }],
      containers: [{ name: 'runtime', image: 'i' }],
    },
    ...(status && { status }),
  });

type ContainerState = Partial<Pick<ContainerStatus, 'state' | 'lastState' | 'ready'>>;

const containerStatus = (name: string, state: ContainerState): ContainerStatus => ({
  name,
  ready: false,
  restartCount: 0,
  ...state,
});

export const fetching = (state: ContainerState): Pod['status'] => ({
  phase: 'Pending',
  initContainerStatuses: [containerStatus('fetch', state)],
});

export const FETCHED_WORDS = {
  revision: SHA,
  dimensions: 384,
  maxTokens: 256,
  pooling: 'mean',
  architecture: 'BertModel',
};

const fetchDone = (words: object): ContainerStatus =>
  containerStatus('fetch', { ready: true, state: { terminated: { exitCode: 0, message: JSON.stringify(words) } } });

export const serving = (state: ContainerState, words: object = FETCHED_WORDS): Pod['status'] => ({
  phase: 'Running',
  initContainerStatuses: [fetchDone(words)],
  containerStatuses: [containerStatus('runtime', state)],
});
