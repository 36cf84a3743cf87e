// One word and one sentence for where an EmbeddingModel stands, from its conditions and what serves it. Pure.
import { findCondition } from './conditions.ts';
import type { Condition } from './conditions.ts';
import type { EmbeddingModel } from './types.ts';
import { blockedBy, waitingFor } from './blocking.ts';
import type { Cause } from './blocking.ts';

export type ModelState = 'ready' | 'asleep' | 'starting' | 'stopped' | 'failed' | 'refused';

export interface Standing extends Cause {
  readonly state: ModelState;
}

const UNSEEN: Cause = { reason: 'Pending', message: 'The operator has not looked at it yet.' };
const SERVING: Cause = { reason: 'Ready', message: 'Requests are answered.' };

const readyCause = (conditions: readonly Condition[]): Cause => {
  // A pod may serve before the conditions say so: what serves is ready.
  const condition = findCondition(conditions, 'Ready');
  return condition?.status === 'True' && condition.reason !== 'ScaledToZero'
    ? { reason: condition.reason, message: condition.message }
    : SERVING;
};

const withoutReplicas = (conditions: readonly Condition[]): Standing => {
  const blocked = blockedBy(conditions);
  if (blocked) return { state: blocked.reason === 'Stopped' ? 'stopped' : 'failed', ...blocked };
  const available = findCondition(conditions, 'Available');
  if (available?.reason === 'ScaledToZero') {
    return { state: 'asleep', reason: available.reason, message: available.message };
  }
  return { state: 'starting', ...(waitingFor(conditions) ?? UNSEEN) };
};

/** `ready` is the number of replicas that serve. */
export const standingOf = ({ status }: EmbeddingModel, ready: number): Standing => {
  const conditions = status?.conditions ?? [];
  const accepted = findCondition(conditions, 'Accepted');
  if (accepted === undefined) return { state: 'starting', ...UNSEEN };
  const { reason, message } = accepted;
  if (accepted.status === 'False') return { state: 'refused', reason, message };
  return ready > 0 ? { state: 'ready', ...readyCause(conditions) } : withoutReplicas(conditions);
};
