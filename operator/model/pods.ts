// What pods, and the events about what does not start, say: how far the fetch is, and the one problem a person should hear of
// first. Pure.
import { isReason } from '../../api/conditions.ts';
import type { Reason } from '../../api/conditions.ts';
import { FETCH_CONTAINER } from '../../api/names.ts';
import { isRecord } from '../../common/util/text.ts';
import type { ContainerStatus, ContainerTermination, Event, PersistentVolumeClaim, Pod } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { FetchedFacts } from '../manifests/children.ts';

// Termination messages of the runtime: what a fetch found out, or why a command failed. Anything else is not for us.

export interface Failure {
  readonly reason: Reason;
  readonly message: string;
}

/** With logs as fallback the message may have lines before the JSON: it is the last one that counts. */
function terminationMessage(text: string | undefined): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text?.trimEnd().split('\n').at(-1) ?? '');
    return isRecord(value) ? value : {};
  } catch {
    return {};
  }
}

const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

export function parseFetched(message: string | undefined): FetchedFacts | undefined {
  const { revision, dimensions, maxTokens, pooling, declaredDimensions } = terminationMessage(message);
  if (typeof revision !== 'string' || typeof dimensions !== 'number' || typeof maxTokens !== 'number') return undefined;
  return {
    revision,
    dimensions,
    maxTokens,
    pooling: textOf(pooling),
    ...(typeof declaredDimensions === 'number' && { declaredDimensions }),
  };
}

export function parseFailure(text: string | undefined): Failure | undefined {
  const { reason, message } = terminationMessage(text);
  if (typeof reason !== 'string' || !isReason(reason)) return undefined;
  return { reason, message: textOf(message) ?? reason };
}

const MAX_TAIL = 500;

/** The end of a message that is no JSON, short enough for a condition. */
const tail = (message: string | undefined): string => (message ?? '').trim().slice(-MAX_TAIL);

// Pods

export interface Problem extends Failure {
  /** It kept the weights from being fetched. */
  readonly duringFetch: boolean;
}

export interface PodFacts {
  /** From a pod that asked for the revision in force. */
  readonly fetched: FetchedFacts | undefined;
  readonly fetching: boolean;
  readonly problem: Problem | undefined;
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

/** A kubelet that is slow has not read a ConfigMap or a Secret yet; it tries again by itself, and mostly has it then. */
const NOT_READ_YET = /failed to sync \w+ cache: timed out/;

const waitingFailure = ({ state }: ContainerStatus): Failure | undefined => {
  const { reason: why = '', message = why } = state?.waiting ?? {};
  const reason = NOT_READ_YET.test(message) ? undefined : WAITING[why];
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

function podProblem({ status }: Pod): Problem | undefined {
  const scheduled = status?.conditions?.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.status === 'False' && scheduled.reason === 'Unschedulable')
    return { ...unschedulable(scheduled.message ?? 'Unschedulable'), duringFetch: false };
  return firstFailure(status?.initContainerStatuses) ?? firstFailure(status?.containerStatuses);
}

export const statusesOf = ({ status }: Pod): readonly ContainerStatus[] => [
  ...(status?.initContainerStatuses ?? []),
  ...(status?.containerStatuses ?? []),
];

/** Of an init container, or of the only one, where a pod does nothing else. */
const fetchStatus = (pod: Pod): ContainerStatus | undefined =>
  statusesOf(pod).find(({ name }) => name === FETCH_CONTAINER);

/** Of a pod's containers: what it was made for. */
export const REVISION_VARIABLE = 'KUBEMBED_REVISION';

export const asksFor = ({ spec }: Pod, revision: string): boolean =>
  [...(spec.initContainers ?? []), ...spec.containers].some(
    ({ name, env }) =>
      name === FETCH_CONTAINER && env?.some((one) => one.name === REVISION_VARIABLE && one.value === revision) === true,
  );

export const fetchedBy = (pod: Pod): FetchedFacts | undefined => {
  const ended = fetchStatus(pod)?.state?.terminated;
  return ended?.exitCode === 0 ? parseFetched(ended.message) : undefined;
};

const isFetching = (pod: Pod): boolean => fetchStatus(pod)?.state?.terminated?.exitCode !== 0;

/** The process that fetches is at work. */
export const isFetchRunning = (pod: Pod): boolean => fetchStatus(pod)?.state?.running !== undefined;

const newestFirst = (a: Pod, b: Pod): number =>
  (a.metadata.creationTimestamp ?? '') < (b.metadata.creationTimestamp ?? '') ? 1 : -1;

/** Given up by its node, by eviction or shutdown: it stays as a record, and its end says nothing of its successor. */
const isOver = ({ status }: Pod): boolean => status?.phase === 'Failed';

/** Those that run or will, the newest first. */
export const livePods = (pods: readonly Pod[]): readonly Pod[] =>
  pods.filter((pod) => pod.metadata.deletionTimestamp === undefined && !isOver(pod)).toSorted(newestFirst);

/**
 * Where to ask the newest pod of each model that fetches, by the model's key.
 *
 * @param keyOf whose pod it is
 */
export function fetchingHosts(
  pods: readonly Pod[],
  keyOf: (pod: Pod) => string | undefined,
): ReadonlyMap<string, string> {
  const hosts = new Map<string, string>();
  for (const pod of livePods(pods.filter(isFetchRunning))) {
    const key = keyOf(pod);
    const host = pod.status?.podIP;
    if (key === undefined || host === undefined || hosts.has(key)) continue;
    hosts.set(key, host.includes(':') ? `[${host}]` : host);
  }
  return hosts;
}

/** Of the Deployment controller. */
export const LABEL_TEMPLATE = 'pod-template-hash';

const templateOf = ({ metadata }: Pod): string | undefined => metadata.labels?.[LABEL_TEMPLATE];

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

const isRunning = (pod: Pod): boolean => statusesOf(pod).some(({ state }) => state?.running !== undefined);

/** Something is fetching or loading, and nothing has failed. */
export function isProgressing(pods: readonly Pod[]): boolean {
  const live = livePods(pods);
  return live.some(isRunning) && live.every((pod) => podProblem(pod) === undefined);
}

/**
 * @param prefetching those that only fetch
 * @param revision what the spec asks for; pods of an older template say nothing of it
 */
export function readPods(pods: readonly Pod[], prefetching: readonly Pod[], revision: string): PodFacts {
  const live = livePods(pods);
  const all = [...live, ...livePods(prefetching)];
  const current = all.filter((pod) => asksFor(pod, revision));
  // The oldest answer: replicas that came later were given its revision.
  const fetched = current.map(fetchedBy).findLast((facts) => facts !== undefined);
  const problem = all.map(podProblem).find((one) => one !== undefined) ?? limitExceeded(pods, live);
  return { fetched, fetching: current.some(isFetching), problem };
}

// Warning events: why a pod does not start or a claim is not bound, where pod and claim do not say so themselves

/** The part of a snapshot that this is about. */
interface Observed {
  readonly pods: readonly Pod[];
  readonly prefetchPods: readonly Pod[];
  readonly existingClaim: PersistentVolumeClaim | undefined;
  readonly children: { readonly claim?: PersistentVolumeClaim | undefined };
  readonly warnings: readonly Event[];
  readonly now: string;
}

/** Volumes are attached, networks set up and images pulled in this time where all is well. */
const PATIENCE_MS = 10_000;

/** What the kubelet and the attach controller say of a pod that has a node. */
const SETTING_UP: Readonly<Record<string, Reason>> = {
  FailedMount: 'VolumeUnavailable',
  FailedAttachVolume: 'VolumeUnavailable',
  FailedMapVolume: 'VolumeUnavailable',
  FailedCreatePodSandBox: 'PodSetupFailed',
};

/** It has a node, and no container of it was ever run. */
function isSettingUp(pod: Pod): boolean {
  const { phase, conditions = [], initContainerStatuses = [], containerStatuses = [] } = pod.status ?? {};
  return (
    phase === 'Pending' &&
    conditions.some(({ type, status }) => type === 'PodScheduled' && status === 'True') &&
    podProblem(pod) === undefined &&
    [...initContainerStatuses, ...containerStatuses].every(
      ({ state, lastState }) =>
        state?.running === undefined && state?.terminated === undefined && lastState?.terminated === undefined,
    )
  );
}

export const claimOf = ({ existingClaim, children }: Observed): PersistentVolumeClaim | undefined =>
  existingClaim ?? children.claim;

function stuckOnes(snapshot: Observed): readonly KubeObject[] {
  const pods = livePods([...snapshot.pods, ...snapshot.prefetchPods]);
  const claim = claimOf(snapshot);
  const newest = pods.find(isSettingUp);
  return [
    ...(newest === undefined ? [] : [newest]),
    // Without pods nobody waits for it, and it may be for the first of them to have it bound.
    ...(pods.length > 0 && claim?.status?.phase === 'Pending' ? [claim] : []),
  ];
}

/** Whether something waits that may be explained by an event later: no change of an object will tell. */
export const isStuck = (snapshot: Observed): boolean => stuckOnes(snapshot).length > 0;

/** Objects whose Warning events are to be read. */
export const unexplained = (snapshot: Observed): readonly KubeObject[] =>
  stuckOnes(snapshot).filter(
    ({ metadata }) => Date.parse(snapshot.now) - Date.parse(metadata.creationTimestamp ?? '') >= PATIENCE_MS,
  );

const latest = (events: readonly Event[], isMeant: (event: Event) => boolean): Event | undefined =>
  events
    .filter(isMeant)
    .toSorted((a, b) => ((a.lastTimestamp ?? a.eventTime ?? '') < (b.lastTimestamp ?? b.eventTime ?? '') ? -1 : 1))
    .at(-1);

/** What the events say against the claim, if anything. */
export function claimWarning({ warnings }: Observed): string | undefined {
  return latest(warnings, ({ involvedObject }) => involvedObject.kind === 'PersistentVolumeClaim')?.message;
}

/** What the events say against the pod, if anything that keeps it from starting. */
export function podWarning({ warnings }: Observed): Failure | undefined {
  const found = latest(
    warnings,
    ({ involvedObject, reason = '' }) => involvedObject.kind === 'Pod' && Object.hasOwn(SETTING_UP, reason),
  );
  const reason = SETTING_UP[found?.reason ?? ''];
  return found && reason && { reason, message: found.message ?? reason };
}
