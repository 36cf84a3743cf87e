import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { OpenAIError } from '../../common/openai/errors.ts';
import type { Answer, AnswerStream } from '../endpoints/client.ts';
import { createActivationQueue } from '../models/queue.ts';
import { createResponseCache } from './cache.ts';
import type { RequestContext } from './forward.ts';

const answer = (status: number, revision: string, identity = 'mean'): Answer => ({
  kind: 'answer',
  status,
  headers: { 'x-kubembed-revision': revision, 'x-kubembed-identity': identity },
  chunks: [Buffer.from('{}')],
  headAtMs: 0,
});
const stream: AnswerStream = {
  kind: 'stream',
  status: 200,
  headers: { 'x-kubembed-revision': 'r' },
  headAtMs: 0,
  pipe: async () => undefined,
  ended: Promise.resolve(undefined),
};

/** As endpoints say it: undefined while they do not agree. */
let identity: string | undefined = 'r mean';
let queue = createActivationQueue({ maxRequests: 100, maxBytes: 1e6, maxMs: 1e5 });
beforeEach(() => {
  identity = 'r mean';
  queue = createActivationQueue({ maxRequests: 100, maxBytes: 1e6, maxMs: 1e5 });
});

const ask = ({ signal = new AbortController().signal, model = 'm', prompts = {}, more = {} } = {}): RequestContext =>
  ({
    model: {
      key: 'a/b',
      served: { model: 'm', names: ['m'], revision: 'r', prompts },
      balancer: { identity: () => identity },
      queue,
    },
    priority: 'interactive',
    body: Buffer.from('{}'),
    request: { model, inputs: ['x'], encoding: 'float', ...more },
    signal,
  }) as unknown as RequestContext;

const setUp = (make: () => Answer | AnswerStream) => {
  const results: string[] = [];
  const cache = createResponseCache({
    models: ['*'],
    maxBytes: 1e6,
    metrics: { cache: (_model, result) => results.push(result) },
  });
  const seen = { runs: 0, now: 0, atOnce: 0 };
  const forward = async ({ signal }: RequestContext) => {
    seen.runs += 1;
    seen.atOnce = Math.max(seen.atOnce, (seen.now += 1));
    try {
      await sleep(20, undefined, { signal });
      return make();
    } finally {
      seen.now -= 1;
    }
  };
  const through = async (context = ask()) => {
    const key = (await cache.keyFor({}, context)) ?? expect.fail('no key');
    return await cache.through(key, context, forward);
  };
  return { seen, results, through };
};

it('keeps apart what is asked with other prompts', async () => {
  const cache = createResponseCache({ models: ['*'], maxBytes: 1e6, metrics: { cache: () => undefined } });
  const keyOf = async (more: Partial<RequestContext['request']>) => await cache.keyFor({}, ask({ more }));
  const kinds = [
    {},
    { promptName: 'query' },
    { promptName: 'passage' },
    { inputType: 'query' },
    { inputType: 'passage' },
  ] as const;
  expect(new Set(await Promise.all(kinds.map(keyOf))).size).toBe(kinds.length);
  expect(await keyOf({ promptName: 'query' })).toBe(await keyOf({ promptName: 'query' }));
});

describe('a rolling change', () => {
  it('serves nothing kept while endpoints differ, and nothing old when they agree again', async () => {
    let current = 'mean';
    const { through } = setUp(() => answer(200, 'r', current));
    const from = async () => (await through()).from;
    expect([await from(), await from()]).toEqual(['miss', 'hit']);
    identity = undefined;
    expect([await from(), await from()]).toEqual(['miss', 'miss']);
    // The last of the old pods answers, though all others are new.
    identity = 'r cls';
    expect([await from(), await from()]).toEqual(['miss', 'miss']);
    current = 'cls';
    expect([await from(), await from()]).toEqual(['miss', 'hit']);
  });
});

describe('a model whose names have prompts of their own', () => {
  it('keeps the answers of each name apart, and those of names without one together', async () => {
    const { through } = setUp(() => answer(200, 'r'));
    const prompts = { Query: 'query', passage: 'passage' };
    const from = async (model: string) => {
      return (await through(ask({ model, prompts }))).from;
    };
    expect([await from('query'), await from('passage'), await from('m')]).toEqual(['miss', 'miss', 'miss']);
    expect([await from('QUERY'), await from('passage'), await from('other')]).toEqual(['hit', 'hit', 'hit']);
  });
});

describe('identical requests at the same time', () => {
  it('are computed once where the answer is kept', async () => {
    const { seen, results, through } = setUp(() => answer(200, 'r'));
    await Promise.all(Array.from({ length: 20 }, () => through()));
    expect(seen.runs).toBe(1);
    expect(results.toSorted()).toEqual([...Array<string>(19).fill('coalesced'), 'miss']);
    expect((await through()).from).toBe('hit');
    expect(seen.runs).toBe(1);
  });

  it.each([
    ['a refusal', () => answer(400, 'r')],
    ['an answer of another revision', () => answer(200, 'old')],
    ['an answer of another pooling', () => answer(200, 'r', 'cls')],
    ['a streamed answer', () => stream],
  ])('run side by side where it is not: %s', async (_what, make) => {
    const { seen, results, through } = setUp(make);
    await Promise.all(Array.from({ length: 20 }, () => through()));
    // The first one, and then all others together.
    expect(seen).toEqual({ runs: 20, now: 0, atOnce: 19 });
    expect(results).toEqual(Array(20).fill('miss'));
  });

  it('are led by another one when the first client leaves', async () => {
    const { seen, through } = setUp(() => answer(200, 'r'));
    const leaving = new AbortController();
    const leader = through(ask({ signal: leaving.signal }));
    const followers = Array.from({ length: 20 }, () => through());
    leaving.abort();
    await expect(leader).rejects.toThrow();
    expect((await Promise.all(followers)).every(({ answer: { status } }) => status === 200)).toBe(true);
    expect(seen.runs).toBe(2);
  });

  it('have places in the queue while they wait', async () => {
    queue = createActivationQueue({ maxRequests: 5, maxBytes: 1e6, maxMs: 1e5 });
    const { seen, through } = setUp(() => answer(200, 'r'));
    const all = await Promise.allSettled(Array.from({ length: 20 }, () => through()));
    const refused = all.filter((one) => one.status === 'rejected').map(({ reason }) => (reason as OpenAIError).kind);
    // The leader, and five who wait for it.
    expect(refused).toEqual(Array(14).fill('rate_limit_exceeded'));
    expect(seen.runs).toBe(1);
    await expect(through()).resolves.toMatchObject({ from: 'hit' });
  });

  it('are not tried one by one on the replicas that the first one ended', async () => {
    const failed = new OpenAIError('replicas_failed', 'They failed.');
    const { seen, through } = setUp(() => {
      throw failed;
    });
    const all = await Promise.allSettled(Array.from({ length: 20 }, () => through()));
    expect(all.map((one) => one.status === 'rejected' && one.reason === failed)).toEqual(Array(20).fill(true));
    expect(seen.runs).toBe(1);
  });

  it('keep deadlines of their own', async () => {
    const { through } = setUp(() => answer(200, 'r'));
    const late = new AbortController();
    const leader = through();
    const follower = through(ask({ signal: late.signal }));
    late.abort();
    await expect(follower).rejects.toThrow('The client went away.');
    expect((await leader).from).toBe('miss');
  });
});
