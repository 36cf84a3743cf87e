// The one error type that reaches clients, and the table that says what each kind of failure looks like on the wire.
import { clip } from '../util/text.ts';

interface Wire {
  readonly status: number;
  readonly type: string;
  readonly code: string | null;
}

const invalid = (status: number, code: string | null): Wire => ({ status, type: 'invalid_request_error', code });
const server = (status: number, code: string): Wire => ({ status, type: 'server_error', code });

const KINDS = {
  invalid_request: invalid(400, null),
  context_length_exceeded: invalid(400, null),
  max_tokens_per_request: { status: 400, type: 'max_tokens_per_request', code: 'max_tokens_per_request' },
  invalid_api_key: invalid(401, 'invalid_api_key'),
  permission_denied: invalid(403, 'permission_denied'),
  model_not_found: invalid(404, 'model_not_found'),
  unknown_url: invalid(404, 'unknown_url'),
  method_not_allowed: invalid(405, 'method_not_allowed'),
  request_timeout: invalid(408, 'request_timeout'),
  request_too_large: invalid(413, 'request_too_large'),
  unsupported_media_type: invalid(415, 'unsupported_media_type'),
  expectation_failed: invalid(417, 'expectation_failed'),
  misdirected_request: invalid(421, 'misdirected_request'),
  /** No retry cures it: the SDKs make none for this status. */
  model_not_servable: invalid(422, 'model_not_servable'),
  headers_too_large: invalid(431, 'headers_too_large'),
  rate_limit_exceeded: { status: 429, type: 'requests', code: 'rate_limit_exceeded' },
  /** The client went away first: nobody reads this, but the log and the metrics need a status. */
  client_closed_request: invalid(499, 'client_closed_request'),
  internal_error: server(500, 'internal_error'),
  bad_gateway: server(502, 'bad_gateway'),
  /** Replicas failed while they worked on this request: it may be what made them fail. */
  replicas_failed: server(502, 'replicas_failed'),
  service_unavailable: server(503, 'service_unavailable'),
  deadline_exceeded: server(504, 'deadline_exceeded'),
} as const satisfies Record<string, Wire>;

export type ErrorKind = keyof typeof KINDS;

export interface ErrorDetails {
  /** The request field at fault. */
  readonly param?: string | undefined;
  /** When to try again; sent as `retry-after` (whole seconds, rounded up) and `retry-after-ms`. */
  readonly retryAfterMs?: number | undefined;
  /** Further response headers, e.g. `allow`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

export class OpenAIError extends Error {
  override readonly name = 'OpenAIError';
  readonly kind: ErrorKind;
  readonly status: number;
  readonly param: string | null;
  readonly headers: Readonly<Record<string, string>>;

  constructor(kind: ErrorKind, message: string, details: ErrorDetails = {}) {
    const { stackTraceLimit } = Error;
    // Where a refusal was made tells no more than its kind, and finding that out is the dearest part of it. A fault's cause has its own.
    Error.stackTraceLimit = 0;
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    Error.stackTraceLimit = stackTraceLimit;
    this.kind = kind;
    this.status = KINDS[kind].status;
    this.param = details.param ?? null;
    this.headers = { ...retryHeaders(details.retryAfterMs), ...details.headers };
  }
}

// The SDKs honour `retry-after-ms` first; node caps it at 60 s, beyond which it falls back to its own short back-off.
const MAX_RETRY_MS = 60_000;

function retryHeaders(retryAfterMs: number | undefined): Record<string, string> {
  if (retryAfterMs === undefined) return {};
  const milliseconds = Math.min(MAX_RETRY_MS, Math.max(1, Math.ceil(retryAfterMs)));
  return { 'retry-after': String(Math.ceil(milliseconds / 1000)), 'retry-after-ms': String(milliseconds) };
}

/** All four keys, always: clients read them without looking. */
export function errorBody(error: OpenAIError): ErrorBody {
  const { type, code } = KINDS[error.kind];
  return { error: { message: error.message, type, param: error.param, code } };
}

export function modelNotFound(model: string): OpenAIError {
  return new OpenAIError(
    'model_not_found',
    `The model \`${clip(model)}\` does not exist or you do not have access to it.`,
  );
}
