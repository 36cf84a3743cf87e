// Reads pods: how far the fetch is, and the one problem a person should hear of first.
import { FETCH_CONTAINER } from '../../api/names.ts';
import type { Reason } from '../../api/conditions.ts';
import type { FetchedFacts } from '../desired/children.ts';
import type { ContainerStatus, ContainerTermination, Pod } from '../../kube/resources.ts';
import { parseFailure, parseFetched, tail } from './last-words.ts';
import type { Failure } from './last-words.ts';

export interface Problem extends Failure {
  /** It kept the weights from being fetched. */
  readonly duringFetch: boolean;
}

export interface PodFacts {
  /** From a pod that asked for the revision in force. */
  readonly fetched?: FetchedFacts;
  readonly fetching: boolean;
  readonly problem?: Problem;
}

const WAITING: Readonly<Record<string, Reason>> = {
  ErrImagePull: 'ImagePullBackOff',
  ImagePullBackOff: 'ImagePullBackOff',
  InvalidImageName: 'ImagePullBackOff',
  ErrImageNeverPull: 'ImagePullBackOff',
  CreateContainerConfigError: 'ContainerConfigError',
  CreateContainerError: 'CrashLooping',
  RunContainerError: 'CrashLooping',
};

/** The scheduler names what lacks in its message; claims come first, since a pod without its claim lacks nothing else yet. */
function unschedulable(message: string): Failure {
  if (/persistentvolumeclaim "[^"]+" not found/i.test(message)) return { reason: 'ClaimNotFound', message };
  if (/unbound (immediate )?PersistentVolumeClaim|storageclass.* not found/i.test(message))
    return { reason: 'ClaimPending', message };
  const lacking = [...new Set([...message.matchAll(/Insufficient ([\w./-]+?)[.,]?(?=\s|$)/g)].map(([, name]) => name))];
  return {
    reason: 'Unschedulable',
    message: lacking.length > 0 ? `No node has enough ${lacking.join(' and ')}: ${message}` : message,
  };
}

function terminationFailure(container: string, ended: ContainerTermination): Failure {
  // The kernel's kill beats whatever the process wrote before.
  if (ended.reason === 'OOMKilled')
    return { reason: 'OutOfMemory', message: `Container ${container} was killed at its memory limit` };
  const said = parseFailure(ended.message);
  if (said !== undefined) return said;
  return {
    reason: container === FETCH_CONTAINER ? 'FetchFailed' : 'CrashLooping',
    message: `Container ${container} ended with exit code ${ended.exitCode}: ${tail(ended.message) || (ended.reason ?? 'no message')}`,
  };
}

const waitingFailure = ({ state }: ContainerStatus): Failure | undefined => {
  const { reason: why = '', message = why } = state?.waiting ?? {};
  const reason = WAITING[why];
  return reason && { reason, message };
};

/** Why a container is not doing its work; its last end counts until it is ready again. */
function containerFailure(status: ContainerStatus): Failure | undefined {
  const waiting = waitingFailure(status);
  if (waiting !== undefined || status.ready) return waiting;
  const ended = status.state?.terminated ?? status.lastState?.terminated;
  return ended === undefined || ended.exitCode === 0 ? undefined : terminationFailure(status.name, ended);
}

const firstFailure = (statuses: readonly ContainerStatus[] = []): Problem | undefined => {
  for (const status of statuses) {
    const failure = containerFailure(status);
    if (failure !== undefined) return { ...failure, duringFetch: status.name === FETCH_CONTAINER };
  }
  return undefined;
};

export function podProblem({ status }: Pod): Problem | undefined {
  const scheduled = status?.conditions?.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.status === 'False' && scheduled.reason === 'Unschedulable')
    return { ...unschedulable(scheduled.message ?? 'Unschedulable'), duringFetch: false };
  return firstFailure(status?.initContainerStatuses) ?? firstFailure(status?.containerStatuses);
}

const fetchStatus = ({ status }: Pod): ContainerStatus | undefined =>
  status?.initContainerStatuses?.find(({ name }) => name === FETCH_CONTAINER);

const asksFor = ({ spec }: Pod, revision: string): boolean =>
  spec.initContainers?.some(
    ({ name, env }) =>
      name === FETCH_CONTAINER &&
      env?.some((one) => one.name === 'KUBEMBED_REVISION' && one.value === revision) === true,
  ) === true;

const fetchedBy = (pod: Pod): FetchedFacts | undefined => {
  const ended = fetchStatus(pod)?.state?.terminated;
  return ended?.exitCode === 0 ? parseFetched(ended.message) : undefined;
};

const isFetching = (pod: Pod): boolean => fetchStatus(pod)?.state?.terminated?.exitCode !== 0;

const newestFirst = (a: Pod, b: Pod): number =>
  (a.metadata.creationTimestamp ?? '') < (b.metadata.creationTimestamp ?? '') ? 1 : -1;

/** Given up by its node, by eviction or shutdown: it stays as a record, and its end says nothing of its successor. */
const isOver = ({ status }: Pod): boolean => status?.phase === 'Failed';

/** Those that run or will, the newest first. */
export const livePods = (pods: readonly Pod[]): readonly Pod[] =>
  pods.filter((pod) => pod.metadata.deletionTimestamp === undefined && !isOver(pod)).toSorted(newestFirst);

const templateOf = ({ metadata }: Pod): string | undefined => metadata.labels?.['pod-template-hash'];

/** Evicted for what it wrote itself, not for want of room on the node: a successor of the same template will be, too. */
function limitExceeded(pods: readonly Pod[], [newest]: readonly Pod[]): Problem | undefined {
  if (newest === undefined) return undefined;
  const messages = pods.flatMap((pod) =>
    isOver(pod) && pod.status?.reason === 'Evicted' && templateOf(pod) === templateOf(newest)
      ? (pod.status.message ?? [])
      : [],
  );
  const message = messages.find((one) => /exceed(s|ed) .*\blimit\b/.test(one));
  return message === undefined
    ? undefined
    : { reason: 'StorageLimitExceeded', message: message.trim(), duringFetch: false };
}

/** @param revision what the spec asks for; pods of an older template say nothing of it */
export function readPods(pods: readonly Pod[], revision: string): PodFacts {
  const live = livePods(pods);
  const current = live.filter((pod) => asksFor(pod, revision));
  // The oldest answer: replicas that came later were pinned to it.
  const fetched = current.map(fetchedBy).findLast((facts) => facts !== undefined);
  const problem = live.map(podProblem).find((one) => one !== undefined) ?? limitExceeded(pods, live);
  return {
    ...(fetched && { fetched }),
    fetching: current.some(isFetching),
    ...(problem && { problem }),
  };
}
