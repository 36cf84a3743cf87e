// The errors of inference: of one request (EngineError) and of a start that cannot succeed (EngineStartError).

export const ENGINE_ERROR_CODES = [
  'queue_full',
  'too_large',
  'context_length',
  'token_out_of_range',
  'empty_input',
  'aborted',
  'worker_failed',
  'not_finite',
  'draining',
] as const;
export type EngineErrorCode = (typeof ENGINE_ERROR_CODES)[number];

/** Numbers that a message to the client may name. */
export interface EngineErrorDetails {
  /** Position in the request's inputs. */
  readonly input?: number;
  readonly tokenId?: number;
  /** Position of the token in its input. */
  readonly tokenPosition?: number;
  readonly vocabularySize?: number;
  readonly tokens?: number;
  readonly maxTokens?: number;
  readonly queuedTokens?: number;
  readonly maxQueueTokens?: number;
}

export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly code: EngineErrorCode;
  readonly details: EngineErrorDetails;

  constructor(code: EngineErrorCode, message: string, details: EngineErrorDetails & ErrorOptions = {}) {
    const { cause, ...numbers } = details;
    super(message, cause === undefined ? {} : { cause });
    this.code = code;
    this.details = numbers;
  }
}

export const isEngineError = (error: unknown, code?: EngineErrorCode): error is EngineError =>
  error instanceof EngineError && (code === undefined || error.code === code);

/** Reasons are condition reasons of the EmbeddingModel where one exists. */
export type EngineStartReason = 'InsufficientMemory' | 'DeviceUnavailable' | 'CorruptWeights' | 'TokenizerUnusable';

export class EngineStartError extends Error {
  override readonly name = 'EngineStartError';
  readonly reason: EngineStartReason;

  constructor(reason: EngineStartReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
