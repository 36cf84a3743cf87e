// Facts → the whole status, and the events that its changes are worth.
import { isCommitSha } from '../../api/types.ts';
import { findCondition, isReason, reasonInfo } from '../../api/conditions.ts';
import { podSelector, selectorString } from '../../api/names.ts';
import type { EmbeddingModelStatus } from '../../api/types.ts';
import { conditionsOf } from './conditions.ts';
import type { Facts } from './facts.ts';
import { livePods } from './pods.ts';
import type { PlannedEvent, Snapshot } from './snapshot.ts';

const embeddingOf = ({ fetched, spec }: Facts): Pick<EmbeddingModelStatus, 'embedding'> =>
  fetched === undefined
    ? {}
    : {
        embedding: {
          dimensions: fetched.dimensions,
          maxTokens: fetched.maxTokens,
          pooling: spec.pooling,
          precision: spec.precision,
        },
      };

const revisionOf = ({ fetched, spec }: Facts): Pick<EmbeddingModelStatus, 'revision'> => {
  const revision = fetched?.revision ?? (isCommitSha(spec.revision) ? spec.revision : undefined);
  return revision === undefined ? {} : { revision };
};

const decisionOf = ({ model, target }: Snapshot): Pick<EmbeddingModelStatus, 'scalingDecision'> => {
  const scalingDecision = target?.reason ?? model.status?.scalingDecision;
  return scalingDecision === undefined || model.spec.replicas !== undefined ? {} : { scalingDecision };
};

export function statusOf(snapshot: Snapshot, facts: Facts): EmbeddingModelStatus {
  const { model, children, pods, now } = snapshot;
  const { deployment } = children;
  return {
    observedGeneration: model.metadata.generation ?? 0,
    conditions: conditionsOf({
      ...facts,
      model,
      deployment,
      livePods: livePods(pods).length,
      now,
    }),
    replicas: deployment?.status?.replicas ?? 0,
    readyReplicas: deployment?.status?.readyReplicas ?? 0,
    selector: selectorString(podSelector(model.metadata.name)),
    ...revisionOf(facts),
    ...embeddingOf(facts),
    ...decisionOf(snapshot),
  };
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

export function scaleEvents({ children, target, model }: Snapshot, replicas: number): readonly PlannedEvent[] {
  const before = children.deployment?.spec.replicas;
  if (before === undefined || before === replicas) return [];
  const why = model.spec.replicas === undefined ? (target?.reason ?? 'limits changed') : 'spec.replicas';
  return [{ type: 'Normal', reason: 'Scaled', message: `Scaled from ${before} to ${replicas}: ${why}` }];
}
