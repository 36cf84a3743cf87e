// What a model's conditions tell a waiting client: whether it cannot come up, and why it is not up yet. Pure.
import type { Condition, Reason } from './conditions.ts';

export interface Cause {
  readonly reason: string;
  readonly message: string;
}

/**
 * Reasons that waiting does not cure: a request is told at once instead of being held. A pod without a node or a volume
 * is not among them, for clusters add both on demand.
 */
const BLOCKING: ReadonlySet<string> = new Set<Reason>([
  'ClaimNotFound',
  'ContainerConfigError',
  'CorruptWeights',
  'CrashLooping',
  'FetchFailed',
  'GatedRepository',
  'HubUnreachable',
  'ImagePullBackOff',
  'InsufficientMemory',
  'NameConflict',
  'OutOfMemory',
  'PodsRefused',
  'RepositoryNotFound',
  'RevisionNotFound',
  'Stopped',
  'UnsupportedArchitecture',
  'DeviceUnavailable',
  'TokenizerUnusable',
  'VectorCheckFailed',
]);

/** The most specific first: Fetched explains Available, which explains Ready. */
const EXPLAINING = ['Fetched', 'Available', 'Ready', 'Progressing'] as const;

const failing = (conditions: readonly Condition[]): readonly Condition[] =>
  EXPLAINING.flatMap((type) => conditions.filter((one) => one.type === type && one.status !== 'True'));

const cause = ({ reason, message }: Condition): Cause => ({ reason, message });

/** The failure that keeps the model from coming up, if its conditions name one. */
export const blockedBy = (conditions: readonly Condition[]): Cause | undefined => {
  const blocking = failing(conditions).find((one) => one.status === 'False' && BLOCKING.has(one.reason));
  return blocking && cause(blocking);
};

/** Why the model has no endpoint, as far as its conditions say. */
export const waitingFor = (conditions: readonly Condition[]): Cause | undefined => {
  const first = failing(conditions)[0];
  return first && cause(first);
};

/** Whether a condition of this type is True. */
export const isTrue = (conditions: readonly Condition[], type: Condition['type']): boolean =>
  conditions.some((one) => one.type === type && one.status === 'True');
