// Scale from zero over real sockets: queued requests, one wake-up, bounds, reasons, and clients that leave.
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DemandSnapshot } from '../../api/demand.ts';
import { NO_DEMAND } from '../../api/demand.ts';
import { startStubCluster, embed, eventually, readDemand } from '../helpers/stub-runtime-cluster.ts';
import type { StubCluster } from '../helpers/stub-runtime-cluster.ts';
import { startStubRuntime } from '../helpers/stub-runtime.ts';
import type { StubRuntime } from '../helpers/stub-runtime.ts';

const KEY = 'ns/model';
const ask = { model: 'org/model', input: 'hello' };

let stub: StubRuntime;
let cluster: StubCluster;
const boot = async (env: Record<string, string> = {}): Promise<string> => {
  cluster = await startStubCluster(env);
  await cluster.model('model');
  await cluster.router.synced;
  await eventually(async () => (await fetch(`${cluster.router.url}/v1/models/org/model`)).status === 200);
  return cluster.router.url;
};
beforeEach(async () => {
  stub = await startStubRuntime();
});
afterEach(async () => {
  await cluster.close();
  await stub.kill();
});

const demand = async (): Promise<DemandSnapshot['models'][string]> =>
  (await readDemand(cluster.router)).models[KEY] ?? NO_DEMAND;

interface Small {
  readonly status: number;
  readonly ms: number;
  readonly retryAfter: string | undefined;
}

const agent = new Agent({ maxSockets: 2000 });
/** Lighter than fetch, so that the time measured is the router's. */
const post = (url: string, body: string): Promise<Small> =>
  new Promise((resolve, reject) => {
    const startedAt = performance.now();
    const sent = request(`${url}/v1/embeddings`, {
      agent,
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    });
    sent.on('error', reject);
    sent.on('response', (response) => {
      response.resume().on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          ms: performance.now() - startedAt,
          retryAfter: response.headers['retry-after'],
        }),
      );
    });
    sent.end(body);
  });

describe('a cold model', () => {
  it('is woken once by a thousand requests, all of which are answered', async () => {
    const url = await boot();
    const replies = Array.from({ length: 1000 }, () => post(url, JSON.stringify(ask)));
    await eventually(async () => (await demand()).queuedRequests === 1000);
    expect(await demand()).toMatchObject({ activations: 1, offeredRequests: 1000, completedRequests: 0 });
    await cluster.endpoints('model', [stub.port]);
    const statuses = (await Promise.all(replies)).map(({ status }) => status);
    expect(statuses).toEqual(Array(1000).fill(200));
    const after = await demand();
    expect(after).toMatchObject({ activations: 1, queuedRequests: 0, completedRequests: 1000 });
    expect(after.completedTokens).toBe(after.offeredTokens);
  });

  it('with room for a hundred answers a hundred and refuses the rest at once', async () => {
    const url = await boot({ KUBEMBED_QUEUE_MAX_REQUESTS: '100' });
    const all = Array.from({ length: 1000 }, () => post(url, JSON.stringify(ask)));
    let refused = 0;
    for (const one of all) void one.then(({ status }) => (refused += Number(status === 429)));
    await eventually(() => refused === 900);
    await cluster.endpoints('model', [stub.port]);
    const replies = await Promise.all(all);
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(100);
    expect(replies.every(({ status, retryAfter }) => status === 200 || Number(retryAfter) > 0)).toBe(true);
    expect((await demand()).activations).toBe(1);
  });

  it('keeps the order in which they came', async () => {
    const url = await boot();
    const replies: Promise<unknown>[] = [];
    for (let step = 0; step < 20; step += 1) {
      replies.push(embed(url, { ...ask, input: `number ${step}` }));
      await eventually(async () => (await demand()).queuedRequests === step + 1);
    }
    await cluster.endpoints('model', [stub.port]);
    await Promise.all(replies);
    // Sent in order; sockets of one turn may reach the stub in another.
    const numbers = stub.seen.map(({ inputs }) => Number(String(inputs[0]).slice(7)));
    expect(numbers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, at) => at));
  });

  it('counts what waits in bytes too', async () => {
    const url = await boot({ KUBEMBED_QUEUE_MAX_BYTES: '300000' });
    const input = 'x'.repeat(100_000);
    const statuses: number[] = [];
    const replies = Array.from({ length: 5 }, async () => statuses.push((await embed(url, { ...ask, input })).status));
    await eventually(async () => (await demand()).queuedRequests === 2 && statuses.length === 3);
    await cluster.endpoints('model', [stub.port]);
    await Promise.all(replies);
    expect(statuses).toEqual([429, 429, 429, 200, 200]);
  });

  it('still wakes when every client has left, and frees their places', async () => {
    const url = await boot({ KUBEMBED_QUEUE_MAX_REQUESTS: '5' });
    const leaving = new AbortController();
    const replies = Array.from({ length: 5 }, () => embed(url, ask, { signal: leaving.signal }));
    await eventually(async () => (await demand()).queuedRequests === 5);
    leaving.abort();
    expect((await Promise.allSettled(replies)).every(({ status }) => status === 'rejected')).toBe(true);
    await eventually(async () => (await demand()).queuedRequests === 0);
    expect(await demand()).toMatchObject({ activations: 1, offeredRequests: 5, completedRequests: 5 });
    const next = embed(url, ask);
    await eventually(async () => (await demand()).queuedRequests === 1);
    await cluster.endpoints('model', [stub.port]);
    expect((await next).status).toBe(200);
  });

  it('that takes too long is a 503 with the condition in words', async () => {
    const url = await boot({ KUBEMBED_QUEUE_SECONDS: '1' });
    const starting = {
      type: 'Available',
      status: 'False',
      reason: 'Starting',
      message: 'Replicas are starting.',
    } as const;
    await cluster.model('model', { conditions: [starting] });
    const reply = await embed(url, ask);
    expect(reply.status).toBe(503);
    expect(reply.body.error.message).toMatch(/did not become ready in time \(Starting: Replicas are starting\.\)/);
    expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  it('that cannot come up answers at once with the reason, those that wait already included, and recovers', async () => {
    const url = await boot();
    const waiting = embed(url, ask);
    await eventually(async () => (await demand()).queuedRequests === 1);
    const gone = {
      type: 'Fetched',
      status: 'False',
      reason: 'HubUnreachable',
      message: 'No route to the hub.',
    } as const;
    await cluster.model('model', { conditions: [gone] });
    for (const reply of [await waiting, await embed(url, ask)]) {
      expect(reply.status).toBe(503);
      expect(reply.body.error.message).toContain('HubUnreachable: No route to the hub.');
    }
    await cluster.endpoints('model', [stub.port]);
    await eventually(async () => (await embed(url, ask)).status === 200);
  });

  it.each(['UnsupportedArchitecture', 'UnsupportedFiles', 'UnsafeWeights'])(
    'that is itself refused answers with a status that no client tries again: %s',
    async (reason) => {
      const url = await boot();
      const refused = { type: 'Fetched', status: 'False', reason, message: 'It computes otherwise.' } as const;
      await cluster.model('model', { conditions: [refused] });
      await eventually(async () => (await embed(url, ask)).status === 422);
      const { headers, body } = await embed(url, ask);
      expect(headers.get('retry-after')).toBeNull();
      expect(body.error).toMatchObject({ code: 'model_not_servable', type: 'invalid_request_error' });
      expect(body.error.message).toContain(`${reason}: It computes otherwise.`);
    },
  );

  it('that is removed while requests wait answers 404', async () => {
    const url = await boot();
    const waiting = embed(url, ask);
    await eventually(async () => (await demand()).queuedRequests === 1);
    await cluster.removeModel('model');
    expect((await waiting).body.error.code).toBe('model_not_found');
    // And does not bring the model's series back.
    await eventually(async () => !(await (await fetch(`${url}/metrics`)).text()).includes(KEY));
  });

  it('whose name another takes over while requests wait is followed by that one', async () => {
    const url = await boot();
    const waiting = [embed(url, ask), embed(url, { ...ask, input: ['a', 'b'] })];
    await eventually(async () => (await demand()).queuedRequests === 2);
    await cluster.model('heir', { spec: { model: 'org/model' } });
    await cluster.removeModel('model');
    await eventually(async () => (await readDemand(cluster.router)).models['ns/heir']?.queuedRequests === 2);
    await cluster.endpoints('heir', [stub.port]);
    expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual([200, 200]);
  });
});

describe('the demand stream', () => {
  it('sends a line at once when a model must wake, then goes on; lines are numbered', async () => {
    const url = await boot();
    const stopping = new AbortController();
    const response = await fetch(`${cluster.router.internalUrl}/internal/demand`, { signal: stopping.signal });
    const lines: DemandSnapshot[] = [];
    const reading = (async () => {
      for await (const chunk of response.body!)
        for (const line of Buffer.from(chunk).toString().trim().split('\n'))
          lines.push(JSON.parse(line) as DemandSnapshot);
    })().catch(() => undefined);
    await eventually(() => lines.length > 0);
    const waiting = embed(url, ask);
    await eventually(() => lines.some(({ models }) => models[KEY]?.activations === 1), 900);
    await cluster.endpoints('model', [stub.port]);
    await waiting;
    await eventually(() => lines.some(({ models }) => models[KEY]?.completedRequests === 1));
    stopping.abort();
    await reading;
    expect(lines.map(({ sequence }) => sequence)).toEqual(lines.map((_, at) => lines[0]!.sequence + at));
    expect(new Set(lines.map(({ instance }) => instance)).size).toBe(1);
  });
});

describe('the demand stream of changes', () => {
  it('is whole at first, and then tells of a model only when something has changed', async () => {
    const url = await boot();
    await cluster.endpoints('model', [stub.port]);
    await eventually(async () => (await embed(url, ask)).status === 200);
    const stopping = new AbortController();
    const from = `${cluster.router.internalUrl}/internal/demand?changes`;
    const response = await fetch(from, { signal: stopping.signal });
    const lines: DemandSnapshot[] = [];
    const reading = (async () => {
      for await (const chunk of response.body!)
        for (const line of Buffer.from(chunk).toString().trim().split('\n'))
          lines.push(JSON.parse(line) as DemandSnapshot);
    })().catch(() => undefined);
    await eventually(() => lines.length > 1);
    expect(lines.slice(0, 2).map(({ changes, models }) => [changes, Object.keys(models)])).toEqual([
      [undefined, [KEY]],
      [true, []],
    ]);
    const before = lines[0]!.models[KEY]!.completedRequests;
    await embed(url, ask);
    await eventually(() => lines.some(({ models }) => models[KEY]?.completedRequests === before + 1));
    stopping.abort();
    await reading;
  });
});

describe('a replica that is starting', () => {
  const STARTING = { ready: false };
  const metric = async (name: string): Promise<string | undefined> =>
    (await (await fetch(`${cluster.router.internalUrl}/metrics`)).text())
      .split('\n')
      .find((line) => line.startsWith(`kubembed_router_${name}`))
      ?.split(' ')
      .at(-1);

  it('serves as soon as it says itself that it is ready, and stays the same endpoint', async () => {
    const url = await boot();
    stub.misbehave = 'draining';
    await cluster.endpoints('model', [stub.port], STARTING);
    const reply = embed(url, ask);
    await eventually(() => stub.probes() > 3);
    expect([(await demand()).queuedRequests, stub.seen.length]).toEqual([1, 0]);
    stub.misbehave = 'none';
    expect((await reply).status).toBe(200);
    expect(await metric('cold_start_seconds_count')).toBe('1');
    expect(await metric('endpoints{model="ns/model",state="usable"}')).toBe('1');
    await cluster.endpoints('model', [stub.port]);
    await eventually(
      async () =>
        ((await (await fetch(`${url}/v1/models/org/model`)).json()) as { ready_endpoints: number }).ready_endpoints ===
        1,
    );
    expect((await embed(url, ask)).status).toBe(200);
    expect(await metric('endpoints{model="ns/model",state="usable"}')).toBe('1');
    expect((await demand()).activations).toBe(1);
  });

  it('is asked only while somebody waits', async () => {
    const url = await boot();
    await cluster.endpoints('model', [stub.port], STARTING);
    await sleep(300);
    expect(stub.probes()).toBe(0);
    expect((await embed(url, ask)).status).toBe(200);
    const asked = stub.probes();
    await sleep(300);
    expect([asked > 0, stub.probes()]).toEqual([true, asked]);
  });

  it('is neither asked nor used once it is on its way out', async () => {
    const url = await boot();
    await cluster.endpoints('model', [stub.port], { ready: false, serving: true, terminating: true });
    const ending = new AbortController();
    const reply = embed(url, ask, { signal: ending.signal }).catch((error: unknown) => error);
    await eventually(async () => (await demand()).queuedRequests === 1);
    await sleep(300);
    expect([stub.probes(), stub.seen.length]).toEqual([0, 0]);
    ending.abort();
    expect(await reply).toBeInstanceOf(Error);
  });

  it('that fails while only itself said that it was ready leaves nothing behind: the next request wakes the model', async () => {
    const url = await boot();
    await cluster.endpoints('model', [stub.port], STARTING);
    expect((await embed(url, ask)).status).toBe(200);
    await stub.kill();
    const reply = embed(url, ask);
    await eventually(async () => (await demand()).activations === 2);
    const { port } = stub;
    stub = await startStubRuntime({ port });
    expect((await reply).status).toBe(200);
  });
});
