// How many replicas the Deployment should have. The operator is the only writer of that field.
import type { ResolvedScaling } from '../../api/types.ts';

export interface ReplicaInputs {
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

export function desiredReplicas({ fixed, target, observed, ready, scaling, revisionKnown }: ReplicaInputs): number {
  const scaled = target ?? observed ?? scaling.minReplicas;
  const wanted = fixed ?? Math.min(Math.max(scaled, scaling.minReplicas), scaling.maxReplicas);
  // A changed revision is unknown again, but what serves the old one is not taken away for that.
  return revisionKnown ? wanted : Math.min(wanted, Math.max(1, ready));
}
