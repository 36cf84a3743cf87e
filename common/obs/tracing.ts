// Traces as the processes see them: whether and where to they go, spans passed on by hand, the W3C headers that carry them. No SDK in here.
import type { IncomingHttpHeaders } from 'node:http';
import { ConfigError } from '../util/env.ts';
import type { Environment } from '../util/env.ts';

export const TRACEPARENT = 'traceparent';
export const TRACESTATE = 'tracestate';

export type Attributes = Readonly<Record<string, string | number | boolean | string[] | undefined>>;

/** Times are those of `performance.now()`. */
export interface SpanOptions {
  readonly kind?: 'server' | 'client' | 'internal';
  readonly startMs?: number;
  readonly attributes?: Attributes;
}

export interface SpanEnd {
  readonly endMs?: number;
  /** What kind of failure it ended with: one of few words, never a message. */
  readonly error?: string | undefined;
}

export interface Span {
  readonly traceId: string;
  child(name: string, options?: SpanOptions): Span;
  rename(name: string): void;
  set(attributes: Attributes): void;
  /** Something that happened while it lasted. */
  event(name: string, atMs: number): void;
  end(how?: SpanEnd): void;
  /** For a request that is made under this span. */
  headers(): Readonly<Record<string, string>>;
}

export interface TracedProcess {
  /** `kubembed-router`, unless OTEL_SERVICE_NAME says otherwise. */
  readonly service: string;
  readonly version: string;
}

export interface Tracer {
  /** Continues the trace that the headers name, or begins one. */
  begin(name: string, headers: IncomingHttpHeaders, options: SpanOptions): Span;
  /** Sends what is left, for a few seconds at most. */
  close(): Promise<void>;
}

export interface TraceParent {
  readonly traceId: string;
  readonly spanId: string;
  readonly flags: number;
}

const VERSIONED = /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})(-|$)/;
/** What every participant must be able to carry. */
const MAX_STATE = 512;

/** Nothing for a header that W3C Trace Context calls invalid: the trace starts anew. */
export function parseTraceparent(header: string | readonly string[] | undefined): TraceParent | undefined {
  const [, traceId, spanId, flags] = VERSIONED.exec(typeof header === 'string' ? header : '') ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  return { traceId, spanId, flags: Number.parseInt(flags, 16) & 1 };
}

export function formatTraceparent({ traceId, spanId, flags }: TraceParent): string {
  return `00-${traceId}-${spanId}-0${flags & 1}`;
}

export function tracestateOf(headers: IncomingHttpHeaders): string | undefined {
  const state = headers[TRACESTATE];
  return typeof state === 'string' && state !== '' && state.length <= MAX_STATE ? state : undefined;
}

/** For a process that makes no spans of its own: the caller's context as it came. */
export function passedOnTrace(headers: IncomingHttpHeaders): Readonly<Record<string, string>> {
  const parent = headers[TRACEPARENT];
  if (typeof parent !== 'string' || parseTraceparent(parent) === undefined) return {};
  const state = tracestateOf(headers);
  return { [TRACEPARENT]: parent, ...(state !== undefined && { [TRACESTATE]: state }) };
}

// Whether and where to: the variables that every OpenTelemetry SDK knows.

export interface TracingConfig {
  /** Where OTLP over HTTP is taken, path included. */
  readonly url: string;
  /** Share of the traces begun here; a caller's decision is kept. */
  readonly sampleRatio: number;
  /** Spans are sent together this often. */
  readonly delayMs: number;
}

/** For processes that hand them on to others. */
export const isTracingVariable = (name: string): boolean => name.startsWith('OTEL_');

function endpointOf(env: Environment): string | undefined {
  const own = env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];
  if (own) return own;
  const shared = env['OTEL_EXPORTER_OTLP_ENDPOINT'];
  return shared ? `${shared.replace(/\/$/, '')}/v1/traces` : undefined;
}

/** Undefined: no traces, and none of their cost; else `tracer.ts` is imported, which nobody does before. Throws `ConfigError`. */
export function readTracing(env: Environment): TracingConfig | undefined {
  const url = endpointOf(env);
  if (url === undefined || env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return undefined;
  if (!URL.canParse(url) || !/^https?:/.test(url)) {
    throw new ConfigError(`OTEL_EXPORTER_OTLP_ENDPOINT: expected an http(s) URL, got "${url}"`);
  }
  return {
    url,
    sampleRatio: numberOf(env, 'OTEL_TRACES_SAMPLER_ARG', { fallback: 1, min: 0, max: 1 }),
    delayMs: numberOf(env, 'OTEL_BSP_SCHEDULE_DELAY', { fallback: 5000, min: 1, max: 2 ** 31 - 1 }),
  };
}

interface Range {
  readonly fallback: number;
  readonly min: number;
  readonly max: number;
}

function numberOf(env: Environment, name: string, { fallback, min, max }: Range): number {
  const given = env[name] ?? '';
  const value = given === '' ? fallback : Number(given);
  if (!(value >= min && value <= max)) throw new ConfigError(`${name}: expected a number from ${min} to ${max}`);
  return value;
}
