// Snapshot → the facts that both the children and the status are derived from. Pure.
import { findCondition, isReason } from '../../api/conditions.ts';
import type { Reason } from '../../api/conditions.ts';
import { withDefaults } from '../../api/types.ts';
import type { EmbeddingModel, ResolvedRevision, ResolvedScaling, ResolvedSpec } from '../../api/types.ts';
import { isCommitSha } from '../../common/util/text.ts';
import type { ManifestConfig } from '../config.ts';
import { CHILD_KINDS, factsKey } from '../manifests/children.ts';
import type { FetchedFacts } from '../manifests/children.ts';
import { hasStore } from '../manifests/pod.ts';
import { templateFaults } from '../manifests/template-faults.ts';
import type { Acceptance } from './acceptance.ts';
import { cacheFacts } from './cache.ts';
import type { CacheFacts } from './cache.ts';
import { foreignAmong, ownChildren } from './ownership.ts';
import { claimOf, claimWarning, parseFetched, podWarning, readPods } from './pods.ts';
import type { Failure, PodFacts, Problem } from './pods.ts';
import type { Snapshot } from './snapshot.ts';

export interface Facts extends CacheFacts {
  readonly spec: ResolvedSpec;
  readonly acceptance: Acceptance;
  readonly pods: PodFacts;
  readonly fetched: FetchedFacts | undefined;
  /** What is wrong with spec.podTemplate: what serves stays as it is, at the scale that is wanted. */
  readonly invalidTemplate: string | undefined;
  /** What keeps pods from working: theirs, or why there are none. */
  readonly problem: Problem | undefined;
  /** What is not as it should be and keeps no pod from working. */
  readonly disturbance: Failure | undefined;
  /** What every revision that was ever asked for was resolved to. */
  readonly resolved: readonly ResolvedRevision[];
  readonly replicas: number;
}

// What was fetched

/** Best source first: the record, a pod's own words, the status written from them. */
function fetchedFacts({ model, children }: Snapshot, spec: ResolvedSpec, pods: PodFacts): FetchedFacts | undefined {
  const recorded = parseFetched(children.revision?.data?.[factsKey(spec.revision)]) ?? pods.fetched;
  if (recorded !== undefined) return recorded;
  const { revision, embedding, observedGeneration } = model.status ?? {};
  if (revision === undefined || embedding === undefined || observedGeneration !== model.metadata.generation)
    return undefined;
  const { dimensions, maxTokens, pooling, declaredPooling = pooling } = embedding;
  return { revision, dimensions, maxTokens, pooling: declaredPooling };
}

const MAX_RESOLVED = 1_000;

/** A branch is resolved once: going back to it is going back to the commit of then. The oldest goes when there are very many. */
function resolvedRevisions(
  { status }: EmbeddingModel,
  { revision }: ResolvedSpec,
  fetched: FetchedFacts | undefined,
): readonly ResolvedRevision[] {
  const before = status?.resolvedRevisions ?? [];
  if (fetched === undefined || isCommitSha(revision) || before.some((one) => one.revision === revision)) return before;
  return [...before, { revision, commit: fetched.revision }].slice(-MAX_RESOLVED);
}

// Acceptance

/** While the catalog cannot be read, what was decided stands. */
function standing({ model, acceptance }: Snapshot): Acceptance {
  const before = findCondition(model.status?.conditions, 'Accepted');
  if (acceptance.status !== 'Unknown' || before === undefined || !isReason(before.reason)) return acceptance;
  const names = before.status === 'True' ? (model.status?.servedNames ?? []) : [];
  return { status: before.status, reason: before.reason, message: before.message, names };
}

/** A name of ours in foreign hands: applying would take over somebody else's object. */
function acceptanceOf(snapshot: Snapshot): Acceptance {
  const acceptance = standing(snapshot);
  if (acceptance.status !== 'True') return acceptance;
  const foreign = foreignAmong(snapshot.children, snapshot.model);
  if (foreign === undefined) return acceptance;
  return {
    status: 'False',
    reason: 'NameConflict',
    message: `${foreign.kind} ${foreign.metadata.name} exists and is not of this model; rename one of them`,
    names: [],
  };
}

// What keeps it from working

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

const inWords = (refusals: Snapshot['refusals']): string =>
  refusals.map(({ kind, name, message }) => `${kind} ${name}: ${message}`).join('; ');

/** The Deployment's pods that the API server refuses, in its words. */
const refusedPods = ({ children }: Snapshot): string | undefined => {
  const refused = children.deployment?.status?.conditions?.find(
    ({ type, status }) => type === 'ReplicaFailure' && status === 'True',
  );
  return refused && (refused.message ?? 'Pods are refused');
};

const NO_IMAGE_VOLUMES =
  'The API server leaves images out of the volumes of pods: spec.cache.image needs its feature ImageVolume, and that of the kubelets';

/** A server that does not know such volumes, or has them switched off, takes the Deployment and drops them. */
const leavesImagesOut = ({ children: { deployment } }: Snapshot, { cache }: ResolvedSpec): boolean =>
  cache.image !== undefined && deployment !== undefined && !hasStore(deployment.spec.template.spec);

function problemOf(
  snapshot: Snapshot,
  { spec, pods: facts }: Pick<Facts, 'spec' | 'pods'>,
  invalid: string,
): Problem | undefined {
  const { existingClaim, pods, refusals, children } = snapshot;
  if (invalid !== '' && children.deployment === undefined)
    return { reason: 'InvalidPodTemplate', message: invalid, duringFetch: false };
  const fatal = refusals.filter(({ isUsable }) => !isUsable);
  if (fatal.length > 0) return { reason: 'ApplyFailed', message: inWords(refusals), duringFetch: false };
  if (leavesImagesOut(snapshot, spec)) return { reason: 'ApplyFailed', message: NO_IMAGE_VOLUMES, duringFetch: false };
  const claim = spec.cache.existingClaim;
  if (claim !== undefined && existingClaim === undefined)
    return { reason: 'ClaimNotFound', message: `PersistentVolumeClaim ${claim} does not exist`, duringFetch: false };
  const refused = refusedPods(snapshot);
  if (refused === undefined || pods.length > 0) return podsProblem(snapshot, facts);
  return { reason: 'PodsRefused', message: refused, duringFetch: false };
}

function disturbanceOf(snapshot: Snapshot, invalid: string): Failure | undefined {
  const { model, paused, refusals } = snapshot;
  if (invalid !== '') return { reason: 'InvalidPodTemplate', message: `${invalid}; pods stay as they were` };
  if (refusals.length > 0) return { reason: 'ChangeRefused', message: inWords(refusals) };
  const refused = refusedPods(snapshot);
  if (refused !== undefined) return { reason: 'PodsRefused', message: refused };
  const [kind] = paused.keys();
  if (kind === undefined) return undefined;
  const { type, nameOf } = CHILD_KINDS[kind];
  const message = `${type.kind} ${nameOf(model.metadata.name)} is changed back again and again; it is left as it is for a while`;
  return { reason: 'Contested', message };
}

// Replicas

interface ReplicaInputs {
  /** spec.replicas: a person or an autoscaler through /scale. */
  readonly fixed: number | undefined;
  /** kubembed's own autoscaler; absent right after start. */
  readonly target: number | undefined;
  /** Deployment.spec.replicas as it is. */
  readonly observed: number | undefined;
  readonly ready: number;
  readonly scaling: ResolvedScaling;
  /** Without it a second replica could resolve a branch to another commit. */
  readonly revisionKnown: boolean;
}

/** How many replicas the Deployment should have. The operator is the only writer of that field. */
export function desiredReplicas({ fixed, target, observed, ready, scaling, revisionKnown }: ReplicaInputs): number {
  const scaled = target ?? observed ?? scaling.minReplicas;
  const wanted = fixed ?? Math.min(Math.max(scaled, scaling.minReplicas), scaling.maxReplicas);
  // A changed revision is unknown again, but what serves the old one is not taken away for that.
  return revisionKnown ? wanted : Math.min(wanted, Math.max(1, ready));
}

/** Without what carries the name of a child and is somebody else's: it says nothing of this model. */
export const ownPart = (snapshot: Snapshot): Snapshot => ({
  ...snapshot,
  children: ownChildren(snapshot.children, snapshot.model),
});

export function factsOf(
  whole: Snapshot,
  config: Pick<ManifestConfig, 'unsetPooling' | 'openPodTemplates' | 'cache' | 'prefetch' | 'runsJobs'>,
): Facts {
  const snapshot = ownPart(whole);
  const { model, children } = snapshot;
  const invalid = templateFaults(model.spec.podTemplate, { isOpen: config.openPodTemplates })
    .map((fault) => `spec.podTemplate.${fault}`)
    .join('; ');
  const spec = withDefaults(model.spec, config);
  const pods = readPods(snapshot.pods, snapshot.prefetchPods, spec.revision);
  const fetched = fetchedFacts(snapshot, spec, pods);
  const resolved = resolvedRevisions(model, spec, fetched);
  const cache = cacheFacts(snapshot, { spec, commit: fetched?.revision, runsJobs: config.runsJobs });
  const wanted = desiredReplicas({
    fixed: model.spec.replicas,
    target: snapshot.target?.replicas,
    observed: children.deployment?.spec.replicas,
    ready: children.deployment?.status?.readyReplicas ?? 0,
    scaling: spec.scaling,
    revisionKnown: isCommitSha(spec.revision) || resolved.some(({ revision }) => revision === spec.revision),
  });
  return {
    spec,
    acceptance: acceptanceOf(whole),
    pods,
    fetched,
    invalidTemplate: invalid === '' ? undefined : invalid,
    problem: problemOf(snapshot, { spec, pods }, invalid),
    disturbance: disturbanceOf(snapshot, invalid),
    resolved,
    ...cache,
    replicas: cache.awaitsCache ? 0 : wanted,
  };
}
