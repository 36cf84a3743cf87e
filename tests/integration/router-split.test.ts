// Big input arrays over real sockets: split over endpoints, merged as if one had answered, failures invisible.
import { afterEach, describe, expect, it } from 'vitest';
import { startStubCluster, embed, eventually } from '../helpers/stub-runtime-cluster.ts';
import { startStubRuntime, stubVector } from '../helpers/stub-runtime.ts';
import type { StubOptions, StubRuntime } from '../helpers/stub-runtime.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

const INPUTS = Array.from({ length: 2048 }, (_, at) => `text number ${at} ${'x'.repeat(at % 40)}`);

const serving = async (each: readonly StubOptions[]): Promise<{ url: string; stubs: StubRuntime[] }> => {
  const stubs = await Promise.all(each.map(async (options) => await startStubRuntime(options)));
  const cluster = await startStubCluster();
  closing.push(() => cluster.close(), ...stubs.map((stub) => () => stub.kill()));
  await cluster.model('model');
  await cluster.endpoints(
    'model',
    stubs.map(({ port }) => port),
  );
  const { url } = cluster.router;
  await eventually(async () => {
    const response = await fetch(`${url}/v1/models/org/model`);
    return response.ok && ((await response.json()) as { ready_endpoints: number }).ready_endpoints === stubs.length;
  });
  return { url, stubs };
};

/** One of several is spared. */
const working = (stubs: readonly StubRuntime[]): readonly StubRuntime[] => stubs.filter(({ seen }) => seen.length > 0);

const spansOf = ({ seen }: StubRuntime) => seen.flatMap(({ engine }) => engine ?? []);

/** Time of the engine that has most to do: what the load of the machine that tests does not touch. */
const longest = (stubs: readonly StubRuntime[]): number =>
  Math.max(...stubs.map((stub) => spansOf(stub).reduce((sum, { startMs, endMs }) => sum + endMs - startMs, 0)));

/** All engines were at work at some one moment. */
const overlap = (stubs: readonly StubRuntime[]): boolean => {
  const spans = stubs.flatMap(spansOf);
  return Math.max(...spans.map(({ startMs }) => startMs)) < Math.min(...spans.map(({ endMs }) => endMs));
};

describe('splitting', () => {
  it('over four endpoints of five is at least 3.5 times faster than over one, and the answer is the same', async () => {
    const pace = { tokensPerSecond: 8000, capacity: 8000 };
    const one = await serving([pace]);
    const five = await serving([pace, pace, pace, pace, pace]);
    const ask = { model: 'org/model', input: INPUTS };
    const [whole, merged] = [await embed(one.url, ask), await embed(five.url, ask)];
    const four = working(five.stubs);
    expect(merged.text).toBe(whole.text);
    expect(merged.headers.get('x-kubembed-revision')).toBe('rev-1');
    expect(longest(one.stubs) / longest(four)).toBeGreaterThan(3.5);
    expect(overlap(four)).toBe(true);
    expect(four.map(({ seen }) => seen.length)).toEqual([1, 1, 1, 1]);
    expect(four[0]!.seen[0]!.headers['x-kubembed-priority']).toBe('bulk');
    expect(one.stubs[0]!.seen[0]!.headers['x-kubembed-priority']).toBe('bulk');
  });

  it('merges base64 as it came', async () => {
    const one = await serving([{}]);
    // One that has answered already would be free for the next shard.
    const busy = { latencyMs: 200 };
    const four = await serving([busy, busy, busy, busy]);
    const ask = { model: 'org/model', input: INPUTS, encoding_format: 'base64' };
    const merged = await embed(four.url, ask);
    expect(merged.text).toBe((await embed(one.url, ask)).text);
    expect(four.stubs.map(({ seen }) => seen.length).toSorted()).toEqual([0, 1, 1, 1]);
  });

  it.each(['reset', 'cut', 'draining', 'silent'] as const)('shows nothing of a shard that fails: %s', async (how) => {
    const { url, stubs } = await serving([{}, {}, {}, {}]);
    stubs[1]!.misbehave = how;
    const reply = await embed(url, { model: 'org/model', input: INPUTS });
    expect(reply.status).toBe(200);
    expect(stubs[1]!.seen.length).toBeGreaterThan(0);
    const data = reply.body.data as { index: number; embedding: number[] }[];
    expect(data.map(({ index }) => index)).toEqual(INPUTS.map((_, at) => at));
    expect(data.every(({ embedding }, at) => embedding[0] === stubVector(INPUTS[at], 8)[0])).toBe(true);
  });

  it('gives the refusal of the whole request when a shard is refused', async () => {
    const { url, stubs } = await serving([{}, {}]);
    for (const stub of stubs) stub.misbehave = 'refuse';
    const reply = await embed(url, { model: 'org/model', input: INPUTS });
    expect([reply.status, reply.body.error.message]).toEqual([400, 'The stub does not like this input.']);
    const last = stubs.flatMap(({ seen }) => seen).toSorted((a, b) => b.inputs.length - a.inputs.length)[0]!;
    expect(last.inputs).toHaveLength(2048);
  });

  it('says which pooling is in use where the endpoints do', async () => {
    const pooling = 'mean (repository declares cls)';
    const { url, stubs } = await serving([{ pooling }, { pooling }]);
    const told = async (input: unknown) =>
      (await embed(url, { model: 'org/model', input })).headers.get('x-kubembed-pooling');
    expect(await told(INPUTS)).toBe(pooling);
    expect(stubs.every(({ seen }) => seen.length > 0)).toBe(true);
    expect(await told('a')).toBe(pooling);
  });

  it('never mixes revisions in one answer', async () => {
    const { url } = await serving([{ revision: 'old' }, { revision: 'new' }]);
    const reply = await embed(url, { model: 'org/model', input: INPUTS });
    expect(reply.status).toBe(200);
    expect(['old', 'new']).toContain(reply.headers.get('x-kubembed-revision'));
    expect(reply.body.data).toHaveLength(2048);
  });

  it('is counted, and each shard is timed', async () => {
    const { url } = await serving([{}, {}, {}, {}]);
    await embed(url, { model: 'org/model', input: INPUTS });
    const page = await (await fetch(`${url}/metrics`)).text();
    for (const sample of ['splits_total{model="ns/model"} 1', 'shards_total{model="ns/model"} 3'])
      expect(page).toContain(`kubembed_router_${sample}`);
    expect(page).toContain('kubembed_router_upstream_seconds_count{model="ns/model"} 3');
  });

  it('leaves small requests whole', async () => {
    const { url, stubs } = await serving([{}, {}]);
    await embed(url, { model: 'org/model', input: ['a', 'b', 'c'] });
    const seen = stubs.flatMap((stub) => stub.seen);
    expect(seen.map(({ inputs }) => inputs.length)).toEqual([3]);
    expect(seen[0]!.headers['x-kubembed-priority']).toBeUndefined();
  });

  it('stops all shards when the client leaves', async () => {
    const { url, stubs } = await serving([{ latencyMs: 60_000 }, { latencyMs: 60_000 }]);
    const leaving = new AbortController();
    const reply = embed(url, { model: 'org/model', input: INPUTS }, { signal: leaving.signal });
    await eventually(() => stubs.every((stub) => stub.inFlight() === 1));
    leaving.abort();
    await expect(reply).rejects.toThrow();
    await eventually(() => stubs.every((stub) => stub.aborted() === 1));
  });
});
