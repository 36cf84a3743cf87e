// What a plan is made from and what it says: values that the shell reads from caches and carries out. Types only.
import type { ConditionStatus, Reason } from '../../api/conditions.ts';
import type { EmbeddingModel, EmbeddingModelStatus } from '../../api/types.ts';
import type { ChildRole } from '../desired/children.ts';
import type { Manifest } from '../desired/manifest.ts';
import type { ConfigMap, Deployment, Event, PersistentVolumeClaim, Pod } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';

/** Whether a model may be served: its place in the list, and its names against those of older models. */
export interface Verdict {
  readonly status: ConditionStatus;
  readonly reason: Reason;
  readonly message: string;
}

/** The objects that carry the names of this model's children, whoever they belong to. */
export type ObservedChildren = Readonly<Partial<Record<ChildRole, KubeObject>>> & {
  readonly deployment?: Deployment;
  readonly pin?: ConfigMap;
  readonly claim?: PersistentVolumeClaim;
};

/** What the autoscaler wants, and why it last changed its mind. */
export interface ScalingTarget {
  readonly replicas: number;
  readonly reason?: string;
}

/** An object that the API server would not take. */
export interface Refusal {
  readonly kind: string;
  readonly name: string;
  readonly message: string;
}

export interface Snapshot {
  readonly model: EmbeddingModel;
  readonly verdict: Verdict;
  readonly children: ObservedChildren;
  readonly pods: readonly Pod[];
  /** The claim that `cache.existingClaim` names. */
  readonly existingClaim?: PersistentVolumeClaim;
  /** Absent until the autoscaler has made up its mind. */
  readonly target?: ScalingTarget;
  readonly refusal?: Refusal;
  /** Warning events about what is stuck. */
  readonly warnings?: readonly Event[];
  /** RFC 3339, whole seconds. */
  readonly now: string;
}

export interface PlannedEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
}

export interface Plan {
  readonly apply: readonly Manifest[];
  readonly remove: readonly ChildRole[];
  /** The whole new status; undefined when it says what is written already. */
  readonly status?: EmbeddingModelStatus;
  readonly events: readonly PlannedEvent[];
}
