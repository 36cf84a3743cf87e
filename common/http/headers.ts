// Headers that cross process borders: the contract between clients, router and runtime.
import type { IncomingHttpHeaders } from 'node:http';

/** Echoed when a client gives it, made when not; the SDKs expose it as `_request_id`. */
export const REQUEST_ID = 'x-request-id';
/** Router → runtime: the canonical model id this request is for. A runtime that serves another answers 421. */
export const MODEL = 'x-kubembed-model';
/** Milliseconds left until the client stops waiting. */
export const DEADLINE_MS = 'x-kubembed-deadline-ms';
/** `bulk` for large requests and shards; absent means interactive. Clients may ask for it. */
export const PRIORITY = 'x-kubembed-priority';
/** Runtime → router: tokens per second the process measured of itself. */
export const CAPACITY = 'x-kubembed-capacity-tokens-per-second';
/** Runtime → router: tokens queued or running in the process after this request. */
export const BACKLOG = 'x-kubembed-backlog-tokens';
/** To the client: commit sha of the weights that made these vectors. */
export const REVISION = 'x-kubembed-revision';
/**
 * Names all that decides what a vector is: weights, precision, pooling, dimensions, prompt, how overlong inputs are cut. To be
 * compared and never read: vectors of different identities must not be mixed, or kept for one another.
 */
export const IDENTITY = 'x-kubembed-identity';
/** To the client, where the repository declares another pooling than the one in use: which is which. */
export const POOLING = 'x-kubembed-pooling';
/** What an answer says of its vectors, to be compared: a runtime that names no identity is told by its revision alone. */
export const identityIn = (headers: IncomingHttpHeaders): string =>
  `${String(headers[REVISION] ?? '')} ${String(headers[IDENTITY] ?? '')}`;
/** To the client: how many inputs were cut to the model's limit. Absent when none was. */
export const TRUNCATED = 'x-kubembed-truncated-inputs';
/** To the client, where the router keeps answers: `hit`, `miss`, or `coalesced` with an identical request in flight. */
export const CACHE = 'x-kubembed-cache';

/** Interactive requests do not wait behind bulk ones. */
export type Priority = 'interactive' | 'bulk';

export const priorityOf = (headers: IncomingHttpHeaders): Priority =>
  headers[PRIORITY] === 'bulk' ? 'bulk' : 'interactive';

/** Undefined where none is given, or none that could be read. */
export function deadlineMsOf(headers: IncomingHttpHeaders): number | undefined {
  const given = headers[DEADLINE_MS];
  return typeof given === 'string' && /^\d{1,9}$/.test(given) ? Number(given) : undefined;
}
