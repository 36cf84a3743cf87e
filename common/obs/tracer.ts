// The tracer over the OpenTelemetry SDK. Loaded only by processes that are told to trace: it costs start-up time and memory.
import { hostname } from 'node:os';
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api';
import type { Context, HrTime, Span as SdkSpan, Tracer as SdkTracer, TraceState } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import {
  detectResources,
  resourceAttributesEnvDetector,
  resourceFromAttributes,
  serviceNameEnvDetector,
} from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { formatTraceparent, parseTraceparent, TRACEPARENT, TRACESTATE, tracestateOf } from './tracing.ts';
import type { Span, SpanOptions, TracedProcess, Tracer, TracingConfig } from './tracing.ts';

const KINDS = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL } as const;
/** A collector that does not answer must not hold back a process that was told to stop. */
const LAST_EXPORT_MS = 3000;

export function createTracer(
  { url, sampleRatio, delayMs }: TracingConfig,
  { service, version }: TracedProcess,
): Tracer {
  const own = { 'service.name': service, 'service.version': version, 'service.instance.id': hostname() };
  const provider = new TracerProvider({
    resource: resourceFromAttributes(own).merge(
      detectResources({ detectors: [resourceAttributesEnvDetector, serviceNameEnvDetector] }),
    ),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(sampleRatio) }),
    spanProcessors: [
      new BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url }), scheduledDelayMillis: delayMs }),
    ],
  });
  const tracer = provider.getTracer('kubembed', version);
  return {
    begin: (name, headers, options) =>
      startSpan({ tracer, context: contextOf(headers), clock: createWallClock() }, name, options),
    close: async () => {
      const late = new Promise<void>((resolve) => setTimeout(resolve, LAST_EXPORT_MS).unref());
      await Promise.race([provider.shutdown().catch(() => undefined), late]);
    },
  };
}

type Headers = Parameters<Tracer['begin']>[1];

function contextOf(headers: Headers): Context {
  const parent = parseTraceparent(headers[TRACEPARENT]);
  if (parent === undefined) return ROOT_CONTEXT;
  const { traceId, spanId, flags } = parent;
  const state = tracestateOf(headers);
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: flags === 1 ? TraceFlags.SAMPLED : TraceFlags.NONE,
    isRemote: true,
    ...(state !== undefined && { traceState: opaque(state) }),
  });
}

/** Other vendors' words, handed on untouched. */
const opaque = (state: string): TraceState => ({
  get: () => undefined,
  set: () => opaque(state),
  unset: () => opaque(state),
  serialize: () => state,
});

/** Beyond this the machine's clock was set, or the process slept, since it started. */
const CLOCK_SET_MS = 50;

/**
 * Monotonic milliseconds as time of day. One for a whole request: the SDK corrects each span by itself, which lets a child
 * begin before its parent.
 */
function createWallClock(): (ms: number) => HrTime {
  const { timeOrigin } = performance;
  const offMs = Date.now() - (timeOrigin + performance.now());
  const originMs = Math.abs(offMs) > CLOCK_SET_MS ? timeOrigin + offMs : timeOrigin;
  const [seconds, restMs] = [Math.trunc(originMs / 1000), originMs % 1000];
  return (ms) => {
    const sumMs = restMs + ms;
    return [seconds + Math.trunc(sumMs / 1000), Math.trunc((sumMs % 1000) * 1e6)];
  };
}

interface Origin {
  readonly tracer: SdkTracer;
  readonly context: Context;
  readonly clock: (ms: number) => HrTime;
}

function startSpan({ tracer, context, clock }: Origin, name: string, options: SpanOptions = {}): Span {
  const { kind = 'internal', startMs = performance.now(), attributes = {} } = options;
  const span = tracer.startSpan(name, { kind: KINDS[kind], startTime: clock(startMs), attributes }, context);
  const { traceId, spanId, traceFlags, traceState } = span.spanContext();
  const own = { tracer, clock, context: trace.setSpan(ROOT_CONTEXT, span) };
  return {
    traceId,
    child: (childName, childOptions) => startSpan(own, childName, childOptions),
    rename: (to) => void span.updateName(to),
    set: (more) => void span.setAttributes(more),
    event: (what, atMs) => void span.addEvent(what, clock(atMs)),
    end: ({ endMs = performance.now(), error } = {}) => {
      if (error !== undefined) fail(span, error);
      span.end(clock(endMs));
    },
    headers: () => {
      const state = traceState?.serialize() ?? '';
      const headers = { [TRACEPARENT]: formatTraceparent({ traceId, spanId, flags: traceFlags }) };
      return state === '' ? headers : { ...headers, [TRACESTATE]: state };
    },
  };
}

/** Without a message: messages can quote what a client sent. */
function fail(span: SdkSpan, error: string): void {
  span.setAttribute('error.type', error);
  span.setStatus({ code: SpanStatusCode.ERROR });
}
