// Facts → the whole status: five conditions, each with a reason taken from where the trouble is; and the events that changes are
// worth. Pure.
import { findCondition, isReason, reasonInfo } from '../../api/conditions.ts';
import type { Condition, ConditionStatus, ConditionType, Reason } from '../../api/conditions.ts';
import { selectorString, servingSelector } from '../../api/names.ts';
import type { EmbeddingModel, EmbeddingModelStatus, ResolvedSpec } from '../../api/types.ts';
import { printProgress, printShortProgress } from '../../common/http/fetch-progress.ts';
import type { FetchProgress } from '../../common/http/fetch-progress.ts';
import { withoutUndefined } from '../../common/util/objects.ts';
import { isCommitSha } from '../../common/util/text.ts';
import type { Deployment } from '../../kube/resources.ts';
import type { FetchedFacts } from '../manifests/children.ts';
import type { Facts } from './facts.ts';
import { livePods } from './pods.ts';
import type { Snapshot } from './snapshot.ts';

// Conditions

interface ConditionFacts extends Facts {
  readonly model: EmbeddingModel;
  readonly isRolloutQueued: boolean;
  /** Of a pod that fetches. */
  readonly progress: FetchProgress | undefined;
  /** Those that run or will. */
  readonly livePods: number;
  readonly deployment: Deployment | undefined;
  readonly now: string;
}

interface Finding {
  readonly status: ConditionStatus;
  readonly reason: Reason;
  readonly message: string;
}

const finding = (status: ConditionStatus, reason: Reason, message = reasonInfo(reason).message): Finding => ({
  status,
  reason,
  message,
});

const isAsleep = ({ replicas }: ConditionFacts): boolean => replicas === 0;
const isStopped = ({ model }: ConditionFacts): boolean => model.spec.replicas === 0;

/** What was said of this very spec, before its pods went away and their words with them. */
const previously = ({ model }: ConditionFacts, type: ConditionType): Condition | undefined => {
  const before = findCondition(model.status?.conditions, type);
  return before?.observedGeneration === model.metadata.generation ? before : undefined;
};

const failedBefore = (facts: ConditionFacts, type: ConditionType): Finding | undefined => {
  const before = facts.livePods > 0 ? undefined : previously(facts, type);
  if (before?.status !== 'False' || !isReason(before.reason)) return undefined;
  return reasonInfo(before.reason).lasting ? finding('False', before.reason, before.message) : undefined;
};

/** Where a repository declares none, sentence-transformers takes the mean. */
function poolingIn({ pooling: said }: FetchedFacts, { pooling }: ResolvedSpec) {
  const used = pooling === 'declared' ? (said ?? 'mean') : pooling;
  const declared = said ?? used;
  return { used, declared, differs: used !== declared };
}

function fetchedFinding(facts: ConditionFacts): Finding {
  const { fetched, pods, problem, spec } = facts;
  if (problem?.duringFetch === true) return finding('False', problem.reason, problem.message);
  if (fetched !== undefined) {
    const { used, declared, differs } = poolingIn(fetched, spec);
    if (differs)
      return finding(
        'True',
        'PoolingDiffers',
        `Pooling ${used} is in use, and the repository declares ${declared}. To follow the repository set spec.pooling: declared, or pooling=declared on the model's line of supported_models.txt`,
      );
    return finding('True', 'Fetched', `Commit ${fetched.revision}`);
  }
  if (pods.fetching || facts.awaitsCache)
    return finding('Unknown', 'Fetching', facts.progress && printProgress(facts.progress));
  return failedBefore(facts, 'Fetched') ?? finding('Unknown', 'NotFetched');
}

function asleepFinding(facts: ConditionFacts): Finding {
  if (isStopped(facts)) return finding('False', 'Stopped');
  return finding('False', facts.awaitsCache && facts.problem === undefined ? 'Fetching' : 'ScaledToZero');
}

function availableFinding(facts: ConditionFacts): Finding {
  const ready = facts.deployment?.status?.readyReplicas ?? 0;
  if (ready > 0) return finding('True', 'Available');
  if (isAsleep(facts)) return asleepFinding(facts);
  if (facts.problem !== undefined) return finding('False', facts.problem.reason, facts.problem.message);
  const { pods, fetched, progress } = facts;
  return finding(
    'False',
    pods.fetching && fetched === undefined ? 'Fetching' : 'Starting',
    progress && `Fetching: ${printProgress(progress)}`,
  );
}

/** All replicas wanted run the template in force, are ready, and nothing else is left. */
function isSettled({ deployment, replicas }: ConditionFacts): boolean {
  const status = deployment?.status ?? {};
  const counts = [status.replicas, status.readyReplicas, status.updatedReplicas].map((count) => count ?? 0);
  // A sleeping model is settled before its Deployment is first looked at.
  const isSeen = replicas === 0 || (status.observedGeneration ?? 0) >= (deployment?.metadata.generation ?? 0);
  return isSeen && counts.every((count) => count === replicas);
}

function progressingFinding(facts: ConditionFacts): Finding {
  const { deployment, problem, disturbance, replicas } = facts;
  const hindrance = isSettled(facts) && problem?.reason !== 'ApplyFailed' ? disturbance : (problem ?? disturbance);
  if (hindrance !== undefined) return finding('False', hindrance.reason, hindrance.message);
  if (facts.isRolloutQueued) return finding('True', 'RolloutQueued');
  if (isSettled(facts)) return finding('False', 'Stable');
  return finding('True', 'Progressing', `${deployment?.status?.readyReplicas ?? 0} of ${replicas} replicas are ready`);
}

function readyFinding(facts: ConditionFacts, available: Finding): Finding {
  if (available.status === 'True') return finding('True', 'Ready');
  if (!isAsleep(facts) || isStopped(facts) || available.reason === 'Fetching') return available;
  // Asleep after a failure is still broken: the next request would meet it again.
  if (facts.problem !== undefined) return finding('False', facts.problem.reason, facts.problem.message);
  const failed = failedBefore(facts, 'Ready');
  if (failed !== undefined) return failed;
  // Fetched once, it was served or can be; before, nobody knows whether there is such a repository.
  return facts.fetched === undefined ? finding('Unknown', 'NotFetched') : finding('True', 'ScaledToZero');
}

function findings(facts: ConditionFacts): Readonly<Record<ConditionType, Finding>> {
  const { acceptance } = facts;
  const accepted = finding(acceptance.status, acceptance.reason, acceptance.message);
  if (acceptance.status !== 'True')
    return {
      Accepted: accepted,
      Fetched: finding('Unknown', 'NotAccepted'),
      Available: finding(acceptance.status, 'NotAccepted'),
      Progressing: finding('False', 'NotAccepted'),
      Ready: accepted,
    };
  const available = availableFinding(facts);
  return {
    Accepted: accepted,
    Fetched: fetchedFinding(facts),
    Available: available,
    Progressing: progressingFinding(facts),
    Ready: readyFinding(facts, available),
  };
}

/** In the order of CONDITION_TYPES; a transition time moves only when the status does. */
function conditionsOf(facts: ConditionFacts): readonly Condition[] {
  const { metadata, status } = facts.model;
  return Object.entries(findings(facts)).map(([name, found]) => {
    // Keys of findings() are the condition types.
    const type = name as ConditionType;
    const before = findCondition(status?.conditions, type);
    return {
      type,
      status: found.status,
      observedGeneration: metadata.generation ?? 0,
      lastTransitionTime: before?.status === found.status ? before.lastTransitionTime : facts.now,
      reason: found.reason,
      message: found.message,
    };
  });
}

// The whole status

function embeddingOf({ fetched, spec }: Facts): EmbeddingModelStatus['embedding'] {
  if (fetched === undefined) return undefined;
  const { dimensions, maxTokens, declaredDimensions = dimensions } = fetched;
  const { used, declared, differs } = poolingIn(fetched, spec);
  return {
    dimensions: spec.pooling === 'declared' ? declaredDimensions : dimensions,
    maxTokens,
    pooling: used,
    ...(differs && { declaredPooling: declared }),
    precision: spec.precision,
  };
}

const revisionOf = ({ fetched, spec, resolved }: Facts): string | undefined => {
  if (fetched !== undefined) return fetched.revision;
  if (isCommitSha(spec.revision)) return spec.revision;
  return resolved.find(({ revision }) => revision === spec.revision)?.commit;
};

/** Who fixes the replicas needs no reason for them. */
const scalingDecisionOf = ({ model, target }: Snapshot): string | undefined =>
  model.spec.replicas === undefined ? (target?.reason ?? model.status?.scalingDecision) : undefined;

/** What was said before the pod ended is no news. */
const progressOf = ({ progress }: Snapshot, { pods }: Facts): FetchProgress | undefined =>
  pods.fetching ? progress : undefined;

export function statusOf(snapshot: Snapshot, facts: Facts, release: string): EmbeddingModelStatus {
  const { model, children, pods, now } = snapshot;
  const { deployment } = children;
  const progress = progressOf(snapshot, facts);
  return withoutUndefined({
    observedGeneration: model.metadata.generation ?? 0,
    conditions: conditionsOf({
      ...facts,
      model,
      deployment,
      isRolloutQueued: snapshot.isRolloutQueued,
      progress,
      livePods: livePods(pods).length,
      now,
    }),
    release,
    servedNames: facts.acceptance.status === 'True' ? facts.acceptance.names : undefined,
    desiredReplicas: facts.acceptance.status === 'True' ? facts.replicas : undefined,
    replicas: deployment?.status?.replicas ?? 0,
    readyReplicas: deployment?.status?.readyReplicas ?? 0,
    selector: selectorString(servingSelector(model.metadata.name)),
    revision: revisionOf(facts),
    resolvedRevisions: facts.resolved.length > 0 ? facts.resolved : undefined,
    cached: facts.cached,
    embedding: embeddingOf(facts),
    scalingDecision: scalingDecisionOf(snapshot),
    fetchProgress: progress && printShortProgress(progress),
  });
}

/** The record of what another release manages from now on: it serves under no name until that one has looked at it. */
export function handedOver(status: EmbeddingModelStatus, release: string, now: string): EmbeddingModelStatus {
  const told = finding('Unknown', 'ManagedElsewhere', `Release ${release} manages it`);
  const conditions = status.conditions?.map((condition) =>
    condition.type === 'Accepted' ? { ...condition, ...told, lastTransitionTime: now } : condition,
  );
  return withoutUndefined({ ...status, servedNames: undefined, release, conditions });
}

// Events

export interface PlannedEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
}

/** One event per reason that is new in some condition. */
export function reasonEvents({ model }: Snapshot, after: EmbeddingModelStatus): readonly PlannedEvent[] {
  const events = new Map<string, PlannedEvent>();
  for (const { type, reason, message } of after.conditions ?? []) {
    if (!isReason(reason) || findCondition(model.status?.conditions, type)?.reason === reason) continue;
    const kind = reasonInfo(reason).event;
    if (kind !== undefined) events.set(reason, { type: kind, reason, message });
  }
  return [...events.values()];
}

export function scaleEvents(
  { children, target, model, refusals }: Snapshot,
  replicas: number,
): readonly PlannedEvent[] {
  // What was never woken has no Deployment.
  const before = children.deployment?.spec.replicas ?? model.status?.desiredReplicas;
  if (before === undefined || before === replicas || refusals.some(({ isUsable }) => !isUsable)) return [];
  const why = model.spec.replicas === undefined ? (target?.reason ?? 'limits changed') : 'spec.replicas';
  return [{ type: 'Normal', reason: 'Scaled', message: `Scaled from ${before} to ${replicas}: ${why}` }];
}
