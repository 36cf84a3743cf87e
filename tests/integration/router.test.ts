// The router over real sockets: names, pass-through, errors, retries, ejection, disconnects, drain.
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { KubeClient } from '../../kube/client.ts';
import { startStubCluster, embed, eventually, readDemand } from '../helpers/stub-runtime-cluster.ts';
import type { StubCluster } from '../helpers/stub-runtime-cluster.ts';
import { startStubRuntime, stubVector } from '../helpers/stub-runtime.ts';
import type { StubOptions, StubRuntime } from '../helpers/stub-runtime.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

const cluster = async (env: Record<string, string> = {}): Promise<StubCluster> => {
  const started = await startStubCluster(env);
  closing.push(() => started.close());
  return started;
};

const stubs = async (count: number, options: StubOptions = {}): Promise<StubRuntime[]> => {
  const started = await Promise.all(Array.from({ length: count }, () => startStubRuntime(options)));
  for (const stub of started) closing.push(() => stub.kill());
  return started;
};

/** A cluster that serves `model` from this many stubs, ready to be asked. */
const serving = async (count: number, options: StubOptions = {}, env: Record<string, string> = {}) => {
  const running = await stubs(count, options);
  const started = await cluster(env);
  await started.model('model', { spec: { servedNames: ['org/model', 'text-embedding-3-small'] } });
  await started.endpoints(
    'model',
    running.map(({ port }) => port),
  );
  await started.router.synced;
  const { url } = started.router;
  await eventually(async () => {
    const models = (await (await fetch(`${url}/v1/models`)).json()) as { data: { ready_endpoints: number }[] };
    return models.data[0]?.ready_endpoints === count;
  });
  return { cluster: started, url, stubs: running };
};

const ask = { model: 'org/model', input: 'hello' };

describe('names', () => {
  it('answers by id, alias and other case, and passes the bytes through', async () => {
    const { url, stubs: running } = await serving(1);
    for (const model of ['org/model', 'text-embedding-3-small', 'ORG/Model']) {
      const reply = await embed(url, { model, input: ['a', 'b'] }, { headers: { 'x-request-id': 'mine-1' } });
      expect(reply.status).toBe(200);
      expect(reply.body.data[1].embedding).toEqual(stubVector('b', 8));
      expect(reply.headers.get('x-kubembed-revision')).toBe('rev-1');
      expect(reply.headers.get('x-request-id')).toBe('mine-1');
    }
    const { headers } = running[0]!.seen[0]!;
    expect(headers['x-kubembed-model']).toBe('org/model');
    expect(headers['x-request-id']).toBe('mine-1');
    expect(Number(headers['x-kubembed-deadline-ms'])).toBeGreaterThan(100_000);
  });

  it('lists every served name and shows one, with a raw or an escaped slash', async () => {
    const { url } = await serving(1);
    const list = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string; object: string }[] };
    expect(list.data.map(({ id }) => id)).toEqual(['org/model', 'text-embedding-3-small']);
    for (const path of ['org/model', 'org%2Fmodel', 'text-embedding-3-small']) {
      const response = await fetch(`${url}/v1/models/${path}`);
      expect(response.status).toBe(200);
      expect(await response.json()).toMatchObject({ id: decodeURIComponent(path), object: 'model', owned_by: 'org' });
    }
    expect((await fetch(`${url}/v1/models/nope`)).status).toBe(404);
  });
});

describe('errors', () => {
  it('are the OpenAI object, whatever their source', async () => {
    const { url, stubs: running } = await serving(1);
    const stub = running[0]!;
    const bad: [unknown, number][] = [
      [{ ...ask, model: 'nobody/nothing' }, 404],
      [{ ...ask, input: [] }, 400],
      [{ input: 'x' }, 400],
      ['{', 400],
      [{ ...ask, input: Array.from({ length: 2049 }, () => 'x') }, 400],
    ];
    for (const [body, status] of bad) {
      const reply = await embed(url, body);
      expect([reply.status, Object.keys(reply.body.error as object)]).toEqual([
        status,
        ['message', 'type', 'param', 'code'],
      ]);
    }
    expect(stub.seen).toHaveLength(0);
    for (const [misbehave, status] of [
      ['refuse', 400],
      ['full', 429],
      ['error', 500],
      ['garbage', 502],
    ] as const) {
      stub.misbehave = misbehave;
      const reply = await embed(url, ask);
      expect(reply.status).toBe(status);
      expect(typeof reply.body.error.message).toBe('string');
    }
    expect(stub.seen).toHaveLength(4);
    expect((await fetch(`${url}/v1/embeddings`)).status).toBe(405);
    expect((await fetch(`${url}/nope`)).status).toBe(404);
  });

  it('refuses bodies over the limit without reading them all', async () => {
    const { url } = await serving(1, {}, { KUBEMBED_MAX_BODY_BYTES: '1000' });
    const reply = await embed(url, { ...ask, input: 'x'.repeat(5000) });
    expect(reply.status).toBe(413);
  });
});

describe('retries', () => {
  it.each(['reset', 'cut', 'draining'] as const)('hides an endpoint that answers with: %s', async (misbehave) => {
    const { url, stubs: running } = await serving(3);
    running[0]!.misbehave = misbehave;
    const replies = await Promise.all(Array.from({ length: 60 }, () => embed(url, ask)));
    expect(replies.map(({ status }) => status)).toEqual(Array(60).fill(200));
    expect(running[0]!.seen.length).toBeGreaterThan(0);
  });

  it('hides endpoints that are gone, and stops asking them', async () => {
    const { url, stubs: running } = await serving(3);
    await running[0]!.kill();
    await running[1]!.kill();
    const replies = await Promise.all(Array.from({ length: 60 }, () => embed(url, ask)));
    expect(replies.map(({ status }) => status)).toEqual(Array(60).fill(200));
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toContain('kubembed_router_ejections_total{model="ns/model"} 2');
    expect(metrics).toContain('kubembed_router_endpoints{model="ns/model",state="ejected"} 2');
  });

  it('hides a runtime killed with work on it', async () => {
    const { url, stubs: running } = await serving(2, { latencyMs: 300 });
    const replies = Promise.all(Array.from({ length: 20 }, () => embed(url, ask)));
    await eventually(() => running[0]!.inFlight() > 0);
    await running[0]!.kill();
    expect((await replies).map(({ status }) => status)).toEqual(Array(20).fill(200));
  });

  it('finds an endpoint that has gone silent by probing it, and moves its work', async () => {
    const { url, stubs: running } = await serving(2);
    running[0]!.misbehave = 'silent';
    const replies = await Promise.all(Array.from({ length: 10 }, () => embed(url, ask)));
    expect(replies.map(({ status }) => status)).toEqual(Array(10).fill(200));
    expect(running[0]!.seen.length).toBeGreaterThan(0);
    await eventually(() => running[0]!.inFlight() === 0);
  });

  it('moves on from a pod that serves another model', async () => {
    const [other] = await stubs(1, { model: 'org/other' });
    const { cluster: started, url, stubs: running } = await serving(1);
    await started.endpoints('model', [running[0]!.port, other!.port]);
    await eventually(async () => {
      const replies = await Promise.all(Array.from({ length: 5 }, () => embed(url, ask)));
      expect(replies.map(({ status }) => status)).toEqual(Array(5).fill(200));
      return other!.seen.length > 0;
    });
  });

  it('does not repeat what would fail again', async () => {
    const { url, stubs: running } = await serving(3);
    for (const stub of running) stub.misbehave = 'error';
    const reply = await embed(url, ask);
    expect(reply.status).toBe(500);
    expect(running.reduce((sum, { seen }) => sum + seen.length, 0)).toBe(1);
  });

  it('waits out the restart of an only replica', async () => {
    const { cluster: started, url, stubs: running } = await serving(1);
    await running[0]!.kill();
    const reply = embed(url, ask);
    const again = await startStubRuntime({ port: running[0]!.port });
    closing.push(() => again.kill());
    expect((await reply).status).toBe(200);
    expect(started.router.ready()).toBe(true);
  });
});

describe('balance', () => {
  it('keeps most requests off an endpoint that is ten times slower than its peers, even without load', async () => {
    const { url, stubs: running } = await serving(4, { latencyMs: 5 });
    running[0]!.latencyMs = 100;
    for (let step = 0; step < 40; step += 1) await embed(url, ask);
    const before = running[0]!.seen.length;
    for (let step = 0; step < 100; step += 1) await embed(url, ask);
    expect(running[0]!.seen.length - before).toBeLessThan(5);
  });
});

describe('one of four endpoints', () => {
  it('that fails every request, and passes every probe, costs few of them', async () => {
    const { url, stubs: running } = await serving(4);
    running[0]!.misbehave = 'error';
    const statuses: number[] = [];
    for (let step = 0; step < 200; step += 1) statuses.push((await embed(url, ask)).status);
    expect(statuses.filter((status) => status !== 200).length).toBeLessThan(10);
    expect(running[0]!.seen.length).toBeGreaterThan(0);
  });
});

describe('an API server that is away', () => {
  it('changes nothing for clients, and what was missed is caught up on', async () => {
    const running = await stubs(2);
    let api = new AbortController();
    const wrap = (client: KubeClient): KubeClient => ({
      ...client,
      list: async (type, options) => {
        api.signal.throwIfAborted();
        return await client.list(type, options);
      },
      watch: (type, options) => {
        api.signal.throwIfAborted();
        return client.watch(type, { ...options, signal: AbortSignal.any([options.signal, api.signal]) });
      },
    });
    const started = await startStubCluster({}, { wrap });
    closing.push(() => started.close());
    const { url } = started.router;
    await started.model('model');
    await started.endpoints(
      'model',
      running.map(({ port }) => port),
    );
    const usable = async (): Promise<string> =>
      /endpoints{model="ns\/model",state="usable"} (\d)/.exec(await (await fetch(`${url}/metrics`)).text())?.[1] ?? '';
    await eventually(async () => (await usable()) === '2');

    api.abort(new Error('away'));
    await running[0]!.kill();
    await started.endpoints('model', [running[1]!.port]);
    for (let step = 0; step < 50; step += 1) expect((await embed(url, ask)).status).toBe(200);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('state="ejected"} 1');

    api = new AbortController();
    const page = async (): Promise<string> => await (await fetch(`${url}/metrics`)).text();
    await eventually(async () => (await page()).includes('endpoints{model="ns/model",state="ejected"} 0'), 30_000);
    expect(await usable()).toBe('1');
  });
});

describe('priorities', () => {
  it('let interactive requests through while bulk waits for a backlogged endpoint', async () => {
    const { cluster: started, url, stubs: running } = await serving(1, { capacity: 1000 });
    const stub = running[0]!;
    stub.backlog = 1_000_000;
    const bulk = { ...ask, input: 'x'.repeat(2000) };
    // Every answer tells of the backlog: bulk work narrows to a few at a time.
    for (let step = 0; step < 10; step += 1) await Promise.all(Array.from({ length: 6 }, () => embed(url, bulk)));
    stub.latencyMs = 60_000;
    const leaving = new AbortController();
    const waiting = Array.from({ length: 20 }, () => embed(url, bulk, { signal: leaving.signal }));
    await eventually(async () => ((await readDemand(started.router)).models['ns/model']?.queuedRequests ?? 0) >= 10);
    stub.latencyMs = 0;
    expect((await embed(url, ask)).status).toBe(200);
    expect((await readDemand(started.router)).models['ns/model']?.queuedRequests).toBeGreaterThanOrEqual(10);
    leaving.abort();
    await Promise.allSettled(waiting);
  });
});

describe('clients that leave', () => {
  it('take their work with them', async () => {
    const { url, stubs: running } = await serving(1, { latencyMs: 60_000 });
    const leaving = new AbortController();
    const reply = embed(url, ask, { signal: leaving.signal });
    await eventually(() => running[0]!.inFlight() === 1);
    leaving.abort();
    await expect(reply).rejects.toThrow();
    await eventually(() => running[0]!.aborted() === 1);
    await eventually(async () =>
      (await (await fetch(`${url}/metrics`)).text()).includes('requests_total{model="ns/model",code="499"} 1'),
    );
  });

  it('give their deadline on: 504 when it passes', async () => {
    const { url, stubs: running } = await serving(1, { latencyMs: 60_000 });
    const reply = await embed(url, ask, { headers: { 'x-kubembed-deadline-ms': '150' } });
    expect([reply.status, reply.body.error.code]).toEqual([504, 'deadline_exceeded']);
    expect(Number(running[0]!.seen[0]!.headers['x-kubembed-deadline-ms'])).toBeLessThanOrEqual(150);
    await eventually(() => running[0]!.aborted() === 1);
  });
});

describe('metrics', () => {
  it('fold unknown models into one series and lose those of removed models', async () => {
    const { cluster: started, url } = await serving(1);
    await embed(url, ask);
    for (let step = 0; step < 20; step += 1) await embed(url, { ...ask, model: `nobody/${step}` });
    const page = async (): Promise<string> => await (await fetch(`${url}/metrics`)).text();
    const before = await page();
    expect(before).toContain('requests_total{model="unknown",code="404"} 20');
    expect(before).not.toContain('nobody/');
    expect(before).toContain('requests_total{model="ns/model",code="200"} 1');
    await started.removeModel('model');
    await eventually(async () => !(await page()).includes('ns/model'));
  });
});

describe('the time of an endpoint', () => {
  /** Of the histogram's samples. */
  const sumOf = (page: string, name: string): number =>
    Number(new RegExp(`^kubembed_router_${name}_sum\\{model="ns/model"\\} (.+)$`, 'm').exec(page)?.[1]);

  it('is that to the first byte of its answer', async () => {
    const { url, stubs } = await serving(1);
    stubs[0]!.misbehave = 'dawdle';
    expect((await embed(url, ask)).status).toBe(200);
    const page = await (await fetch(`${url}/metrics`)).text();
    expect(sumOf(page, 'request_duration_seconds')).toBeGreaterThan(1);
    // Half of it is for a machine that is busy with something else.
    expect(sumOf(page, 'upstream_seconds')).toBeLessThan(sumOf(page, 'request_duration_seconds') / 2);
  });
});

describe('life cycle', () => {
  it('is ready once its table is read, and says no more while it finishes what runs', async () => {
    const { cluster: started, url, stubs: running } = await serving(1, { latencyMs: 500 });
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    const reply = embed(url, ask);
    await eventually(() => running[0]!.inFlight() === 1);
    const closed = started.router.close();
    expect(started.router.ready()).toBe(false);
    const probe = await fetch(`${started.router.internalUrl}/readyz`);
    expect(probe.status).toBe(503);
    expect((await reply).status).toBe(200);
    await closed;
  });

  it('leaves nothing behind when one of its two listeners cannot bind', async () => {
    const listen = async (): Promise<Server> => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    };
    const [taken, freed] = [await listen(), await listen()];
    const [port, free] = [taken, freed].map((server) => (server.address() as AddressInfo).port);
    closing.push(() => once(taken.close(), 'close'));
    await once(freed.close(), 'close');
    const env = { KUBEMBED_PORT: String(free), KUBEMBED_INTERNAL_PORT: String(port) };
    await expect(startStubCluster(env)).rejects.toThrow('EADDRINUSE');
    await expect(fetch(`http://127.0.0.1:${free}/healthz`)).rejects.toThrow();
  });
});
