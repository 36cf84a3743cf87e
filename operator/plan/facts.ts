// Snapshot → the facts that both the children and the status are derived from.
import { isCommitSha, withDefaults } from '../../api/types.ts';
import type { ResolvedSpec } from '../../api/types.ts';
import { findCondition, isReason } from '../../api/conditions.ts';
import type { Reason } from '../../api/conditions.ts';
import { factsKey } from '../desired/children.ts';
import type { FetchedFacts } from '../desired/children.ts';
import { parseFetched } from './last-words.ts';
import { ownershipOf } from './ownership.ts';
import { readPods } from './pods.ts';
import type { PodFacts, Problem } from './pods.ts';
import { desiredReplicas } from './replicas.ts';
import type { Snapshot, Verdict } from './snapshot.ts';
import { claimOf, claimWarning, podWarning } from './warnings.ts';

export interface Facts {
  readonly spec: ResolvedSpec;
  readonly verdict: Verdict;
  readonly pods: PodFacts;
  readonly fetched: FetchedFacts | undefined;
  /** What keeps pods from working: theirs, or why there are none. */
  readonly problem: Problem | undefined;
  readonly replicas: number;
}

/** Best source first: the record, a pod's own words, the status written from them. */
function fetchedFacts({ model, children }: Snapshot, spec: ResolvedSpec, pods: PodFacts): FetchedFacts | undefined {
  const recorded = parseFetched(children.pin?.data?.[factsKey(spec.revision)]) ?? pods.fetched;
  if (recorded !== undefined) return recorded;
  const { revision, embedding, observedGeneration } = model.status ?? {};
  if (revision === undefined || embedding === undefined || observedGeneration !== model.metadata.generation)
    return undefined;
  return { revision, dimensions: embedding.dimensions, maxTokens: embedding.maxTokens };
}

/** While the list cannot be read, what was decided stands. */
function standing({ model, verdict }: Snapshot): Verdict {
  const before = findCondition(model.status?.conditions, 'Accepted');
  if (verdict.status !== 'Unknown' || before === undefined || !isReason(before.reason)) return verdict;
  return { status: before.status, reason: before.reason, message: before.message };
}

/** A name of ours in foreign hands: applying would take over somebody else's object. */
function judged(snapshot: Snapshot): Verdict {
  const verdict = standing(snapshot);
  if (verdict.status !== 'True') return verdict;
  const foreign = Object.values(snapshot.children).find((child) => ownershipOf(child, snapshot.model) === 'foreign');
  if (foreign === undefined) return verdict;
  return {
    status: 'False',
    reason: 'NameConflict',
    message: `${foreign.kind} ${foreign.metadata.name} exists and is not of this model; rename one of them`,
  };
}

const CLAIM_REASONS: ReadonlySet<Reason | undefined> = new Set(['ClaimNotFound', 'ClaimPending', undefined]);

/**
 * The scheduler may have looked before it saw the claim, and looks again only when something changes; it never knows
 * why a claim is not bound.
 */
function claimProblem(snapshot: Snapshot, { problem }: PodFacts): Problem | undefined {
  const claim = claimOf(snapshot);
  const warning = claimWarning(snapshot);
  if (claim === undefined || !CLAIM_REASONS.has(problem?.reason)) return undefined;
  if (warning === undefined && problem?.reason !== 'ClaimNotFound') return undefined;
  const words = [
    `PersistentVolumeClaim ${claim.metadata.name} is not bound`,
    ...(warning === undefined ? [] : [warning]),
  ];
  return { reason: 'ClaimPending', message: words.join(': '), duringFetch: false };
}

/** The pods' own words, and what claims and events add to them. */
function podsProblem(snapshot: Snapshot, facts: PodFacts): Problem | undefined {
  const warning = podWarning(snapshot);
  return claimProblem(snapshot, facts) ?? facts.problem ?? (warning && { ...warning, duringFetch: false });
}

function problemOf(snapshot: Snapshot, facts: PodFacts): Problem | undefined {
  const { model, children, existingClaim, pods, refusal } = snapshot;
  if (refusal !== undefined)
    return {
      reason: 'ApplyFailed',
      message: `${refusal.kind} ${refusal.name}: ${refusal.message}`,
      duringFetch: false,
    };
  const claim = model.spec.cache?.existingClaim;
  if (claim !== undefined && existingClaim === undefined)
    return { reason: 'ClaimNotFound', message: `PersistentVolumeClaim ${claim} does not exist`, duringFetch: false };
  const refused = children.deployment?.status?.conditions?.find(
    ({ type, status }) => type === 'ReplicaFailure' && status === 'True',
  );
  if (refused === undefined || pods.length > 0) return podsProblem(snapshot, facts);
  return { reason: 'PodsRefused', message: refused.message ?? 'Pods are refused', duringFetch: false };
}

export function factsOf(snapshot: Snapshot): Facts {
  const { model, children } = snapshot;
  const spec = withDefaults(model.spec);
  const pods = readPods(snapshot.pods, spec.revision);
  const fetched = fetchedFacts(snapshot, spec, pods);
  const replicas = desiredReplicas({
    fixed: model.spec.replicas,
    target: snapshot.target?.replicas,
    observed: children.deployment?.spec.replicas,
    ready: children.deployment?.status?.readyReplicas ?? 0,
    scaling: spec.scaling,
    revisionKnown: fetched !== undefined || isCommitSha(spec.revision),
  });
  return { spec, verdict: judged(snapshot), pods, fetched, problem: problemOf(snapshot, pods), replicas };
}
