// KubeClient over HTTPS: keep-alive connections, a deadline for every call, and retries where they are safe.
import { Pool } from 'undici';
import type { Dispatcher } from 'undici';
import { jsonLines } from '../common/util/lines.ts';
import type { CallOptions, KubeClient, ListOptions, WatchOptions } from './client.ts';
import { sleep } from './clock.ts';
import type { Clock } from './clock.ts';
import type { ConnectionConfig } from './config.ts';
import { createDeadline } from './deadline.ts';
import { ApiError, TransportError } from './errors.ts';
import { deepFreeze } from './freeze.ts';
import { apiVersionOf, targetKey } from './key.ts';
import { queryString, resourcePath } from './paths.ts';
import type { Query, Target } from './paths.ts';
import { errorFromAnswer, errorFromStatus } from './status.ts';
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
    const deadline = createDeadline(clock, timeoutMs, outer);
    try {
      return deepFreeze((await persist(call, deadline.signal, clock.now() + timeoutMs)) as T);
    } catch (error) {
      outer?.throwIfAborted();
      throw asFailure(error, `${call.method} ${call.path}`, deadline.passed());
    } finally {
      deadline.release();
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
    const { namespace, labelSelector, fieldSelector, limit, continue: token, resourceVersion } = given;
    const query = {
      labelSelector,
      fieldSelector,
      limit: limit === 0 ? undefined : limit,
      continue: token,
      resourceVersion,
    };
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
    const call: Call = { method: 'GET', path, query: { ...selection, watch: true, allowWatchBookmarks: true } };
    const opening = createDeadline(clock, defaultTimeoutMs, outer);
    try {
      const answer = await send(watches, call, opening.signal);
      opening.opened();
      if (answer.statusCode >= 300) {
        throw errorFromAnswer(answer.statusCode, await answer.body.text(), headerOf(answer, 'retry-after'));
      }
      for await (const line of jsonLines(answer.body, { maxBytes: MAX_WATCH_LINE_BYTES })) yield watchEvent<T>(line);
    } catch (error) {
      outer.throwIfAborted();
      throw asFailure(error, `watch ${path}`, opening.passed());
    } finally {
      opening.release();
    }
  }

  const write = async <T>(call: Call, given?: CallOptions): Promise<T> => await request<T>(call, given);
  const pathOf = (type: ResourceType, metadata: ObjectMeta, subresource?: string): string =>
    resourcePath(type, { ...targetKey(type, metadata), subresource });

  return {
    list,
    watch,
    get: async (type, key, given) => await request({ method: 'GET', path: resourcePath(type, target(key)) }, given),
    create: async (type, object, given) => {
      const { namespace } = targetKey(type, object.metadata);
      return await write({ method: 'POST', path: resourcePath(type, { namespace }), body: object }, given);
    },
    replace: async (type, object, given) =>
      await write({ method: 'PUT', path: pathOf(type, object.metadata), body: object }, given),
    apply: async (type, object, { fieldManager, force, subresource, dryRun, ...given }) => {
      const query = { fieldManager, force, dryRun: dryRun === true ? 'All' : undefined };
      const path = pathOf(type, object.metadata as ObjectMeta, subresource);
      return await write({ method: 'PATCH', path, query, body: object, contentType: APPLY_PATCH }, given);
    },
    patch: async (type, key, patch, { subresource, fieldManager, ...given } = {}) => {
      const path = resourcePath(type, { ...target(key), subresource });
      return await write(
        { method: 'PATCH', path, query: { fieldManager }, body: patch, contentType: MERGE_PATCH },
        given,
      );
    },
    delete: async (type, key, { propagation, uid, ...given } = {}) => {
      const body = {
        ...(propagation ? { propagationPolicy: propagation } : {}),
        ...(uid === undefined ? {} : { preconditions: { uid } }),
      };
      await write({ method: 'DELETE', path: resourcePath(type, target(key)), body }, given);
    },
    close: async () => {
      await Promise.all([calls.destroy(), watches.destroy()]);
    },
  };
}

const target = ({ namespace, name }: ObjectKey): Target => ({ namespace, name });

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
  return deepFreeze(event);
}
