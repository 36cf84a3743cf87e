// ApiError: the one error type for a failure an API server reported, with the questions callers ask of it.

export interface ApiErrorInit {
  readonly status: number;
  /** The `reason` of the Status object, e.g. `NotFound`, `AlreadyExists`, `Conflict`, `Expired`. */
  readonly reason: string;
  readonly message: string;
  readonly retryAfterMs?: number;
}

export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly reason: string;
  readonly retryAfterMs: number | undefined;

  constructor(init: ApiErrorInit) {
    super(init.message);
    this.status = init.status;
    this.reason = init.reason;
    this.retryAfterMs = init.retryAfterMs;
  }
}

const hasStatus = (error: unknown, status: number): error is ApiError =>
  error instanceof ApiError && error.status === status;

export const isNotFound = (error: unknown): boolean => hasStatus(error, 404);
/** What a call gives, or undefined where it meets nothing under that name. */
export async function ifPresent<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

export const isConflict = (error: unknown): boolean => hasStatus(error, 409);
export const isExpired = (error: unknown): boolean => hasStatus(error, 410);
export const isForbidden = (error: unknown): boolean => hasStatus(error, 403);
export const isInvalid = (error: unknown): boolean => hasStatus(error, 422) || hasStatus(error, 400);

/** No answer: the connection failed, was cut, or took too long. Whether the server acted is unknown. */
export class TransportError extends Error {
  override readonly name = 'TransportError';
  readonly code: 'timeout' | 'connection';

  constructor(code: 'timeout' | 'connection', message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}
