// The plan for one EmbeddingModel: snapshot → what to apply, what to remove, the status, the events. Pure.
import { findCondition } from '../../api/conditions.ts';
import { ANNOTATION_TEMPLATE_HASH, LABEL_CATALOG } from '../../api/names.ts';
import type { EmbeddingModel, EmbeddingModelStatus } from '../../api/types.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { ManifestConfig } from '../config.ts';
import { ALL_CHILD_KINDS, desiredChildren } from '../manifests/children.ts';
import type { ChildKind, Children } from '../manifests/children.ts';
import { canonicalJson, hashOf, needsApply, parseQuantity } from '../manifests/manifest.ts';
import type { Manifest } from '../manifests/manifest.ts';
import { factsOf, ownPart } from './facts.ts';
import type { Facts } from './facts.ts';
import { ownershipOf } from './ownership.ts';
import type { Snapshot } from './snapshot.ts';
import { reasonEvents, scaleEvents, statusOf } from './status.ts';
import type { PlannedEvent } from './status.ts';

/** A child that lacks something of its manifest, or does not exist. */
export interface Change {
  readonly kind: ChildKind;
  readonly manifest: Manifest;
  /** Pods that are there are replaced. */
  readonly rolls: boolean;
}

export interface Plan {
  readonly apply: readonly Change[];
  readonly remove: readonly ChildKind[];
  /** Replicas for the Deployment as it is, where no new one may be applied. */
  readonly scale: number | undefined;
  /** The whole new status; undefined when it says what is written already. */
  readonly status: EmbeddingModelStatus | undefined;
  readonly events: readonly PlannedEvent[];
}

type Changes = Pick<Plan, 'apply' | 'remove' | 'scale'>;

const NO_CHANGES: Changes = { apply: [], remove: [], scale: undefined };

/** What a refused model loses. Its revision and its claim stay: weights are dear, and it may be listed again. */
export const SERVING: readonly ChildKind[] = [
  'prefetch',
  'deployment',
  'service',
  'serviceAccount',
  'disruptionBudget',
  'networkPolicy',
];
/** There for some models, or with some values, and not for others. */
const OPTIONAL: readonly ChildKind[] = ['disruptionBudget', 'networkPolicy', 'prefetch'];

/** A Job's template is immutable: a changed one is made when the old one is gone. */
const isReplaced = ({ children: { prefetch } }: Snapshot, { prefetch: wanted }: Children): boolean =>
  prefetch !== undefined && wanted !== undefined && needsApply(prefetch, wanted);

const sizeOf = (claim: object): number => {
  const { spec } = claim as { spec?: { resources?: { requests?: { storage?: string | number } } } };
  return parseQuantity(spec?.resources?.requests?.storage ?? 0) ?? 0;
};

/** Claims grow and never shrink; everything else of theirs is immutable. */
const claimNeedsApply = (found: KubeObject | undefined, wanted: Manifest): boolean =>
  found === undefined || sizeOf(wanted) > sizeOf(found);

/** Whether the pods' template differs from the one that was applied last. */
const changesPods = (found: KubeObject | undefined, wanted: Manifest): boolean =>
  found !== undefined && annotationOf(found) !== annotationOf(wanted);

const annotationOf = ({ metadata }: KubeObject): string | undefined => metadata.annotations?.[ANNOTATION_TEMPLATE_HASH];

const isGoing = (object: KubeObject): boolean => object.metadata.deletionTimestamp !== undefined;

function toApply({ model, children: observed, paused }: Snapshot, wanted: Children): readonly Change[] {
  return ALL_CHILD_KINDS.flatMap((kind) => {
    const [found, manifest] = [observed[kind], wanted[kind]];
    if (manifest === undefined || paused.get(kind)?.hash === hashOf(manifest)) return [];
    if (kind === 'prefetch' && found !== undefined) return [];
    if (found !== undefined && (isGoing(found) || ownershipOf(found, model) === 'predecessor')) return [];
    const isNeeded = kind === 'claim' ? claimNeedsApply(found, manifest) : needsApply(found, manifest);
    return isNeeded ? [{ kind, manifest, rolls: kind === 'deployment' && changesPods(found, manifest) }] : [];
  });
}

const toRemove = ({ model, children }: Snapshot, kinds: readonly ChildKind[]): readonly ChildKind[] =>
  kinds.filter((kind) => {
    const child = children[kind];
    return child !== undefined && !isGoing(child) && ownershipOf(child, model) === 'ours';
  });

/** What serves is scaled whatever else is wrong. */
function scaleOnly({ model, children: { deployment } }: Snapshot, { replicas }: Facts): number | undefined {
  if (deployment === undefined || isGoing(deployment) || ownershipOf(deployment, model) !== 'ours') return undefined;
  return deployment.spec.replicas === replicas ? undefined : replicas;
}

/** A pod template that says what it may not is left out. */
function wantedOf(snapshot: Snapshot, facts: Facts, config: ManifestConfig): Children {
  const { children, existingClaim, model } = ownPart(snapshot);
  const spec = facts.invalidTemplate === undefined ? model.spec : { ...model.spec, podTemplate: {} };
  return desiredChildren({
    ...facts,
    model: { ...model, spec },
    config,
    recorded: children.revision?.data ?? {},
    existingModes: existingClaim?.spec?.accessModes,
  });
}

const isOwn = (child: KubeObject | undefined, model: EmbeddingModel): boolean =>
  child !== undefined && ownershipOf(child, model) !== 'predecessor';

/** Somebody else's object was in its way when it was looked at last. */
export const wasBlocked = ({ status }: EmbeddingModel): boolean =>
  findCondition(status?.conditions, 'Accepted')?.reason === 'NameConflict';

/**
 * A line of the list that nobody has asked for yet: all there is of it is its EmbeddingModel. Of ten thousand lines most are never asked for.
 * What somebody wrote is made whole at once, for its author to hear what the cluster says of it; and so is a line that something was in the
 * way of, to see whether it still is.
 */
function isDormant({ model, children, pods }: Snapshot, { replicas, awaitsCache, acceptance }: Facts): boolean {
  const { metadata, spec } = model;
  const isWritten = metadata.labels?.[LABEL_CATALOG] === undefined || spec.podTemplate !== undefined;
  if (isWritten || wasBlocked(model) || acceptance.status !== 'True') return false;
  const isAsked = replicas > 0 || pods.length > 0 || awaitsCache;
  return !isAsked && !SERVING.some((kind) => isOwn(children[kind], model));
}

function changesOf(snapshot: Snapshot, facts: Facts, config: ManifestConfig): Changes {
  const { status, reason } = facts.acceptance;
  if (status === 'Unknown' || isDormant(snapshot, facts)) return NO_CHANGES;
  // What serves goes on serving while somebody else's object is in the way of a change.
  if (status === 'False')
    return { ...NO_CHANGES, remove: reason === 'NameConflict' ? [] : toRemove(snapshot, SERVING) };
  const isValid = facts.invalidTemplate === undefined;
  const wanted = wantedOf(snapshot, facts, config);
  const all = toApply(snapshot, wanted);
  const keepsPods = !isValid || (snapshot.isRolloutQueued && all.some(({ rolls }) => rolls));
  const withPods = (kind: ChildKind): boolean => kind === 'deployment' || (kind === 'prefetch' && !isValid);
  const apply = keepsPods ? all.filter(({ kind }) => !withPods(kind)) : all;
  return {
    apply,
    remove: toRemove(
      snapshot,
      OPTIONAL.filter((kind) => wanted[kind] === undefined || (kind === 'prefetch' && isReplaced(snapshot, wanted))),
    ),
    scale: keepsPods ? scaleOnly(snapshot, facts) : undefined,
  };
}

export function plan(snapshot: Snapshot, config: ManifestConfig): Plan {
  const { model } = snapshot;
  // What is being deleted belongs to the garbage collector: making its children anew would fight it.
  if (model.metadata.deletionTimestamp !== undefined) return { ...NO_CHANGES, status: undefined, events: [] };
  const facts = factsOf(snapshot, config);
  const own = ownPart(snapshot);
  const status = statusOf(own, facts, config.release);
  return {
    ...changesOf(snapshot, facts, config),
    status: canonicalJson(status) === canonicalJson(model.status) ? undefined : status,
    events: [
      ...reasonEvents(own, status),
      ...(facts.acceptance.status === 'True' ? scaleEvents(own, facts.replicas) : []),
    ],
  };
}
