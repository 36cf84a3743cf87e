// Traces as the processes see them: spans passed on by hand, and the W3C headers that carry them. No SDK in here.
import type { IncomingHttpHeaders } from 'node:http';

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
  end(how?: SpanEnd): void;
  /** For a request that is made under this span. */
  headers(): Readonly<Record<string, string>>;
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
