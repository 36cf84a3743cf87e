// What an EmbeddingModel says of itself: condition types, the one table of reasons, and what conditions add up to for whoever
// waits for the model or looks at it. Pure.
import type { EmbeddingModel } from './types.ts';

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

// The table of reasons

export interface ReasonInfo {
  /** What it means and what to do, used when nothing more exact is known. */
  readonly message: string;
  /** Type of the event that is sent when a condition takes the reason on. */
  readonly event: 'Normal' | 'Warning' | undefined;
  /**
   * Waiting does not cure it, a person does: while nothing serves, the router answers a request at once with the message, instead of
   * letting it wait for a replica. The request wakes the model all the same, so that what was cured meanwhile shows.
   */
  readonly blocking: boolean;
  /** Learnt from pods that are gone: it stands while the model sleeps, until it is tried again. */
  readonly lasting: boolean;
  /** It is the model itself that is refused: clients are told so, instead of being asked to try again. */
  readonly final: boolean;
}

/** As it should be, or on its way there. */
const normal = (message: string): ReasonInfo => ({
  message,
  event: undefined,
  blocking: false,
  lasting: false,
  final: false,
});
/** To be looked at, and yet it may pass by itself: requests wait. */
const warning = (message: string): ReasonInfo => ({ ...normal(message), event: 'Warning' });
/** Requests are told at once. */
const blocking = (message: string): ReasonInfo => ({ ...warning(message), blocking: true });
/** The next pods of the same template would meet it again. */
const lasting = (message: string): ReasonInfo => ({ ...blocking(message), lasting: true });

/** No retry cures it: the same commit is refused each time. */
const final = (message: string): ReasonInfo => ({ ...lasting(message), final: true });

/** Every reason a condition can carry. The troubleshooting page has a section of that name for each, its anchor in lower case. */
export const REASONS = {
  // Of Accepted. Names of what is refused are not routed at all: a request for them is told that there is no such model.
  Accepted: normal('The model is listed and its names are free.'),
  NotInSupportedModels: warning(
    'The model is not in the catalog (supported_models.txt); add its id there to allow it.',
  ),
  // Not blocking: a name passes to the younger resource a moment after the older one is gone, and requests wait for that moment.
  NameTaken: warning('A name belongs to another EmbeddingModel or to the list; choose others in spec.servedNames.'),
  RemovedFromList: warning('Its id was taken off the list, and it is withdrawn soon; add it there again to keep it.'),
  NameConflict: blocking('An object with the name of one of the children exists and belongs to something else.'),
  CatalogMissing: normal('The catalog (supported_models.txt) has not been read yet.'),
  ManagedElsewhere: normal('Another release of kubembed manages it.'),
  NotAccepted: normal('The model is not accepted; see the Accepted condition.'),

  // Of Fetched. A second try finds the same repository and the same weights; what cannot be reached is tried again by the kubelet,
  // minutes apart before long: whoever asks is better told why.
  Fetched: normal('The weights are complete.'),
  PoolingDiffers: warning('The repository declares another pooling than the one in use; vectors follow spec.pooling.'),
  NotFetched: normal('Nothing was fetched yet: the first request, or spec.prefetch, shows whether it can be served.'),
  Fetching: normal('The weights are being fetched.'),
  RepositoryNotFound: lasting('The hub has no such repository, or shows it only with a token.'),
  RevisionNotFound: lasting('The repository has no such branch, tag or commit.'),
  GatedRepository: lasting('The repository is gated: accept its terms on the hub and set spec.tokenSecretRef.'),
  HubUnreachable: lasting('The hub could not be reached.'),
  UnsupportedArchitecture: final('The model computes something that kubembed does not compute exactly.'),
  UnsupportedFiles: final('The repository lacks files in a form that kubembed reads.'),
  PromptNotFound: lasting('spec.prompts names a prompt that the repository does not have.'),
  UnsafeWeights: final('A weight file holds more than weights; nothing of it was run.'),
  WeightsMissing: warning('The cache lacks weights that it was known to have; they are fetched anew.'),
  CorruptWeights: lasting('The weights do not match their size, hash or header.'),
  FetchFailed: lasting('Fetching the weights failed.'),

  // Of Available: the pods themselves.
  Available: normal('At least one replica serves.'),
  ScaledToZero: normal('Scaled to zero for lack of demand; the next request wakes the model.'),
  // Somebody wanted it so: no event, and no request changes it.
  Stopped: { ...normal('spec.replicas is 0; nothing is served until it is raised or removed.'), blocking: true },
  Starting: normal('Replicas are starting.'),
  InsufficientMemory: lasting('The memory limit is too small for this model.'),
  DeviceUnavailable: lasting('The device that spec.device asks for cannot be used in the pod.'),
  TokenizerUnusable: lasting('The tokenizer that the repository ships cannot be used.'),
  VectorCheckFailed: lasting('A probe text did not give a finite unit vector of the right size.'),
  OutOfMemory: lasting('A container was killed at its memory limit; raise resources.limits.memory.'),
  StorageLimitExceeded: lasting(
    'The pod was evicted for writing more than it may; raise spec.cache.emptyDir.sizeLimit.',
  ),
  CrashLooping: lasting('The runtime keeps exiting.'),
  // Read from pods that are there, and gone with them: not lasting.
  ImagePullBackOff: blocking('The runtime image cannot be pulled.'),
  ContainerConfigError: blocking('A Secret or ConfigMap that the pod names does not exist.'),

  // Of Available: what the cluster lacks. Nodes, volumes and addresses are added on demand, volumes detach from lost nodes after
  // minutes: such a pod may still come up within the time of a request.
  Unschedulable: warning('No node can take the pod.'),
  ClaimPending: warning('The volume claim for the weights is not bound.'),
  VolumeUnavailable: warning('A volume of the pod cannot be attached or mounted.'),
  PodSetupFailed: warning('The node cannot set the pod up.'),
  // Nobody makes that one on demand.
  ClaimNotFound: blocking('The claim named in spec.cache.existingClaim does not exist.'),
  // Refused for what it is (422) or by what may forbid it (403: quota, admission, security policy). A server that merely fails to
  // answer gives neither.
  ApplyFailed: blocking('The API server refuses an object of this model.'),
  // What serves goes on serving, as does what was made before.
  InvalidPodTemplate: blocking('spec.podTemplate says what it may not; the message names the field.'),
  ChangeRefused: warning(
    'The API server refuses a change of an object of this model; it is served with what is there.',
  ),
  Contested: warning('Somebody changes an object of this model back again and again; it is left alone for a while.'),
  PodsRefused: blocking('The API server refuses the pods (quota, admission or security policy).'),

  // Of Progressing and Ready.
  Progressing: normal('A rollout or a change of scale is under way.'),
  RolloutQueued: normal('Its pods are replaced when fewer other models are replacing theirs.'),
  Stable: normal('The desired replicas are running.'),
  Ready: { ...normal('Requests are answered.'), event: 'Normal' },
} satisfies Readonly<Record<string, ReasonInfo>>;

export type Reason = keyof typeof REASONS;

export const isReason = (text: string): text is Reason => Object.hasOwn(REASONS, text);

export const reasonInfo = (reason: Reason): ReasonInfo => REASONS[reason];

// What conditions add up to

/** A reason and its sentence, as a condition gives them. */
export interface Cause {
  readonly reason: string;
  readonly message: string;
}

export const findCondition = (
  conditions: readonly Condition[] | undefined,
  type: ConditionType,
): Condition | undefined => conditions?.find((condition) => condition.type === type);

/** Whether a condition of this type is True. */
export const isTrue = (conditions: readonly Condition[], type: ConditionType): boolean =>
  findCondition(conditions, type)?.status === 'True';

/** The most specific first: Fetched explains Available, which explains Ready. */
const EXPLAINING: readonly ConditionType[] = ['Fetched', 'Available', 'Ready', 'Progressing'];

const failing = (conditions: readonly Condition[]): readonly Condition[] =>
  EXPLAINING.flatMap((type) => conditions.filter((one) => one.type === type && one.status !== 'True'));

const cause = ({ reason, message }: Condition): Cause => ({ reason, message });

const isBlocking = ({ status, reason }: Condition): boolean =>
  status === 'False' && isReason(reason) && reasonInfo(reason).blocking;

/** The failure that keeps the model from coming up, if its conditions name one. */
export const blockedBy = (conditions: readonly Condition[]): Cause | undefined => {
  const found = failing(conditions).find(isBlocking);
  return found && cause(found);
};

/** Whether the model itself is what is refused, so that asking again changes nothing. */
export const isFinal = ({ reason }: Cause): boolean => isReason(reason) && reasonInfo(reason).final;

/** Why the model has no endpoint, as far as its conditions say. */
export const waitingFor = (conditions: readonly Condition[]): Cause | undefined => {
  const [first] = failing(conditions);
  return first && cause(first);
};

/** One word for where a model stands, for status pages and tables. */
export type ModelState = 'ready' | 'asleep' | 'starting' | 'stopped' | 'failed' | 'refused';

export interface Standing extends Cause {
  readonly state: ModelState;
}

const UNSEEN: Cause = { reason: 'Pending', message: 'The operator has not looked at it yet.' };

const readyCause = (conditions: readonly Condition[]): Cause => {
  const condition = findCondition(conditions, 'Ready');
  if (condition?.status === 'True' && condition.reason !== 'ScaledToZero') return cause(condition);
  // A pod may serve before the conditions say so: what serves is ready.
  return { reason: 'Ready', message: REASONS.Ready.message };
};

const withoutReplicas = (conditions: readonly Condition[]): Standing => {
  const blocked = blockedBy(conditions);
  if (blocked) return { state: blocked.reason === 'Stopped' ? 'stopped' : 'failed', ...blocked };
  const available = findCondition(conditions, 'Available');
  if (available?.reason === 'ScaledToZero') return { state: 'asleep', ...cause(available) };
  return { state: 'starting', ...(waitingFor(conditions) ?? UNSEEN) };
};

/** `ready` is the number of replicas that serve. */
export const standingOf = ({ status }: EmbeddingModel, ready: number): Standing => {
  const conditions = status?.conditions ?? [];
  const accepted = findCondition(conditions, 'Accepted');
  if (accepted === undefined) return { state: 'starting', ...UNSEEN };
  if (accepted.status === 'False') return { state: 'refused', ...cause(accepted) };
  return ready > 0 ? { state: 'ready', ...readyCause(conditions) } : withoutReplicas(conditions);
};
