// The narrow interface through which the operator and router reach an API server, and what its calls fail with;
// `kube/rest.ts` and `local/apiserver/` implement it.
import type { KubeList, KubeObject, ObjectKey, ResourceType, WatchEvent } from './types.ts';

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Per-call deadline in milliseconds; the implementation has a default. */
  readonly timeoutMs?: number;
}

/** Which objects of a type. */
export interface Selection {
  /** Omitted: all namespaces. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface ListOptions extends Selection, CallOptions {
  /** Page size; omitted: one unpaged answer. */
  readonly limit?: number;
  readonly continue?: string;
}

export interface WatchOptions extends Selection {
  /**
   * Undefined: first all that there is, each as ADDED, and after the last of them a bookmark that says so (`isInitialEnd`).
   * A server that cannot do that refuses it as invalid.
   */
  readonly resourceVersion: string | undefined;
  /** The server ends the watch after this long. */
  readonly timeoutSeconds: number;
  readonly signal: AbortSignal;
}

export interface PatchOptions extends CallOptions {
  readonly fieldManager?: string;
  readonly subresource?: 'status';
}

export interface ApplyOptions extends PatchOptions {
  readonly fieldManager: string;
  /** Take fields over from other managers; a controller says true. */
  readonly force?: boolean;
  /** Only where nothing has the name: otherwise it is left as it is, and the call fails with a conflict. */
  readonly ifAbsent?: boolean;
}

export interface DeleteOptions extends CallOptions {
  /** The delete fails with a conflict unless the object still has this uid. */
  readonly uid?: string | undefined;
}

/** What is applied need not be whole: server-side apply owns the fields that are present and no others. */
export type ApplyBody = { readonly apiVersion: string; readonly kind: string; readonly metadata: object } & object;

/**
 * Every method rejects with {@link ApiError} when the server answers with a failure,
 * and with the signal's reason when aborted.
 */
export interface KubeClient {
  get<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, options?: CallOptions): Promise<T>;
  list<T extends KubeObject>(type: ResourceType<T>, options?: ListOptions): Promise<KubeList<T>>;
  /** Ends when the server closes the stream; throws `ApiError` (410 included, HTTP or in-band) or a transport error. */
  watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncIterable<WatchEvent<T>>;
  create<T extends KubeObject>(type: ResourceType<T>, object: T, options?: CallOptions): Promise<T>;
  /** Full update under optimistic concurrency: the object's `resourceVersion` must match (Lease needs this). */
  replace<T extends KubeObject>(type: ResourceType<T>, object: T, options?: CallOptions): Promise<T>;
  /** Server-side apply. */
  apply<T extends KubeObject>(type: ResourceType<T>, object: ApplyBody, options: ApplyOptions): Promise<T>;
  /** RFC 7386 merge patch. */
  patch<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, patch: object, options?: PatchOptions): Promise<T>;
  /** What the object owns is deleted in the background. */
  delete<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, options?: DeleteOptions): Promise<void>;
}

export interface ApiErrorInit {
  readonly status: number;
  /** The `reason` of the Status object, e.g. `NotFound`, `AlreadyExists`, `Conflict`, `Expired`. */
  readonly reason: string;
  readonly message: string;
  readonly retryAfterMs?: number | undefined;
}

/** A failure that the API server reported. */
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
export const isConflict = (error: unknown): boolean => hasStatus(error, 409);
export const isExpired = (error: unknown): boolean => hasStatus(error, 410);
export const isForbidden = (error: unknown): boolean => hasStatus(error, 403);
export const isInvalid = (error: unknown): boolean => hasStatus(error, 422) || hasStatus(error, 400);

/** What a call gives, or undefined where it meets nothing under that name. */
export async function ifPresent<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** No answer: the connection failed, was cut, or took too long. Whether the server acted is unknown. */
export class TransportError extends Error {
  override readonly name = 'TransportError';
  readonly code: 'timeout' | 'connection';

  constructor(code: 'timeout' | 'connection', message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}
