// Traces over real sockets: what the runtime and the router tell a collector, and what they hand on.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startCollector } from '../helpers/otlp-collector.ts';
import type { CollectedSpan, Collector } from '../helpers/otlp-collector.ts';
import { createTinyStore, startRuntime, TINY_DIMENSIONS, TINY_MODEL } from '../helpers/runtime-process.ts';
import type { RuntimeProcess, TinyStore } from '../helpers/runtime-process.ts';
import { embed } from '../helpers/stub-runtime-cluster.ts';

const STAGES = ['infer', 'queue', 'serialize', 'tokenize'];
const SECRET = 'abacabadabacaba';

let traces = 0;
/** A caller's context, of its own each time. */
const caller = (flags = '01') => {
  const traceId = (++traces).toString(16).padStart(32, '0');
  return { traceId, spanId: 'c'.repeat(16), headers: { traceparent: `00-${traceId}-${'c'.repeat(16)}-${flags}` } };
};

const only = (spans: readonly CollectedSpan[], name: string): CollectedSpan => {
  const found = spans.filter((span) => span.name === name);
  expect(found, name).toHaveLength(1);
  return found[0]!;
};
const nests = (child: CollectedSpan, parent: CollectedSpan): void => {
  expect(child.parentId).toBe(parent.spanId);
  expect(child.startNs).toBeGreaterThanOrEqual(parent.startNs);
  expect(child.endNs).toBeGreaterThanOrEqual(child.startNs);
  expect(child.endNs).toBeLessThanOrEqual(parent.endNs);
};

let collector: Collector;
let store: TinyStore;
let runtime: RuntimeProcess;
let runtimeUrl: string;
const tracing = (delayMs = 50) => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  OTEL_BSP_SCHEDULE_DELAY: String(delayMs),
});
beforeAll(async () => {
  collector = await startCollector();
  store = await createTinyStore();
  runtime = startRuntime(store.store, { env: tracing() });
  runtimeUrl = await runtime.ready();
});
afterAll(async () => {
  await runtime[Symbol.asyncDispose]();
  await store[Symbol.asyncDispose]();
  await collector[Symbol.asyncDispose]();
});

describe('the runtime', () => {
  it('continues the caller’s trace with a span per stage, which nest in the request', async () => {
    const { traceId, spanId, headers } = caller();
    const input = Array.from({ length: 40 }, (_, at) => 'abc '.repeat(at + 1));
    const reply = await embed(
      runtimeUrl,
      { model: TINY_MODEL, input },
      { headers: { ...headers, tracestate: 'vendor=7' } },
    );
    expect(reply.status).toBe(200);
    const spans = await collector.trace(traceId, 5);
    const request = only(spans, 'POST /v1/embeddings');
    expect(request).toMatchObject({
      service: 'kubembed-runtime',
      kind: 'server',
      parentId: spanId,
      traceState: 'vendor=7',
      failed: false,
      attributes: {
        'http.route': '/v1/embeddings',
        'http.response.status_code': '200',
        'gen_ai.operation.name': 'embeddings',
        'gen_ai.request.model': TINY_MODEL,
        'gen_ai.request.encoding_formats': ['float'],
        'gen_ai.usage.input_tokens': String(reply.body.usage.prompt_tokens),
        'gen_ai.embeddings.dimension.count': String(TINY_DIMENSIONS),
        'kubembed.inputs': '40',
        'kubembed.request_id': reply.headers.get('x-request-id'),
      },
    });
    const stages = spans.filter((span) => span !== request);
    expect(stages.map(({ name }) => name).sort()).toEqual(STAGES);
    for (const stage of stages) nests(stage, request);
    expect(only(spans, 'tokenize').startNs).toBeLessThanOrEqual(only(spans, 'infer').startNs);
    expect(only(spans, 'infer').startNs).toBeLessThanOrEqual(only(spans, 'serialize').startNs);
  });

  it('begins a trace where the caller has none, and names it in the log', async () => {
    const reply = await embed(
      runtimeUrl,
      { model: TINY_MODEL, input: 'abc' },
      { headers: { traceparent: 'not-a-trace', 'x-request-id': 'own-trace' } },
    );
    expect(reply.status).toBe(200);
    const line = await runtime.line('"requestId":"own-trace"');
    const spans = await collector.trace(String(line['traceId']), 5);
    expect(only(spans, 'POST /v1/embeddings').parentId).toBe('');
  });

  it('tells a refusal as such, and of a failure its kind alone', async () => {
    const { traceId, headers } = caller();
    await embed(runtimeUrl, { model: TINY_MODEL, input: [SECRET], dimensions: 4096 }, { headers });
    const [request] = await collector.trace(traceId, 1);
    expect(request).toMatchObject({ failed: false, attributes: { 'http.response.status_code': '400' } });
    expect(request!.attributes).not.toHaveProperty('error.type');
  });

  it('sends nothing where the caller does not sample, of probes, and of what was to be embedded', async () => {
    const quiet = caller('00');
    await embed(runtimeUrl, { model: TINY_MODEL, input: SECRET }, { headers: quiet.headers });
    const probe = caller();
    await fetch(`${runtimeUrl}/readyz`, { headers: probe.headers });
    const last = caller();
    await embed(runtimeUrl, { model: TINY_MODEL, input: SECRET }, { headers: last.headers });
    await collector.trace(last.traceId, 5);
    const traced = new Set(collector.spans.map(({ traceId }) => traceId));
    expect(traced.has(quiet.traceId)).toBe(false);
    expect(traced.has(probe.traceId)).toBe(false);
    expect(collector.text()).not.toContain(SECRET);
  });
});

it('a process that is told to stop sends what it still has', async () => {
  await using short = startRuntime(store.store, {
    env: tracing(600_000),
  });
  const { traceId, headers } = caller();
  await embed(await short.ready(), { model: TINY_MODEL, input: 'abc' }, { headers });
  short.child.kill('SIGTERM');
  expect(await short.exited).toBe(0);
  expect(collector.spans.filter((span) => span.traceId === traceId)).toHaveLength(5);
});
