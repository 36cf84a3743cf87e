// From what a server answered to an ApiError: Status objects, plain text from proxies, and Retry-After.
import { ApiError } from './errors.ts';

interface Status {
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: { readonly retryAfterSeconds?: number };
}

/** For answers that are not a Status: those of load balancers and of servers that are going down. */
const REASONS: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Gone',
  422: 'Invalid',
  429: 'TooManyRequests',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

function parseStatus(body: string): Status {
  try {
    const parsed = JSON.parse(body) as unknown;
    return typeof parsed === 'object' && parsed !== null ? parsed : {};
  } catch {
    return { message: body.slice(0, 500) };
  }
}

/** `retryAfter` is the header: seconds; its date form is not used by API servers. */
export function errorFromAnswer(code: number, body: string, retryAfter: string | undefined): ApiError {
  return errorFromStatus(parseStatus(body), code, Number.parseInt(retryAfter ?? '', 10));
}

export function errorFromStatus(status: Status, code = status.code ?? 500, retryAfterSeconds = NaN): ApiError {
  const seconds = Number.isNaN(retryAfterSeconds) ? status.details?.retryAfterSeconds : retryAfterSeconds;
  return new ApiError({
    status: code,
    reason: status.reason ?? REASONS[code] ?? 'Unknown',
    message: status.message !== undefined && status.message !== '' ? status.message : `The server answered ${code}`,
    ...(seconds === undefined || seconds <= 0 ? {} : { retryAfterMs: seconds * 1000 }),
  });
}
