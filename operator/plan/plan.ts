// The plan for one EmbeddingModel: snapshot → what to apply, what to remove, the status, the events. Pure.
import { desiredChildren } from '../desired/children.ts';
import type { ChildRole } from '../desired/children.ts';
import type { DesiredConfig } from '../desired/config.ts';
import { canonicalJson } from '../desired/manifest.ts';
import { toApply, toRemove } from './changes.ts';
import { factsOf } from './facts.ts';
import type { Facts } from './facts.ts';
import type { Plan, Snapshot } from './snapshot.ts';
import { reasonEvents, scaleEvents, statusOf } from './status.ts';

const NOTHING: Plan = { apply: [], remove: [], events: [] };

/** What a refused model loses. Its pin and its claim stay: weights are dear, and it may be listed again. */
const SERVING: readonly ChildRole[] = ['deployment', 'service', 'serviceAccount', 'disruptionBudget'];

type Changes = Pick<Plan, 'apply' | 'remove'>;

function changesOf(snapshot: Snapshot, facts: Facts, config: DesiredConfig): Changes {
  const { status, reason } = facts.verdict;
  if (status === 'Unknown') return NOTHING;
  // What serves goes on serving while somebody else's object is in the way of a change.
  if (status === 'False') return { apply: [], remove: reason === 'NameConflict' ? [] : toRemove(snapshot, SERVING) };
  const wanted = desiredChildren({ ...facts, model: snapshot.model, config });
  return {
    apply: toApply(snapshot, wanted),
    remove: wanted.disruptionBudget === undefined ? toRemove(snapshot, ['disruptionBudget']) : [],
  };
}

export function plan(snapshot: Snapshot, config: DesiredConfig): Plan {
  const { model } = snapshot;
  // What is being deleted belongs to the garbage collector: making its children anew would fight it.
  if (model.metadata.deletionTimestamp !== undefined) return NOTHING;
  const facts = factsOf(snapshot);
  const status = statusOf(snapshot, facts);
  return {
    ...changesOf(snapshot, facts, config),
    ...(canonicalJson(status) !== canonicalJson(model.status) && { status }),
    events: [
      ...reasonEvents(snapshot, status),
      ...(facts.verdict.status === 'True' ? scaleEvents(snapshot, facts.replicas) : []),
    ],
  };
}
