// Condition types and reasons of an EmbeddingModel: the vocabulary that status, events, docs and alerts share.

export type ConditionStatus = 'True' | 'False' | 'Unknown';

/** As metav1.Condition. */
export interface Condition {
  readonly type: ConditionType;
  readonly status: ConditionStatus;
  readonly observedGeneration?: number;
  readonly lastTransitionTime: string;
  readonly reason: string;
  readonly message: string;
}

export const CONDITION_TYPES = ['Accepted', 'Fetched', 'Available', 'Progressing', 'Ready'] as const;
export type ConditionType = (typeof CONDITION_TYPES)[number];
