// Traces over real sockets: what the runtime and the router tell a collector, and what they hand on.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseTraceparent } from '../../common/obs/tracing.ts';
import { START_STAGES } from '../../operator/starts.ts';
import { startHubServer } from '../helpers/hub-server.ts';
import { startLocalProcess } from '../helpers/local-process.ts';
import { tinyModel } from '../helpers/tiny-model.ts';
import { startCollector } from '../helpers/otlp-collector.ts';
import type { CollectedSpan, Collector } from '../helpers/otlp-collector.ts';
import { createTinyStore, startRuntime, TINY_DIMENSIONS, TINY_MODEL } from '../helpers/runtime-process.ts';
import type { RuntimeProcess, TinyStore } from '../helpers/runtime-process.ts';
import { embed, eventually, readDemand, startStubCluster } from '../helpers/stub-runtime-cluster.ts';
import { startStubRuntime } from '../helpers/stub-runtime.ts';
import type { StubOptions, StubRuntime } from '../helpers/stub-runtime.ts';

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

describe('the router', () => {
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).toReversed()) await close();
  });

  /** A traced router that serves `org/model` from stubs, or the tiny model from the runtime. */
  const startRouter = async (env: Readonly<Record<string, string>> = tracing()) => {
    const cluster = await startStubCluster(env);
    closing.push(() => cluster.close());
    return cluster;
  };
  const stub = async (options: StubOptions = {}): Promise<StubRuntime> => {
    const started = await startStubRuntime(options);
    closing.push(() => started.kill());
    return started;
  };
  const parentOf = (traced: StubRuntime, at = 0) => parseTraceparent(traced.seen[at]?.headers['traceparent']);

  it('is one trace with the runtime: client, router, attempt, runtime, stages', async () => {
    const cluster = await startRouter();
    await cluster.model('tiny', { spec: { model: TINY_MODEL, servedNames: [TINY_MODEL, 'alias'] } });
    await cluster.endpoints('tiny', [Number(new URL(runtimeUrl).port)]);
    const { traceId, spanId, headers } = caller();
    const reply = await embed(cluster.router.url, { model: 'alias', input: [SECRET] }, { headers });
    expect(reply.status).toBe(200);

    const spans = await collector.trace(traceId, 7);
    const of = (service: string) => spans.filter((span) => span.service === service);
    const request = only(of('kubembed-router'), 'POST /v1/embeddings');
    const attempt = only(of('kubembed-router'), `embeddings ${TINY_MODEL}`);
    const inner = only(of('kubembed-runtime'), 'POST /v1/embeddings');
    expect(request).toMatchObject({
      kind: 'server',
      parentId: spanId,
      attributes: {
        'http.response.status_code': '200',
        'gen_ai.request.model': 'ns/tiny',
        'gen_ai.usage.input_tokens': String(reply.body.usage.prompt_tokens),
        'kubembed.attempts': '1',
        'kubembed.request_id': reply.headers.get('x-request-id'),
      },
    });
    nests(attempt, request);
    expect(attempt).toMatchObject({
      kind: 'client',
      attributes: {
        'gen_ai.operation.name': 'embeddings',
        'server.address': '127.0.0.1',
        'server.port': new URL(runtimeUrl).port,
        'http.response.status_code': '200',
      },
    });
    expect(inner.parentId).toBe(attempt.spanId);
    expect(inner.attributes['kubembed.request_id']).toBe(reply.headers.get('x-request-id'));
    for (const stage of STAGES) nests(only(spans, stage), inner);
    expect(spans).toHaveLength(7);
    expect(collector.text()).not.toContain(SECRET);
  });

  it('tells a retry as two attempts, the first of them failed, each the parent of its endpoint’s', async () => {
    const [bad, good] = [await stub(), await stub()];
    bad.misbehave = 'reset';
    const cluster = await startRouter();
    await cluster.model('model');
    await cluster.endpoints('model', [bad.port, good.port]);
    let found: readonly CollectedSpan[] = [];
    // Whom a request goes to first is chance.
    for (let tries = 0; tries < 50 && found.length === 0; tries += 1) {
      const { traceId, headers } = caller();
      const reply = await embed(cluster.router.url, { model: 'org/model', input: 'a' }, { headers });
      expect(reply.status).toBe(200);
      if (bad.seen.at(0) !== undefined) found = await collector.trace(traceId, 3);
    }
    const request = only(found, 'POST /v1/embeddings');
    const attempts = found
      .filter(({ name }) => name === 'embeddings org/model')
      .toSorted((a, b) => Number(a.startNs - b.startNs));
    for (const attempt of attempts) nests(attempt, request);
    expect(attempts).toMatchObject([
      { failed: true, attributes: { 'error.type': 'reset', 'server.port': String(bad.port) } },
      { failed: false, attributes: { 'http.request.resend_count': '1', 'server.port': String(good.port) } },
    ]);
    expect(request).toMatchObject({ failed: false, attributes: { 'kubembed.attempts': '2' } });
    expect(parentOf(bad, bad.seen.length - 1)?.spanId).toBe(attempts[0]!.spanId);
    expect(parentOf(good, good.seen.length - 1)?.spanId).toBe(attempts[1]!.spanId);
  });

  it('tells how long a request was queued while nothing served its model', async () => {
    const cluster = await startRouter();
    const late = await stub();
    await cluster.model('model');
    await cluster.router.synced;
    const { traceId, headers } = caller();
    const asking = embed(cluster.router.url, { model: 'org/model', input: 'a' }, { headers });
    await eventually(async () => {
      const page = await (await fetch(`${cluster.router.internalUrl}/metrics`)).text();
      return page.includes('kubembed_router_queued_requests{model="ns/model"} 1');
    });
    const { models } = await readDemand(cluster.router);
    // The model has an address first, and says by itself that it is ready.
    await cluster.endpoints('model', [late.port], { ready: false });
    expect((await asking).status).toBe(200);
    const spans = await collector.trace(traceId, 3);
    const queue = only(spans, 'queue');
    const request = only(spans, 'POST /v1/embeddings');
    nests(queue, request);
    expect(queue.events.map(({ name }) => name)).toEqual(['address', 'endpoint']);
    for (const { atNs } of queue.events) expect(atNs >= queue.startNs && atNs <= queue.endNs).toBe(true);
    expect(only(spans, 'embeddings org/model').startNs).toBeGreaterThanOrEqual(queue.endNs);
    // Whom the model was woken for goes to the operator with the demand, for as long as it starts.
    expect(parseTraceparent(models['ns/model']?.traceparent)).toEqual({ traceId, spanId: request.spanId, flags: 1 });
    expect((await readDemand(cluster.router)).models['ns/model']).not.toHaveProperty('traceparent');
  });

  it('tells the shards of a split request, with an attempt each', async () => {
    const replicas = [await stub({ capacity: 1000 }), await stub({ capacity: 1000 })];
    const cluster = await startRouter();
    await cluster.model('model');
    await cluster.endpoints(
      'model',
      replicas.map(({ port }) => port),
    );
    // Each says what it can do with its first answer.
    await eventually(async () => {
      await embed(cluster.router.url, { model: 'org/model', input: 'a' });
      return replicas.every(({ seen }) => seen.length > 0);
    });
    const { traceId, headers } = caller();
    const input = Array.from({ length: 64 }, (_, at) => `${'word '.repeat(40)}${at}`);
    expect((await embed(cluster.router.url, { model: 'org/model', input }, { headers })).status).toBe(200);
    const spans = await collector.trace(traceId, 5);
    const request = only(spans, 'POST /v1/embeddings');
    const shards = spans.filter(({ name }) => name === 'shard');
    expect(shards.length).toBeGreaterThan(1);
    expect(request.attributes['kubembed.shards']).toBe(String(shards.length));
    for (const shard of shards) {
      nests(shard, request);
      const own = spans.filter(({ parentId }) => parentId === shard.spanId);
      expect(own.map(({ name }) => name)).toEqual(['embeddings org/model']);
      nests(own[0]!, shard);
    }
    expect(shards.reduce((sum, { attributes }) => sum + Number(attributes['kubembed.inputs']), 0)).toBe(64);
  });

  it('passes a caller’s context on as it is when it does not trace itself, and drops what is no context', async () => {
    const endpoint = await stub();
    const cluster = await startRouter({});
    await cluster.model('model');
    await cluster.endpoints('model', [endpoint.port]);
    const { headers } = caller();
    const ask = (given: Record<string, string>) =>
      embed(cluster.router.url, { model: 'org/model', input: 'a' }, { headers: given });
    await eventually(async () => (await ask({})).status === 200);
    const before = endpoint.seen.length;
    await ask({ ...headers, tracestate: 'vendor=7' });
    await ask({ traceparent: 'nonsense', tracestate: 'vendor=7' });
    const seen = endpoint.seen.slice(before).map(({ headers: sent }) => [sent['traceparent'], sent['tracestate']]);
    expect(seen).toEqual([
      [headers.traceparent, 'vendor=7'],
      [undefined, undefined],
    ]);
  });
});

describe('a request that wakes a model', () => {
  it('is one trace of router, operator and runtime, with every stage of the start; the replica’s own start is another', async () => {
    const hub = await startHubServer();
    const cache = await mkdtemp(join(tmpdir(), 'kubembed-store-'));
    hub.commit('tiny/one', await tinyModel());
    const local = await startLocalProcess({
      supportedModels: 'tiny/one\n',
      env: { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: cache, ...tracing() },
    });
    try {
      const { traceId, headers } = caller();
      const reply = await embed(local.url, { model: 'tiny/one', input: 'abc' }, { headers });
      expect(reply.status).toBe(200);
      // Here nobody has to find a node. Router: request, queue, attempt. Operator: the start. Runtime: request and four stages.
      const stages = START_STAGES.filter((stage) => stage !== 'scheduled');
      const spans = await collector.trace(traceId, 3 + 1 + stages.length + 5);
      const request = spans.find(({ service, kind }) => service === 'kubembed-router' && kind === 'server')!;
      const queue = only(
        spans.filter(({ service }) => service === 'kubembed-router'),
        'queue',
      );
      expect(queue.events.map(({ name }) => name)).toEqual(['address', 'endpoint']);
      const ofOperator = spans.filter(({ service }) => service === 'kubembed-operator');
      const start = only(ofOperator, 'start');
      expect(start).toMatchObject({ parentId: request.spanId, failed: false });
      expect(start.attributes['kubembed.model']).toBe('default/tiny--one');
      for (const stage of stages) nests(only(ofOperator, stage), start);
      expect(ofOperator).toHaveLength(1 + stages.length);

      await eventually(() => collector.spans.filter(isOwnStart).length === 4);
      const own = collector.spans.filter(isOwnStart);
      const root = only(own, 'start');
      for (const stage of ['listening', 'loaded', 'ready']) nests(only(own, stage), root);
      expect(root.attributes).toMatchObject({ 'gen_ai.request.model': 'tiny/one' });

      const page = await (await fetch(`${local.url}/metrics`)).text();
      for (const stage of stages) expect(page).toContain(`kubembed_cold_start_stage_seconds_count{stage="${stage}"} 1`);
      expect(page).toMatch(/^kubembed_router_cold_start_seconds_count\{.*\} 1$/m);
      expect(page).toMatch(/^kubembed_router_cold_start_address_seconds_count\{.*\} 1$/m);
    } finally {
      await local.stop();
      await hub.close();
      await rm(cache, { recursive: true, force: true });
    }
  });

  /** A replica of `tiny/one` begins a trace of its own. */
  const isOwnStart = ({ service, traceId }: CollectedSpan): boolean =>
    service === 'kubembed-runtime' &&
    collector.spans.some(
      ({ name, traceId: other, attributes }) =>
        name === 'start' && other === traceId && attributes['gen_ai.request.model'] === 'tiny/one',
    );
});

it('tells how long a replica took to start', async () => {
  const page = await (await fetch(`${runtimeUrl}/metrics`)).text();
  const seconds = ['listening', 'loaded', 'ready'].map((stage) =>
    Number(new RegExp(`^kubembed_runtime_start_seconds\\{stage="${stage}"\\} (\\S+)$`, 'm').exec(page)?.[1]),
  );
  expect(seconds[0]).toBeGreaterThan(0);
  expect(seconds).toEqual(seconds.toSorted((a, b) => a - b));
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
