// HTTP to a hub: time-outs, redirects, the token that never leaves the hub's own origin, and which failures are tried again.
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import type { Dispatcher } from 'undici';
import { backoffMs, jittered } from '../common/util/pacing.ts';
import { ModelError } from './files.ts';
import type { Login, Named } from './network.ts';
import { explainRoute, openRoute, refusedByProxy, withoutLogin } from './route.ts';
import { readToken } from './token.ts';
import type { HubSettings } from './paths.ts';

const DEFAULT_ENDPOINT = 'https://huggingface.co';

export interface Timeouts {
  /** Until a connection stands. */
  readonly connectMs: number;
  /** From request to response headers. */
  readonly headersMs: number;
  /** Between two pieces of a body. */
  readonly stallMs: number;
  /** Longest pause between attempts; also caps Retry-After. */
  readonly maxBackoffMs: number;
  /** Attempts that brought no new byte before giving up. */
  readonly attempts: number;
}

export const DEFAULT_TIMEOUTS: Timeouts = {
  connectMs: 4_000,
  headersMs: 30_000,
  stallMs: 30_000,
  maxBackoffMs: 60_000,
  attempts: 5,
};

export type HubOptions = Partial<Omit<HubSettings, 'token'>> & {
  readonly token?: Named | string | undefined;
  readonly timeouts?: Partial<Timeouts> | undefined;
};

// Failures that may pass by themselves.

export class TransientError extends Error {
  override readonly name = 'TransientError';
  readonly retryAfterMs: number | undefined;
  /** No connection could be made at all: no name, no route, refused. */
  readonly unreachable: boolean;

  constructor(
    message: string,
    details: { retryAfterMs?: number | undefined; unreachable?: boolean; cause?: unknown } = {},
  ) {
    super(message, { cause: details.cause });
    this.retryAfterMs = details.retryAfterMs;
    this.unreachable = details.unreachable ?? false;
  }
}

/** Retry-After in milliseconds: seconds or an HTTP date. */
export const parseRetryAfter = (value: string | undefined, nowMs: number): number | undefined => {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
};

const INITIAL_BACKOFF_MS = 500;

/** Exponential from half a second, with jitter in its upper half; what the server asks for wins, up to the cap. */
export const retryDelayMs = (
  failures: number,
  { maxBackoffMs }: Pick<Timeouts, 'maxBackoffMs'>,
  { retryAfterMs, random }: { readonly retryAfterMs?: number | undefined; readonly random: number },
): number =>
  retryAfterMs === undefined
    ? jittered(backoffMs({ initialMs: INITIAL_BACKOFF_MS, maxMs: maxBackoffMs }, failures), random)
    : Math.min(retryAfterMs, maxBackoffMs);

export interface Retry {
  readonly what: string;
  readonly why: string;
  readonly delayMs: number;
}

export interface RetryPolicy {
  readonly timeouts: Timeouts;
  /** Attempts when no connection can be made; less than `attempts` where another source stands ready. */
  readonly unreachableAttempts: number;
  readonly signal: AbortSignal;
  readonly random: () => number;
  readonly onRetry: (retry: Retry) => void;
}

/** Whether anything was gained since it was last asked. */
export interface Gains {
  /** By the attempts themselves. */
  readonly own: () => boolean;
  /** By whatever goes on beside them: one of many that is refused is not cut off, it waits its turn. */
  readonly beside?: () => boolean;
}

const NOTHING: Gains = { own: () => false };

/** Runs `attempt` until it succeeds, fails for good, or has failed too often in a row without a gain. */
export const retrying = async <T>(
  policy: RetryPolicy,
  what: string,
  attempt: () => Promise<T>,
  gains: Gains = NOTHING,
): Promise<T> => {
  let failures = 0;
  let inVain = 0;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
      const allowed = error.unreachable ? policy.unreachableAttempts : policy.timeouts.attempts;
      const [own, beside] = [gains.own(), gains.beside?.() ?? false];
      inVain = own || beside ? 1 : inVain + 1;
      if (inVain >= allowed) throw error;
      failures = own ? 1 : Math.min(failures + 1, allowed);
      const { retryAfterMs } = error;
      const delayMs = retryDelayMs(failures, policy.timeouts, { retryAfterMs, random: policy.random() });
      policy.onRetry({ what, why: error.message, delayMs });
      await sleep(delayMs, undefined, { signal: policy.signal });
    }
  }
};

// Requests.

const MAX_REDIRECTS = 5;
const RETRIED_STATUSES = new Set([408, 425, 429, 500, 502, 503, 504]);
const REDIRECT_STATUSES = new Set([301, 302, 303, 307, 308]);
const UNREACHABLE_CODES = new Set([
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

export interface HubResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readable;
  /** False when a redirect led to another origin, a CDN. */
  readonly fromHub: boolean;
}

export interface HubRequest {
  readonly method?: 'GET' | 'HEAD';
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly signal: AbortSignal;
  /** `own`: stop at a redirect that leaves the hub, and return it. */
  readonly follow?: 'own';
}

/** In words, for who is refused. */
export const CREDENTIALS = {
  token: 'the token that HF_TOKEN holds has no access',
  login: 'the user and password that were given have no access',
  none: 'no token was given (HF_TOKEN)',
} as const;

export interface HubClient {
  readonly endpoint: string;
  /** What requests show. */
  readonly credentials: keyof typeof CREDENTIALS;
  send(path: string, request: HubRequest): Promise<HubResponse>;
  close(): Promise<void>;
}

const flatten = (headers: Record<string, string | string[] | undefined>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name.toLowerCase(), Array.isArray(value) ? value.join(', ') : value]],
    ),
  );

const parseEndpoint = (endpoint: string): URL => {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new ModelError('HubUnreachable', `HF_ENDPOINT is "${withoutLogin(endpoint)}", which is no http(s) address`);
  }
  return url;
};

const loginOf = ({ username, password }: URL): Login | undefined =>
  username === '' ? undefined : { username: decodeURIComponent(username), password: decodeURIComponent(password) };

const authorizationOf = (token: string | undefined, login: Login | undefined): string | undefined => {
  if (token !== undefined) return `Bearer ${token}`;
  return login && `Basic ${Buffer.from(`${login.username}:${login.password}`).toString('base64')}`;
};

/** What a failed exchange was, in words with the system's code where there is one. */
export const describeFailure = (error: unknown): { code: string; words: string } => {
  if (error instanceof AggregateError && error.errors.length > 0) return describeFailure(error.errors[0]);
  const code = (error as { code?: unknown }).code;
  const words = error instanceof Error && error.message !== '' ? error.message : String(error);
  return { code: typeof code === 'string' ? code : '', words };
};

const sendOnce = async (
  url: URL,
  options: Omit<Dispatcher.RequestOptions, 'origin' | 'path'> & { dispatcher: Dispatcher; signal: AbortSignal },
): Promise<Dispatcher.ResponseData> => {
  try {
    return await request(url, options);
  } catch (error) {
    options.signal.throwIfAborted();
    const { code, words } = describeFailure(error);
    const lasting = explainRoute(url.origin, { code, words });
    if (lasting !== undefined) throw lasting;
    throw new TransientError(`${url.origin}: ${words}`, { unreachable: UNREACHABLE_CODES.has(code), cause: error });
  }
};

export const discardBody = ({ body }: Pick<HubResponse, 'body'>): void => {
  body.on('error', () => undefined);
  body.destroy();
};

export const createHubClient = (options: HubOptions): HubClient => {
  const base = parseEndpoint(options.endpoint ?? DEFAULT_ENDPOINT);
  const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
  const given = typeof options.token === 'string' ? { variable: 'HF_TOKEN', value: options.token } : options.token;
  const token = readToken(given, options.tokenFile);
  const authorization = authorizationOf(token, options.login ?? loginOf(base));
  const route = openRoute(options, timeouts);

  const headersFor = (url: URL, extra: Readonly<Record<string, string>> = {}): Record<string, string> => ({
    'user-agent': 'kubembed',
    // A resumed or hashed body must be the file's own bytes.
    'accept-encoding': 'identity',
    ...extra,
    ...(authorization !== undefined && url.origin === base.origin && { authorization }),
  });

  const send = async (path: string, wanted: HubRequest): Promise<HubResponse> => {
    let url = new URL(base.pathname.replace(/\/$/, '') + path, base.origin);
    for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
      const answer = await sendOnce(url, {
        dispatcher: route.dispatcherFor(url),
        method: wanted.method ?? 'GET',
        headers: headersFor(url, wanted.headers),
        signal: wanted.signal,
      });
      if (answer.statusCode === 407) throw refusedByProxy(url.origin);
      const headers = flatten(answer.headers);
      const fromHub = url.origin === base.origin;
      const next = REDIRECT_STATUSES.has(answer.statusCode) ? headers['location'] : undefined;
      const target = next !== undefined && URL.canParse(next, url.href) ? new URL(next, url.href) : undefined;
      const leaves = target !== undefined && target.origin !== base.origin;
      if (target === undefined || (leaves && wanted.follow === 'own')) {
        return { status: answer.statusCode, headers, body: answer.body, fromHub };
      }
      discardBody(answer);
      url = target;
    }
    throw new ModelError('HubUnreachable', `${base.origin} redirects more than ${MAX_REDIRECTS} times for ${path}`);
  };

  return {
    endpoint: `${base.origin}${base.pathname}`.replace(/\/$/, ''),
    credentials: token === undefined ? (authorization === undefined ? 'none' : 'login') : 'token',
    send,
    close: async () => {
      await route.close();
    },
  };
};

/** Throws for a status that may pass by itself. */
export const refuseTransient = (response: HubResponse, nowMs: number): void => {
  // A CDN's 403 is most often a signed address that ran out; the hub gives a new one.
  if (!RETRIED_STATUSES.has(response.status) && (response.fromHub || response.status < 400)) return;
  discardBody(response);
  const retryAfterMs = parseRetryAfter(response.headers['retry-after'], nowMs);
  throw new TransientError(`${response.fromHub ? 'the hub' : 'its CDN'} answered ${response.status}`, { retryAfterMs });
};

/** Reads a body to its end; a cut or stalled one is transient. */
export const readBody = async (response: HubResponse, maxBytes: number, signal: AbortSignal): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBytes) break;
      chunks.push(chunk);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw new TransientError(`the answer broke off: ${describeFailure(error).words}`, { cause: error });
  }
  if (size > maxBytes) throw new ModelError('HubUnreachable', `an answer of the hub is over ${maxBytes} bytes`);
  return Buffer.concat(chunks);
};
