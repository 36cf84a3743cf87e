// A collector of traces in the test's own process: takes OTLP over HTTP in protobuf, decodes it by the published schema.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import protobuf from 'protobufjs';
import { eventually } from './stub-runtime-cluster.ts';

/** The part of opentelemetry/proto that is read here; field numbers are the protocol's. */
const SCHEMA = `
syntax = "proto3";
message ExportTraceServiceRequest { repeated ResourceSpans resource_spans = 1; }
message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
message Resource { repeated KeyValue attributes = 1; }
message ScopeSpans { repeated Span spans = 2; }
message Span {
  bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4;
  string name = 5; int32 kind = 6; fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8;
  repeated KeyValue attributes = 9; repeated Event events = 11; Status status = 15;
}
message Event { fixed64 time_unix_nano = 1; string name = 2; }
message Status { string message = 2; int32 code = 3; }
message KeyValue { string key = 1; AnyValue value = 2; }
message ArrayValue { repeated AnyValue values = 1; }
message AnyValue {
  oneof value {
    string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; ArrayValue array_value = 5;
  }
}`;

export const KINDS = ['unspecified', 'internal', 'server', 'client'] as const;

export interface CollectedSpan {
  readonly service: string;
  readonly name: string;
  readonly kind: (typeof KINDS)[number];
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the first of a trace. */
  readonly parentId: string;
  readonly traceState: string;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly events: readonly { readonly name: string; readonly atNs: bigint }[];
  readonly failed: boolean;
}

export interface Collector extends AsyncDisposable {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string;
  readonly spans: readonly CollectedSpan[];
  /** Every byte that came, as text: for what must not be in it. */
  readonly text: () => string;
  /** The spans of a trace, once there are so many. */
  readonly trace: (traceId: string, count: number) => Promise<readonly CollectedSpan[]>;
}

interface AnyValue {
  readonly arrayValue?: { readonly values?: readonly AnyValue[] };
  readonly [kind: string]: unknown;
}
interface KeyValue {
  readonly key: string;
  readonly value: AnyValue;
}
interface WireSpan {
  readonly traceId: Uint8Array;
  readonly spanId: Uint8Array;
  readonly parentSpanId?: Uint8Array;
  readonly traceState?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes?: readonly KeyValue[];
  readonly events?: readonly { readonly name: string; readonly timeUnixNano: string }[];
  readonly status?: { readonly code?: number };
}
interface WireRequest {
  readonly resourceSpans?: readonly {
    readonly resource?: { readonly attributes?: readonly KeyValue[] };
    readonly scopeSpans?: readonly { readonly spans?: readonly WireSpan[] }[];
  }[];
}

const message = protobuf.parse(SCHEMA).root.lookupType('ExportTraceServiceRequest');

const valueOf = ({ arrayValue, ...plain }: AnyValue): unknown =>
  arrayValue ? (arrayValue.values ?? []).map(valueOf) : Object.values(plain)[0];
const attributesOf = (pairs: readonly KeyValue[] = []): Record<string, unknown> =>
  Object.fromEntries(pairs.map(({ key, value }) => [key, valueOf(value)]));
const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex');

const toSpan = (service: string, wire: WireSpan): CollectedSpan => ({
  service,
  name: wire.name,
  kind: KINDS[wire.kind] ?? 'unspecified',
  traceId: hex(wire.traceId),
  spanId: hex(wire.spanId),
  parentId: hex(wire.parentSpanId),
  traceState: wire.traceState ?? '',
  startNs: BigInt(wire.startTimeUnixNano),
  endNs: BigInt(wire.endTimeUnixNano),
  attributes: attributesOf(wire.attributes),
  events: (wire.events ?? []).map(({ name, timeUnixNano }) => ({ name, atNs: BigInt(timeUnixNano) })),
  failed: wire.status?.code === 2,
});

function decode(body: Buffer): CollectedSpan[] {
  const request = message.toObject(message.decode(body), { longs: String }) as WireRequest;
  return (request.resourceSpans ?? []).flatMap(({ resource, scopeSpans = [] }) => {
    const service = String(attributesOf(resource?.attributes)['service.name']);
    return scopeSpans.flatMap(({ spans = [] }) => spans.map((span) => toSpan(service, span)));
  });
}

export async function startCollector(): Promise<Collector> {
  const spans: CollectedSpan[] = [];
  const bodies: Buffer[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const isTraces = request.url === '/v1/traces' && request.headers['content-type'] === 'application/x-protobuf';
      const body = Buffer.concat(chunks);
      if (isTraces) {
        bodies.push(body);
        spans.push(...decode(body));
      }
      response.writeHead(isTraces ? 200 : 404).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const of = (traceId: string): CollectedSpan[] => spans.filter((span) => span.traceId === traceId);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    text: () => Buffer.concat(bodies).toString('latin1'),
    trace: async (traceId, count) => {
      await eventually(() => of(traceId).length >= count);
      return of(traceId);
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
