// Condition types and reasons of an EmbeddingModel: the vocabulary that status, events, docs and alerts share.

export type ConditionStatus = 'True' | 'False' | 'Unknown';

/** As metav1.Condition. */
export interface Condition {
  readonly type: ConditionType;
  readonly status: ConditionStatus;
  readonly observedGeneration?: number;
  readonly lastTransitionTime: string;
  readonly reason: string;
  readonly message: string;
}

export const CONDITION_TYPES = ['Accepted', 'Fetched', 'Available', 'Progressing', 'Ready'] as const;
export type ConditionType = (typeof CONDITION_TYPES)[number];

interface ReasonInfo {
  /** What it means and what to do, used when nothing more exact is known. */
  readonly message: string;
  /** `Warning` reasons are also sent as Warning events. */
  readonly event?: 'Normal' | 'Warning';
  /** Learnt from pods that are gone: it stands while the model sleeps, until it is tried again. */
  readonly lasting?: true;
}

/** Every reason a condition can carry. The troubleshooting page has one section per key. */
export const REASONS = {
  Accepted: { message: 'The model is listed and its names are free.' },
  NotInSupportedModels: {
    message: 'The model is not in the list of supported models; add its id to the list to allow it.',
    event: 'Warning',
  },
  AliasConflict: { message: 'An older EmbeddingModel serves one of these names already.', event: 'Warning' },
  NameConflict: {
    message: 'An object with the name of one of the children exists and belongs to something else.',
    event: 'Warning',
  },
  CatalogMissing: { message: 'The list of supported models has not been read yet.' },

  Fetched: { message: 'The weights are complete.' },
  PoolingDiffers: {
    message: 'The repository declares another pooling than the one asked for; vectors follow spec.pooling.',
    event: 'Warning',
  },
  NotFetched: { message: 'The weights are fetched when the first request comes.' },
  Fetching: { message: 'The weights are being fetched.' },
  RepositoryNotFound: {
    message: 'The hub knows no such repository, or shows it to nobody without a token.',
    event: 'Warning',
    lasting: true,
  },
  RevisionNotFound: { message: 'The repository has no such branch, tag or commit.', event: 'Warning', lasting: true },
  GatedRepository: {
    message: 'The repository is gated: accept its terms on the hub and set spec.tokenSecretRef.',
    event: 'Warning',
    lasting: true,
  },
  HubUnreachable: { message: 'The hub could not be reached.', event: 'Warning', lasting: true },
  UnsupportedArchitecture: {
    message: 'No graph builder serves this architecture and the repository ships no onnx/model.onnx.',
    event: 'Warning',
    lasting: true,
  },
  CorruptWeights: { message: 'The weights do not match their size, hash or header.', event: 'Warning', lasting: true },
  FetchFailed: { message: 'Fetching the weights failed.', event: 'Warning', lasting: true },

  Available: { message: 'At least one replica serves.' },
  ScaledToZero: { message: 'Asleep for want of demand; the next request wakes it.' },
  Stopped: { message: 'spec.replicas is 0: nothing is served until it is raised or removed.' },
  Starting: { message: 'Replicas are starting.' },
  InsufficientMemory: { message: 'The memory limit is too small for this model.', event: 'Warning', lasting: true },
  DeviceUnavailable: {
    message: 'The device that spec.device asks for cannot be used in the pod.',
    event: 'Warning',
    lasting: true,
  },
  TokenizerUnusable: {
    message: 'The tokenizer that the repository ships cannot be used.',
    event: 'Warning',
    lasting: true,
  },
  VectorCheckFailed: {
    message: 'The probe text gave no finite unit vector of the right size.',
    event: 'Warning',
    lasting: true,
  },
  ImagePullBackOff: { message: 'The runtime image cannot be pulled.', event: 'Warning' },
  ContainerConfigError: { message: 'A Secret or ConfigMap that the pod names does not exist.', event: 'Warning' },
  OutOfMemory: {
    message: 'A container was killed at its memory limit; raise resources.limits.memory.',
    event: 'Warning',
    lasting: true,
  },
  StorageLimitExceeded: {
    message: 'The pod was evicted for writing more than it may; raise spec.cache.emptyDir.sizeLimit.',
    event: 'Warning',
    lasting: true,
  },
  Unschedulable: { message: 'No node can take the pod.', event: 'Warning' },
  ClaimPending: { message: 'The volume claim for the weights is not bound.', event: 'Warning' },
  VolumeUnavailable: { message: 'A volume of the pod cannot be attached or mounted.', event: 'Warning' },
  PodSetupFailed: { message: 'The node cannot set the pod up.', event: 'Warning' },
  ClaimNotFound: { message: 'The claim named in spec.cache.existingClaim does not exist.', event: 'Warning' },
  ApplyFailed: { message: 'The API server refuses an object of this model.', event: 'Warning' },
  PodsRefused: { message: 'The API server refuses the pods (quota, admission or security policy).', event: 'Warning' },
  CrashLooping: { message: 'The runtime starts and ends again and again.', event: 'Warning', lasting: true },

  Progressing: { message: 'A rollout or a change of scale is under way.' },
  Stable: { message: 'What is wanted is what runs.' },

  Ready: { message: 'Requests are answered.', event: 'Normal' },
  NotAccepted: { message: 'The model is not accepted; see the Accepted condition.' },
} as const satisfies Readonly<Record<string, ReasonInfo>>;

export type Reason = keyof typeof REASONS;

export const isReason = (text: string): text is Reason => Object.hasOwn(REASONS, text);

export const reasonInfo = (reason: Reason): ReasonInfo => REASONS[reason];

export const findCondition = (
  conditions: readonly Condition[] | undefined,
  type: ConditionType,
): Condition | undefined => conditions?.find((condition) => condition.type === type);
