// Warning events: why a pod does not start or a claim is not bound, where pod and claim do not say so themselves.
import type { Reason } from '../../api/conditions.ts';
import type { Event, PersistentVolumeClaim, Pod } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Failure } from './last-words.ts';
import { livePods, podProblem } from './pods.ts';
import type { Snapshot } from './snapshot.ts';

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

export const claimOf = ({ existingClaim, children }: Snapshot): PersistentVolumeClaim | undefined =>
  existingClaim ?? children.claim;

function stuckOnes(snapshot: Snapshot): readonly KubeObject[] {
  const pods = livePods(snapshot.pods);
  const claim = claimOf(snapshot);
  const newest = pods.find(isSettingUp);
  return [
    ...(newest === undefined ? [] : [newest]),
    // Without pods nobody waits for it, and it may be for the first of them to have it bound.
    ...(pods.length > 0 && claim?.status?.phase === 'Pending' ? [claim] : []),
  ];
}

/** Whether something waits that may be explained by an event later: no change of an object will tell. */
export const isStuck = (snapshot: Snapshot): boolean => stuckOnes(snapshot).length > 0;

/** Objects whose Warning events are to be read. */
export const unexplained = (snapshot: Snapshot): readonly KubeObject[] =>
  stuckOnes(snapshot).filter(
    ({ metadata }) => Date.parse(snapshot.now) - Date.parse(metadata.creationTimestamp ?? '') >= PATIENCE_MS,
  );

const latest = (events: readonly Event[], isMeant: (event: Event) => boolean): Event | undefined =>
  events
    .filter(isMeant)
    .toSorted((a, b) => ((a.lastTimestamp ?? a.eventTime ?? '') < (b.lastTimestamp ?? b.eventTime ?? '') ? -1 : 1))
    .at(-1);

/** What the events say against the claim, if anything. */
export function claimWarning({ warnings = [] }: Snapshot): string | undefined {
  return latest(warnings, ({ involvedObject }) => involvedObject.kind === 'PersistentVolumeClaim')?.message;
}

/** What the events say against the pod, if anything that keeps it from starting. */
export function podWarning({ warnings = [] }: Snapshot): Failure | undefined {
  const found = latest(
    warnings,
    ({ involvedObject, reason = '' }) => involvedObject.kind === 'Pod' && Object.hasOwn(SETTING_UP, reason),
  );
  const reason = SETTING_UP[found?.reason ?? ''];
  return found && reason && { reason, message: found.message ?? reason };
}
