// ModelError: the one error for a model that cannot be had or used; its reason is a condition reason of the EmbeddingModel.

export type ModelErrorReason =
  | 'InvalidModelId'
  | 'RepositoryNotFound'
  | 'RevisionNotFound'
  | 'GatedRepository'
  | 'HubUnreachable'
  | 'CorruptWeights'
  | 'InsufficientDisk'
  | 'StoreNotWritable'
  | 'UnsupportedFiles'
  | 'UnsupportedArchitecture'
  | 'Aborted';

export class ModelError extends Error {
  override readonly name = 'ModelError';
  readonly reason: ModelErrorReason;

  constructor(reason: ModelErrorReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

export const isModelError = (error: unknown, reason?: ModelErrorReason): error is ModelError =>
  error instanceof ModelError && (reason === undefined || error.reason === reason);
