import { describe, expect, it } from 'vitest';
import type { RunTarget } from '../engine/compute.ts';
import { EngineError } from '../engine/contract.ts';
import type { EmbedRequest, EngineStats } from '../engine/contract.ts';
import { createEmbed } from '../engine/embed.ts';
import type { Tokenizer } from '../engine/tokenizer.ts';
import type { Sequence } from '../scheduler/batching.ts';
import { createFrontRequests, createRemoteCompute } from './remote.ts';

/** A letter is a token. */
const tokenizer: Pick<Tokenizer, 'encodeAll' | 'promptTokens'> = {
  encodeAll: async (inputs) =>
    inputs.map((input) => {
      const ids = typeof input === 'string' ? Array.from(input, (letter) => letter.charCodeAt(0)) : input;
      return { ids: Int32Array.from(ids), untruncated: ids.length };
    }),
  promptTokens: async (prompt) => prompt.length,
};

const STATS: EngineStats = {
  queuedInputs: 0,
  queuedTokens: 5,
  runningTokens: 0,
  capacityTokensPerSecond: 1000,
  computedTokens: 0,
  paddedTokens: 0,
  batches: 0,
  workerRestarts: 0,
};

/** Both halves, joined as by two threads: what crosses is cloned. */
function setUp() {
  const open = new Map<number, RunTarget>();
  const queued: Sequence[] = [];
  const offers: unknown[] = [];
  const left: number[] = [];
  let refusal: EngineError | undefined;
  let lastId = 100;
  const requests = createFrontRequests({
    compute: {
      nextId: () => lastId++,
      admit(target, offer) {
        offers.push(offer);
        if (refusal !== undefined) return refusal;
        open.set(target.id, target);
        return undefined;
      },
      add: (_id, sequences) => void queued.push(...sequences),
      leave(id) {
        left.push(id);
        open.delete(id);
      },
      stats: () => STATS,
    },
    send: (results) => void setImmediate(() => compute.deliver(structuredClone(results))),
  });
  const compute = createRemoteCompute((tape) => requests.read(structuredClone(tape)));
  const info = { maxTokens: 100, vocabularySize: 1000 };
  const embed = createEmbed({ info, tokenizer: tokenizer as Tokenizer, compute, includePrompt: false });
  const ask = (over: Partial<EmbedRequest> = {}) =>
    embed({
      inputs: ['ab'],
      encoding: 'float',
      overlongInput: 'truncate',
      priority: 'interactive',
      signal: new AbortController().signal,
      ...over,
    });
  /** Runs all that waits: a vector is its text's ids. */
  const run = async (): Promise<void> => {
    await turns();
    const at = performance.now();
    for (const { request, index } of queued.splice(0)) {
      const target = open.get(request);
      const bytes = Buffer.from(JSON.stringify([...(target?.tokensOf(index) ?? []), target?.skipOf(index)]));
      target?.complete(index, bytes, at, { inferMs: 3, serializeMs: 2 });
    }
  };
  return {
    ask,
    run,
    open,
    offers,
    left,
    stats: compute.stats,
    refuse: (error: EngineError) => (refusal = error),
  };
}

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve));
};
const texts = (vectors: readonly Uint8Array[]): string[] => vectors.map((bytes) => Buffer.from(bytes).toString());

describe('a request of a front thread', () => {
  it('gets its own vectors, in order, with the times of its run', async () => {
    const { ask, run, left, stats } = setUp();
    const both = [ask({ inputs: ['ab', 'c', 'ab'], prompt: 'p' }), ask({ inputs: [[7, 8]], priority: 'bulk' })];
    await run();
    const [one, two] = await Promise.all(both);
    expect(texts(one!.vectors)).toEqual(['[112,97,98,1]', '[112,99,1]', '[112,97,98,1]']);
    expect(texts(two!.vectors)).toEqual(['[7,8,0]']);
    expect(one).toMatchObject({ promptTokens: 8, stages: { inferMs: 3, serializeMs: 2 } });
    expect(one!.spans.queue.startMs).toBeLessThanOrEqual(one!.spans.queue.endMs);
    expect(one!.spans.queue.endMs).toBeLessThanOrEqual(performance.now());
    expect(stats()).toEqual(STATS);
    await turns();
    expect(left.toSorted()).toEqual([100, 101]);
  });

  it('is offered to the scheduler with what that decides by', async () => {
    const { ask, run, offers, open } = setUp();
    const answer = ask({ inputs: ['abcd', 'abcd', 'e'], priority: 'bulk', encoding: 'base64', dimensions: 3 });
    await turns();
    expect(offers).toEqual([{ priority: 'bulk', inputs: 2, tokens: 6 }]);
    expect([...open.values()]).toMatchObject([{ encoding: 'base64', dimensions: 3 }]);
    await run();
    await answer;
  });

  it('does not keep others waiting while millions of its token ids are looked at', async () => {
    const { ask, run, offers } = setUp();
    const large = ask({ inputs: [1, 2, 3].map((id) => new Int32Array(250_000).fill(id)) });
    const small = ask();
    while (offers.length < 2) await turns();
    expect(offers.map((offer) => (offer as { inputs: number }).inputs)).toEqual([1, 3]);
    await run();
    await Promise.all([small, large]);
  });

  it('is refused in the words of the scheduler', async () => {
    const { ask, refuse, left } = setUp();
    refuse(new EngineError('queue_full', 'full', { tokens: 9, maxQueueTokens: 8, cause: new Error('why') }));
    const error = await ask().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(EngineError);
    expect(error).toMatchObject({
      code: 'queue_full',
      message: 'full',
      details: { tokens: 9, maxQueueTokens: 8 },
      cause: 'why',
    });
    await turns();
    expect(left).toEqual([]);
  });

  it('fails for a vector that is not finite', async () => {
    const { ask, open } = setUp();
    const answer = ask();
    await turns();
    open.get(100)!.complete(0, new Uint8Array(), 0, { inferMs: 1, serializeMs: 1 });
    await expect(answer).rejects.toMatchObject({ code: 'not_finite' });
  });

  it('leaves the queue when its client does', async () => {
    const { ask, left, run } = setUp();
    const leaving = new AbortController();
    const answer = ask({ signal: leaving.signal });
    await turns();
    leaving.abort();
    await expect(answer).rejects.toMatchObject({ code: 'aborted' });
    await turns();
    expect(left).toEqual([100]);
    await run();
  });
});
