// Names of the headers that cross process borders: the contract between clients, router and runtime.

/** Echoed when a client gives it, made when not; the SDKs expose it as `_request_id`. */
export const REQUEST_ID = 'x-request-id';
/** Router → runtime: the canonical model id this request is for. A runtime that serves another answers 421. */
export const MODEL = 'x-kubembed-model';
/** Router → runtime: milliseconds left until the client stops waiting. */
export const DEADLINE_MS = 'x-kubembed-deadline-ms';
/** Router → runtime: `bulk` for large requests and shards; absent means interactive. Clients may ask for it. */
export const LANE = 'x-kubembed-lane';
/** Runtime → router: tokens per second the process measured of itself. */
export const CAPACITY = 'x-kubembed-capacity-tokens-per-second';
/** Runtime → router: tokens queued or running in the process after this request. */
export const BACKLOG = 'x-kubembed-backlog-tokens';
/** To the client: commit sha of the weights that made these vectors. */
export const REVISION = 'x-kubembed-revision';
/** To the client: how many inputs were cut to the model's limit. Absent when none was. */
export const TRUNCATED = 'x-kubembed-truncated-inputs';
/** To the client, where the router keeps answers: `hit`, `miss`, or `coalesced` with an identical request in flight. */
export const CACHE = 'x-kubembed-cache';

/** What a request may carry; readers that pick out headers read these. */
export const OF_REQUESTS = [REQUEST_ID, MODEL, DEADLINE_MS, LANE] as const;
/** What a runtime's answer may carry for the router. */
export const OF_ANSWERS = [CAPACITY, BACKLOG, REVISION, TRUNCATED] as const;
