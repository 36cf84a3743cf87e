// The narrow interface through which the operator and router reach an API server; `kube/rest.ts` and `local/` implement it.
import type { KubeList, KubeObject, ObjectKey, ResourceType, WatchEvent } from './types.ts';

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Per-call deadline in milliseconds; the implementation has a default. */
  readonly timeoutMs?: number;
}

export interface ListOptions extends CallOptions {
  /** Omitted: all namespaces. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Page size; omitted: one unpaged answer. */
  readonly limit?: number;
  readonly continue?: string;
  readonly resourceVersion?: string;
}

export interface WatchOptions {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly resourceVersion: string;
  /** The server ends the watch after this long. */
  readonly timeoutSeconds: number;
  readonly signal: AbortSignal;
}

export interface ApplyOptions extends CallOptions {
  readonly fieldManager: string;
  /** Take fields over from other managers; a controller says true. */
  readonly force?: boolean;
  readonly subresource?: 'status' | 'scale';
  /** Validate and admit, persist nothing. */
  readonly dryRun?: boolean;
}

export interface DeleteOptions extends CallOptions {
  readonly propagation?: 'Background' | 'Foreground' | 'Orphan';
  /** The delete fails with a conflict unless the object still has this uid. */
  readonly uid?: string;
}

/** What is applied need not be whole: server-side apply owns the fields that are present and no others. */
export type ApplyBody = { readonly apiVersion: string; readonly kind: string; readonly metadata: object } & object;

/**
 * Every method rejects with {@link ApiError} (`kube/errors.ts`) when the server answers with a failure,
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
  patch<T extends KubeObject>(
    type: ResourceType<T>,
    key: ObjectKey,
    patch: object,
    options?: CallOptions & { readonly subresource?: 'status' | 'scale'; readonly fieldManager?: string },
  ): Promise<T>;
  delete<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, options?: DeleteOptions): Promise<void>;
}
