// KubeClient over HTTPS: keep-alive connections, a deadline for every call, and retries where they are safe.
import { Pool } from 'undici';
import type { Dispatcher } from 'undici';
import { jsonLines } from '../common/util/lines.ts';
import { ApiError, TransportError } from './client.ts';
import type { CallOptions, KubeClient, ListOptions, WatchOptions } from './client.ts';
import { sleep } from './clock.ts';
import type { Clock } from './clock.ts';
import type { ConnectionConfig } from './config.ts';
import { apiVersionOf, deepFreeze, targetKey, typeName } from './types.ts';
import type { KubeList, KubeObject, ObjectKey, ObjectMeta, ResourceType, WatchEvent } from './types.ts';

/** For metrics: `kube/` names none for calls, its users do. */
export interface AnsweredCall {
  readonly method: string;
  /** 0: no answer. */
  readonly status: number;
  readonly seconds: number;
}

export interface RestOptions {
  readonly clock: Clock;
  readonly userAgent: string;
  readonly timeoutMs?: number;
  /** Called after each call. */
  readonly observe?: (call: AnsweredCall) => void;
}

export interface RestClient extends KubeClient {
  close(): Promise<void>;
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

interface Call {
  readonly method: Method;
  readonly path: string;
  readonly query?: Query;
  readonly body?: object;
  readonly contentType?: string;
}

const TIMEOUT_MS = 30_000;
const ATTEMPTS = 4;
const CALL_CONNECTIONS = 16;
/** Less than the 90 s after which an API server closes an idle connection. */
const IDLE_MS = 60_000;
/** A peer that vanished is noticed by TCP in about half a minute. */
const KEEP_ALIVE_PROBE_MS = 15_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** As of now: what the server answers without having asked its store may be older than what was seen before. */
const ALL_FIRST = { sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan' } as const;
/** Ten times what an API server stores of one object. */
const MAX_WATCH_LINE_BYTES = 16 * 1024 * 1024;

const JSON_TYPE = 'application/json';
const MERGE_PATCH = 'application/merge-patch+json';
/** JSON is YAML. */
const APPLY_PATCH = 'application/apply-patch+yaml';

export function createRestClient(connection: ConnectionConfig, options: RestOptions): RestClient {
  const { clock, userAgent, timeoutMs: defaultTimeoutMs = TIMEOUT_MS, observe } = options;
  const { origin, pathname } = new URL(connection.server);
  const prefix = pathname.replace(/\/$/, '');
  const pool = (connections: number | null): Pool =>
    new Pool(origin, {
      connections,
      allowH2: false,
      keepAliveTimeout: IDLE_MS,
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: { ...connection.tls, timeout: CONNECT_TIMEOUT_MS, keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS },
    });
  const calls = pool(CALL_CONNECTIONS);
  // A watch occupies its connection for minutes: apart, so that watches never starve calls.
  const watches = pool(null);

  async function send(through: Pool, call: Call, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const credentials = await connection.headers();
    return await through.request({
      method: call.method,
      path: `${prefix}${call.path}${queryString(call.query ?? {})}`,
      headers: {
        accept: JSON_TYPE,
        'user-agent': userAgent,
        ...(call.body ? { 'content-type': call.contentType ?? JSON_TYPE } : {}),
        ...credentials,
      },
      ...(call.body ? { body: JSON.stringify(call.body) } : {}),
      signal,
    });
  }

  async function attempt(call: Call, signal: AbortSignal): Promise<unknown> {
    const started = clock.now();
    let status = 0;
    try {
      const answer = await send(calls, call, signal);
      status = answer.statusCode;
      const text = await answer.body.text();
      if (status >= 300) throw errorFromAnswer(status, text, headerOf(answer, 'retry-after'));
      return text === '' ? undefined : JSON.parse(text);
    } finally {
      observe?.({ method: call.method, status, seconds: (clock.now() - started) / 1000 });
    }
  }

  async function request<T>(call: Call, { signal: outer, timeoutMs = defaultTimeoutMs }: CallOptions = {}): Promise<T> {
    const deadline = startDeadline(clock, timeoutMs, outer);
    try {
      return deepFreeze((await persist(call, deadline.signal, clock.now() + timeoutMs)) as T);
    } catch (error) {
      outer?.throwIfAborted();
      throw asFailure(error, `${call.method} ${call.path}`, deadline.passed());
    } finally {
      deadline.cancel();
    }
  }

  /** Tries again while that is safe and there is time. */
  async function persist(call: Call, signal: AbortSignal, dueAt: number): Promise<unknown> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await attempt(call, signal);
      } catch (error) {
        const waitMs = retryDelay(call.method, error, tries);
        if (waitMs === undefined || signal.aborted || clock.now() + waitMs >= dueAt) throw error;
        await sleep(clock, waitMs, signal);
      }
    }
  }

  async function list<T extends KubeObject>(type: ResourceType<T>, given: ListOptions = {}): Promise<KubeList<T>> {
    const { namespace, labelSelector, fieldSelector, limit, continue: token } = given;
    const query = { labelSelector, fieldSelector, limit: limit === 0 ? undefined : limit, continue: token };
    const path = resourcePath(type, { namespace });
    const page = await request<KubeList<T>>({ method: 'GET', path, query }, given);
    // The server leaves these out of the items of a list.
    const known = { apiVersion: apiVersionOf(type), kind: type.kind };
    return deepFreeze({ metadata: page.metadata, items: page.items.map((item) => ({ ...item, ...known })) });
  }

  async function* watch<T extends KubeObject>(
    type: ResourceType<T>,
    given: WatchOptions,
  ): AsyncGenerator<WatchEvent<T>> {
    const { namespace, signal: outer, ...selection } = given;
    const path = resourcePath(type, { namespace });
    const query = { ...selection, watch: true, allowWatchBookmarks: true };
    const call: Call = {
      method: 'GET',
      path,
      query: given.resourceVersion === undefined ? { ...query, ...ALL_FIRST } : query,
    };
    const opening = startDeadline(clock, defaultTimeoutMs, outer);
    try {
      const answer = await send(watches, call, opening.signal);
      opening.cancel();
      if (answer.statusCode >= 300) {
        throw errorFromAnswer(answer.statusCode, await answer.body.text(), headerOf(answer, 'retry-after'));
      }
      for await (const line of jsonLines(answer.body, { maxBytes: MAX_WATCH_LINE_BYTES })) yield watchEvent<T>(line);
    } catch (error) {
      outer.throwIfAborted();
      throw asFailure(error, `watch ${path}`, opening.passed());
    } finally {
      opening.cancel();
    }
  }

  const pathOf = (type: ResourceType, { namespace, name }: ObjectKey, subresource?: string): string =>
    resourcePath(type, { namespace, name, subresource });

  return {
    list,
    watch,
    get: async (type, key, given) => await request({ method: 'GET', path: pathOf(type, key) }, given),
    create: async (type, object, given) => {
      const { namespace } = targetKey(type, object.metadata);
      return await request({ method: 'POST', path: resourcePath(type, { namespace }), body: object }, given);
    },
    replace: async (type, object, given) => {
      const path = pathOf(type, targetKey(type, object.metadata));
      return await request({ method: 'PUT', path, body: object }, given);
    },
    apply: async (type, object, { fieldManager, force, ifAbsent = false, subresource, ...given }) => {
      const path = pathOf(type, targetKey(type, object.metadata as ObjectMeta), subresource);
      const query = { fieldManager, force };
      const body = ifAbsent ? { ...object, metadata: { ...object.metadata, resourceVersion: NEVER } } : object;
      return await request({ method: 'PATCH', path, query, body, contentType: APPLY_PATCH }, given);
    },
    patch: async (type, key, patch, { fieldManager, subresource, ...given } = {}) => {
      const path = pathOf(type, key, subresource);
      const query = { fieldManager };
      return await request({ method: 'PATCH', path, query, body: patch, contentType: MERGE_PATCH }, given);
    },
    delete: async (type, key, { uid, ...given } = {}) => {
      // JSON leaves out what is undefined.
      const body = { propagationPolicy: 'Background', preconditions: uid === undefined ? undefined : { uid } };
      await request({ method: 'DELETE', path: pathOf(type, key), body }, given);
    },
    close: async () => {
      await Promise.all([calls.destroy(), watches.destroy()]);
    },
  };
}

const headerOf = ({ headers }: Dispatcher.ResponseData, name: string): string | undefined => {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
};

/** Milliseconds to wait before another try, if one is safe: a 429 was not acted upon, and a read may be repeated. */
function retryDelay(method: Method, error: unknown, tries: number): number | undefined {
  // An idle connection that the server closed just now: a fresh one will do.
  if (!(error instanceof ApiError)) return method === 'GET' && tries === 1 ? 0 : undefined;
  const safe = error.status === 429 || (method === 'GET' && error.status >= 500);
  return safe && tries < ATTEMPTS ? error.retryAfterMs : undefined;
}

function asFailure(error: unknown, what: string, timedOut: boolean): unknown {
  if (error instanceof ApiError || error instanceof TransportError) return error;
  if (timedOut) return new TransportError('timeout', `${what} took too long`, error);
  return new TransportError(
    'connection',
    `${what} failed: ${error instanceof Error ? error.message : String(error)}`,
    error,
  );
}

function watchEvent<T extends KubeObject>(line: unknown): WatchEvent<T> {
  const event = line as WatchEvent<T> | { readonly type: 'ERROR'; readonly object: object };
  if (event.type === 'ERROR') throw errorFromStatus(event.object);
  // Most of it is thrown away by whoever keeps the rest, and freezes that.
  return event;
}

// Deadlines

interface Deadline {
  /** Aborts when time is up or the caller's signal does. */
  readonly signal: AbortSignal;
  readonly passed: () => boolean;
  /** Time no longer counts; the caller's signal still does. */
  readonly cancel: () => void;
}

function startDeadline(clock: Clock, timeoutMs: number, outer: AbortSignal | undefined): Deadline {
  const late = new AbortController();
  const cancel = clock.setTimeout(() => late.abort(new Error('Deadline passed')), timeoutMs);
  const signal = outer ? AbortSignal.any([outer, late.signal]) : late.signal;
  return { signal, passed: () => late.signal.aborted, cancel };
}

// Where objects live

type Query = Readonly<Record<string, string | number | boolean | undefined>>;

interface Target {
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly subresource?: string | undefined;
}

function resourcePath(type: ResourceType, { namespace, name, subresource }: Target): string {
  if (!type.namespaced && namespace) throw new RangeError(`${typeName(type)} is not namespaced`);
  const root = type.group === '' ? ['api', type.version] : ['apis', type.group, type.version];
  const scope = namespace ? ['namespaces', namespace] : [];
  const parts = [
    ...root,
    ...scope,
    type.plural,
    ...(name === undefined ? [] : [name]),
    ...(subresource ? [subresource] : []),
  ];
  return `/${parts.map(encodeURIComponent).join('/')}`;
}

/** With its question mark; empty when nothing is asked. */
function queryString(query: Query): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`],
  );
  return pairs.length > 0 ? `?${pairs.join('&')}` : '';
}

// What a server answered, as an ApiError: Status objects, plain text from proxies, and Retry-After

interface Status {
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: { readonly retryAfterSeconds?: number };
}

/**
 * A version that no object has: etcd counts from 2. Server-side apply takes it for a condition on what is there, and for nothing where
 * nothing is. A POST would say the same, but what it makes is not owned as what is applied: no field of it would ever go again.
 */
const NEVER = '1';

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
function errorFromAnswer(code: number, body: string, retryAfter: string | undefined): ApiError {
  return errorFromStatus(parseStatus(body), code, Number.parseInt(retryAfter ?? '', 10));
}

function errorFromStatus(status: Status, code = status.code ?? 500, retryAfterSeconds = NaN): ApiError {
  const seconds = Number.isNaN(retryAfterSeconds) ? status.details?.retryAfterSeconds : retryAfterSeconds;
  return new ApiError({
    status: code,
    reason: status.reason ?? REASONS[code] ?? 'Unknown',
    message: status.message !== undefined && status.message !== '' ? status.message : `The server answered ${code}`,
    retryAfterMs: seconds === undefined || seconds <= 0 ? undefined : seconds * 1000,
  });
}
