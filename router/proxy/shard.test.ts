import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createMemoryBudget } from '../../common/http/memory.ts';
import { OpenAIError } from '../../common/openai/errors.ts';
import type { Answer } from '../endpoints/client.ts';
import type { ForwardRequest, RequestContext } from './forward.ts';
import { createForward, mergeResponses, planShards, shardCount } from './shard.ts';

type Vector = readonly number[] | string;

const respond = (vectors: readonly Vector[], tokens: number, spaces = 0): Buffer =>
  Buffer.from(
    JSON.stringify(
      {
        object: 'list',
        data: vectors.map((embedding, index) => ({ object: 'embedding', index, embedding })),
        model: 'org/[odd] "model"',
        usage: { prompt_tokens: tokens, total_tokens: tokens },
      },
      undefined,
      spaces,
    ),
  );

const base64 = fc.uint8Array({ minLength: 0, maxLength: 24 }).map((bytes) => Buffer.from(bytes).toString('base64'));
const floats = fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { maxLength: 6 });
const shards = fc.array(fc.array(fc.oneof(base64, floats), { minLength: 1, maxLength: 12 }), {
  minLength: 1,
  maxLength: 5,
});

const merge = (lists: readonly (readonly Vector[])[], spaces: (at: number) => number): Buffer => {
  let offset = 0;
  const parts = lists.map((vectors, at) => {
    const part = { body: respond(vectors, vectors.length, spaces(at)), offset };
    offset += vectors.length;
    return part;
  });
  return Buffer.concat(mergeResponses(parts));
};

describe('mergeResponses', () => {
  it('gives byte for byte what one endpoint would have answered', () => {
    fc.assert(
      fc.property(shards, (lists) => {
        const flat = lists.flat();
        expect(merge(lists, () => 0).equals(respond(flat, flat.length))).toBe(true);
      }),
    );
  });

  it('falls back to parsing for a shard laid out otherwise', () => {
    fc.assert(
      fc.property(shards, (lists) => {
        const flat = lists.flat();
        const merged: unknown = JSON.parse(merge(lists, (at) => at % 2).toString());
        expect(merged).toEqual(JSON.parse(respond(flat, flat.length).toString()));
      }),
    );
  });

  it('refuses a body that is no embedding response', () => {
    expect(() => mergeResponses([{ body: Buffer.from('{"ok":true}'), offset: 0 }])).toThrow();
    expect(() => mergeResponses([{ body: Buffer.from('cut off {"obj'), offset: 0 }])).toThrow();
  });
});

const tokens = fc.array(fc.integer({ min: 1, max: 600 }), { minLength: 1, maxLength: 300 });
const sum = (values: readonly number[]): number => values.reduce((total, one) => total + one, 0);

describe('planShards', () => {
  it('covers every input once, in order, with no empty shard and no more than asked for', () => {
    fc.assert(
      fc.property(tokens, fc.integer({ min: 1, max: 12 }), (inputs, count) => {
        const shards = planShards(inputs, count);
        expect(shards.length).toBeLessThanOrEqual(count);
        expect(shards.flatMap(({ start, end }) => inputs.slice(start, end))).toEqual(inputs);
        for (const { start, end, tokens: of } of shards) {
          expect(end).toBeGreaterThan(start);
          expect(of).toBe(sum(inputs.slice(start, end)));
        }
      }),
    );
  });

  it('balances: no shard is over its share by more than one input', () => {
    fc.assert(
      fc.property(tokens, fc.integer({ min: 1, max: 12 }), (inputs, count) => {
        const most = Math.max(...planShards(inputs, count).map((shard) => shard.tokens));
        expect(most).toBeLessThanOrEqual(sum(inputs) / count + Math.max(...inputs));
      }),
    );
  });
});

describe('shardCount', () => {
  it.each([
    [[100], { endpoints: 4, targetTokens: 10 }, 1],
    [[100, 100, 100], { endpoints: 4, targetTokens: 1000 }, 1],
    [Array.from({ length: 100 }, () => 100), { endpoints: 4, targetTokens: 1000 }, 4],
    [Array.from({ length: 100 }, () => 100), { endpoints: 4, targetTokens: 5000 }, 2],
    [Array.from({ length: 100 }, () => 100), { endpoints: 0, targetTokens: 5000 }, 1],
  ])('%#', (inputs, limits, expected) => {
    expect(shardCount(inputs, limits)).toBe(expected);
  });
});

const ok: Answer = { kind: 'answer', status: 200, headers: {}, chunks: [respond([[1]], 3)], headAtMs: 0 };

describe('a split request', () => {
  const served = { key: 'ns/m', served: { model: 'org/m', names: ['org/m'] }, isGone: false };
  const setUp = (
    answerOf: (request: ForwardRequest) => Promise<Answer>,
    asking: Partial<RequestContext['request']> = {},
  ) => {
    const counts = { offered: 0, completed: 0 };
    const balancer = { healthy: () => 2, spare: () => undefined, capacity: () => 10 };
    const demand = {
      offer: (tokens: number) => (counts.offered += tokens),
      complete: (tokens: number) => (counts.completed += tokens),
    };
    const sent: ForwardRequest[] = [];
    const forward = createForward({
      forwardWithRetry: async (_context, request) => {
        sent.push(request);
        return { answer: await answerOf(request), endpoint: 'a', attempts: 1, queuedMs: 0, upstreamMs: 1 };
      },
      metrics: { split: () => undefined, upstream: () => undefined, queued: () => undefined },
      splitMs: 100,
    });
    const context = {
      model: { ...served, balancer, demand },
      request: { model: 'org/m', inputs: ['a', 'b'], encoding: 'float', ...asking },
      body: Buffer.from('{}'),
      estimate: { tokens: [3, 3], totalTokens: 6, textBytes: 2 },
      priority: 'interactive',
      signal: new AbortController().signal,
      span: undefined,
      held: createMemoryBudget(1e6).reserve(),
      facts: {},
      failedOn: new Set(),
    } as unknown as RequestContext;
    return { run: () => forward(context), sent, counts };
  };

  it('asks for its prompt in each of its shards', async () => {
    const { run, sent } = setUp(() => Promise.resolve(ok), { promptName: 'query', inputType: 'query' });
    await run();
    const asked = sent.map(({ body }) => JSON.parse(body.toString()) as unknown);
    const each = { prompt_name: 'query', input_type: 'query' };
    expect(asked).toMatchObject([
      { ...each, input: ['a'] },
      { ...each, input: ['b'] },
    ]);
  });

  it('that ends replicas with one of its shards is not sent whole after that', async () => {
    const lost = new OpenAIError('replicas_failed', 'They failed.');
    const { run, sent } = setUp(({ body }) => {
      // The other shard is refused, which alone would have the whole request sent.
      if (body.includes('"a"')) return new Promise((_resolve, reject) => setImmediate(() => reject(lost)));
      return Promise.resolve({ ...ok, status: 400 });
    });
    await expect(run()).rejects.toBe(lost);
    expect(sent).toHaveLength(2);
  });

  it('whose shards answer as different identities is sent whole', async () => {
    let asked = 0;
    const { run, sent } = setUp(() =>
      Promise.resolve({ ...ok, headers: { 'x-kubembed-revision': 'r', 'x-kubembed-identity': String((asked += 1)) } }),
    );
    await run();
    expect(sent.map(({ isShard }) => isShard)).toEqual([true, true, false]);
  });

  it('whose shards are refused at once fails as one, and ends no process', async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown): void => void unhandled.push(error);
    process.on('unhandledRejection', note);
    const { run, counts } = setUp(() => Promise.reject(new Error('the queue is full')));
    await expect(run()).rejects.toThrow('the queue is full');
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
    expect(counts).toEqual({ offered: 6, completed: 6 });
  });

  it('is sent whole when a shard is refused, which ends the others', async () => {
    const answer = (status: number, body: Buffer): Answer => ({
      kind: 'answer',
      status,
      headers: {},
      chunks: [body],
      headAtMs: undefined,
    });
    const { run, sent } = setUp(async ({ isShard, body, signal }) => {
      if (!isShard) return answer(400, Buffer.from('whole'));
      if (body.includes('"a"')) return answer(400, Buffer.from('shard'));
      if (!signal.aborted) await once(signal, 'abort');
      throw new Error('ended');
    });
    expect((await run()).status).toBe(400);
    expect(sent.map(({ isShard, priority }) => [isShard, priority])).toEqual([
      [true, 'bulk'],
      [true, 'bulk'],
      [false, 'bulk'],
    ]);
  });
});
