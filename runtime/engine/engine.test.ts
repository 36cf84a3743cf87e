import { getEventListeners } from 'node:events';
import { readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../tests/helpers/tiny-model.ts';
import { describeModel } from '../model/description.ts';
import { cpuCosts } from '../scheduler/batching.ts';
import { createScheduler } from '../scheduler/scheduler.ts';
import type { SchedulerLimits } from '../scheduler/scheduler.ts';
import { createDispatcher } from './compute.ts';
import type { EngineOptions } from './compute.ts';
import { createEngine } from './engine.ts';
import { openRequest } from './requests.ts';
import type { OpenRequest } from './requests.ts';
import type { RunMessage, RunReply } from './worker.ts';
import { EngineError } from './contract.ts';
import type { EmbedRequest, EmbedResult, Engine, EngineErrorDetails, EngineInput } from './contract.ts';

const fixtures = fileURLToPath(new URL('../../tests/fixtures/', import.meta.url));
const model = join(fixtures, 'architectures/bert');
const reference = JSON.parse(readFileSync(join(model, 'reference.json'), 'utf8')) as {
  texts: number[][];
  mean: number[][];
};
const config = JSON.parse(readFileSync(join(model, 'config.json'), 'utf8')) as Record<string, unknown>;

let folder = '';
const open: Engine[] = [];

/** One engine for every test that leaves it as it was. */
let shared: Engine;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubembed-engine-'));
  for (const [name, content] of Object.entries(await tinyModel())) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
  shared = await start();
  open.length = 0;
});
afterAll(async () => {
  await shared.close(AbortSignal.abort());
  await rm(folder, { recursive: true, force: true });
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((engine) => engine.close(AbortSignal.abort())));
});

async function start(over: Partial<EngineOptions> = {}): Promise<Engine> {
  const engine = await createEngine({
    files: {
      modelId: 'test/bert',
      revision: 'test',
      snapshotDir: folder,
      weights: new Map([['model.safetensors', join(folder, 'model.safetensors')]]),
    },
    description: describeModel(new Map([['config.json', config]])),
    pooling: 'mean',
    precision: 'float32',
    device: 'cpu',
    threads: 2,
    memoryBytes: 8e9,
    maxQueueTokens: 2_000_000,
    ...over,
  });
  open.push(engine);
  return engine;
}

const embed = (engine: Engine, inputs: readonly EngineInput[], over: Partial<EmbedRequest> = {}) =>
  engine.embed({
    inputs,
    encoding: 'float',
    overlongInput: 'truncate',
    priority: 'interactive',
    signal: new AbortController().signal,
    ...over,
  });

const vectorsOf = ({ vectors }: EmbedResult): number[][] =>
  vectors.map((bytes) => JSON.parse(Buffer.from(bytes).toString('latin1')) as number[]);

const distance = (a: readonly number[], b: readonly number[]): number =>
  Math.max(...a.map((value, index) => Math.abs(value - b[index]!)));

/** Distinct lists of token ids of the tiny vocabulary. */
const tokens = (length: number, seed = 1): number[] =>
  Array.from({ length }, (_, index) => 1 + ((index * 7 + seed * 13 + ((index * index * seed) % 5)) % 118));

describe('vectors', () => {
  it('are those of transformers, whatever runs beside them', async () => {
    const engine = shared;
    const neighbours = Array.from({ length: 40 }, (_, index) => tokens(1 + ((index * 11) % 60), index));
    const alone = [];
    for (const text of reference.texts) alone.push(...vectorsOf(await embed(engine, [text])));
    const mixed = vectorsOf(await embed(engine, [...reference.texts, ...neighbours]));
    for (const [index, expected] of reference.mean.entries()) {
      expect(distance(alone[index]!, expected)).toBeLessThan(1e-4);
      expect(distance(mixed[index]!, alone[index]!)).toBeLessThan(1e-5);
    }
    expect(engine.stats().paddedTokens).toBe(0);
  });

  it('come in the order of the inputs, and say the same in both encodings', async () => {
    const engine = shared;
    const inputs = Array.from({ length: 50 }, (_, index) => tokens(1 + (index % 9), index));
    const [floats, base64] = await Promise.all([
      embed(engine, inputs),
      embed(engine, inputs, { encoding: 'base64', priority: 'bulk' }),
    ]);
    for (const [index, vector] of vectorsOf(floats).entries()) {
      const text = JSON.parse(Buffer.from(base64.vectors[index]!).toString('latin1')) as string;
      const bytes = Buffer.from(text, 'base64');
      const decoded = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
      expect(distance(vector, [...decoded])).toBeLessThan(1e-6);
    }
  });

  it('have unit length and the dimensions asked for', async () => {
    const engine = shared;
    for (const dimensions of [1, 7, 31, 32]) {
      const [vector] = vectorsOf(await embed(engine, [tokens(5)], { dimensions }));
      expect(vector).toHaveLength(dimensions);
      expect(Math.abs(Math.hypot(...vector!) - 1)).toBeLessThan(1e-6);
    }
  });

  it('are computed once for inputs that are the same, and counted for each', async () => {
    const engine = shared;
    const before = engine.stats().computedTokens;
    const { promptTokens, vectors } = await embed(engine, [tokens(6), tokens(9), tokens(6), tokens(6)]);
    expect(promptTokens).toBe(27);
    expect(vectors[0]).toEqual(vectors[3]);
    expect(engine.stats().computedTokens - before).toBe(15);
  });
});

describe('texts', () => {
  it('are tokenised, cut and counted like their token ids', async () => {
    const framed = (ids: readonly number[]) => [2, ...ids, 3];
    const letters = (count: number) => Array.from({ length: count }, (_, index) => 'abcdefg'[index % 7]).join(' ');
    const ids = (count: number) => framed(Array.from({ length: count }, (_, index) => 5 + (index % 7)));
    const result = await embed(shared, [letters(4), '', letters(300)]);
    expect(result).toMatchObject({ promptTokens: 6 + 2 + shared.info.maxTokens, truncatedInputs: 1 });
    const same = await embed(shared, [ids(4), framed([]), ids(shared.info.maxTokens - 2)]);
    for (const [index, vector] of vectorsOf(same).entries()) {
      expect(distance(vectorsOf(result)[index]!, vector)).toBeLessThan(1e-5);
    }
  });
});

describe('texts for a tokenizer without special tokens', () => {
  it('are refused where they become no tokens, by their place, and fail nobody else', async () => {
    const plain = await mkdtemp(join(tmpdir(), 'kubembed-engine-'));
    await cp(folder, plain, { recursive: true });
    const path = join(plain, 'tokenizer.json');
    const tokenizer = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    await writeFile(path, JSON.stringify({ ...tokenizer, post_processor: null }));
    // BERT's own class would put special tokens around texts all the same.
    await writeFile(join(plain, 'tokenizer_config.json'), '{"tokenizer_class":"PreTrainedTokenizerFast"}');
    const weights = new Map([['model.safetensors', join(plain, 'model.safetensors')]]);
    const engine = await start({ files: { modelId: 'test/bert', revision: 'test', snapshotDir: plain, weights } });
    const texts = Array.from({ length: 60 }, (_, index) =>
      index % 3 === 0 ? ['a', index % 2 ? '' : ' \n'] : ['a b', 'c'],
    );
    const answers = await Promise.allSettled(texts.map((inputs) => embed(engine, inputs)));
    for (const [index, answer] of answers.entries()) {
      if (index % 3 > 0) expect(answer).toMatchObject({ status: 'fulfilled', value: { promptTokens: 3 } });
      else expect(answer).toMatchObject({ reason: { code: 'empty_input', details: { input: 1 } } });
    }
    expect(engine.stats()).toMatchObject({ queuedInputs: 0, queuedTokens: 0, runningTokens: 0 });
    await rm(plain, { recursive: true });
  });
});

describe('inputs that cannot be run as they are', () => {
  it('are cut to the limit and counted, or refused when the request says so', async () => {
    const engine = shared;
    const { maxTokens } = engine.info;
    const long = tokens(maxTokens + 20);
    const result = await embed(engine, [long, tokens(4)]);
    expect(result.truncatedInputs).toBe(1);
    expect(result.promptTokens).toBe(maxTokens + 4);
    const [cut] = vectorsOf(await embed(engine, [long.slice(0, maxTokens)]));
    expect(distance(vectorsOf(result)[0]!, cut!)).toBeLessThan(1e-5);
    await expect(embed(engine, [tokens(4), long], { overlongInput: 'error' })).rejects.toMatchObject({
      code: 'context_length',
      details: { input: 1, tokens: maxTokens + 20, maxTokens },
    });
  });

  it.each([
    ['beyond the vocabulary', [5, 120], 120],
    ['negative', [5, -1], -1],
    ['fractional', [5, 1.5], 1.5],
  ])('token %s: refused, naming the id and its place', async (_, ids, tokenId) => {
    const engine = shared;
    await expect(embed(engine, [tokens(3), ids])).rejects.toMatchObject({
      code: 'token_out_of_range',
      details: { input: 1, tokenId, tokenPosition: 1, vocabularySize: 120 },
    });
  });

  it('an empty token list is refused', async () => {
    await expect(embed(shared, [[]])).rejects.toMatchObject({ code: 'empty_input' });
  });

  it('a request beyond the queue is told whether to come again', async () => {
    const engine = await start({ maxQueueTokens: 300 });
    const big = Array.from({ length: 40 }, (_, index) => tokens(7, index));
    await expect(embed(engine, [...big, ...big.map((ids) => [...ids, 2])])).rejects.toMatchObject({
      code: 'too_large',
      details: { tokens: 600, maxQueueTokens: 300 },
    });
    const first = embed(engine, big);
    await expect(embed(engine, big)).rejects.toMatchObject({ code: 'queue_full' });
    await first;
    await embed(engine, big);
  });
});

describe('life of requests and workers', () => {
  const bulk = Array.from({ length: 400 }, (_, index) => tokens(100 + (index % 20), index));

  it('drops the waiting work of a client that is gone', async () => {
    const engine = await start();
    const leaving = new AbortController();
    const result = embed(engine, bulk, { signal: leaving.signal });
    leaving.abort();
    await expect(result).rejects.toMatchObject({ code: 'aborted' });
    await embed(engine, [tokens(3)]);
    expect(engine.stats()).toMatchObject({ queuedInputs: 0, queuedTokens: 0 });
    expect(engine.stats().computedTokens).toBeLessThan(bulk.flat().length / 2);
    expect(getEventListeners(leaving.signal, 'abort')).toEqual([]);
    const gone = embed(engine, bulk, { signal: AbortSignal.abort() });
    await expect(gone).rejects.toMatchObject({ code: 'aborted' });
  });

  it('answers a small request between the pieces of a big one', async () => {
    const engine = await start({ threads: 1 });
    const finished: string[] = [];
    const big = embed(engine, bulk).then(() => finished.push('big'));
    await new Promise((resolve) => setTimeout(resolve, 5));
    await embed(engine, [tokens(5)]).then(() => finished.push('small'));
    await big;
    expect(finished).toEqual(['small', 'big']);
  });

  it('gives its first worker all cores while texts come one at a time, and the same vectors all along', async () => {
    const sessions: number[] = [];
    const engine = await start({
      onEvent: (event) => {
        if (event.kind === 'session-replaced') sessions.push(event.threads);
      },
    });
    const text = tokens(20);
    const [expected] = vectorsOf(await embed(shared, [text]));
    const until = async (expectedSessions: number[], ask: () => Promise<EmbedResult>): Promise<void> => {
      while (sessions.length < expectedSessions.length) {
        for (const vector of vectorsOf(await ask())) expect(distance(vector, expected!)).toBeLessThan(1e-6);
      }
      expect(sessions).toEqual(expectedSessions);
    };
    const several = async (): Promise<EmbedResult> =>
      (await Promise.all([embed(engine, [text]), embed(engine, [text]), embed(engine, [text])]))[0];
    await until([2], () => embed(engine, [text]));
    await until([2, 1], several);
    await until([2, 1, 2], () => embed(engine, [text]));
    // Also while so much waits that no worker ever rests.
    const many = tokens(60).map((id, index) => [...text.slice(1), id, index]);
    let over = false;
    const crowd = Array.from({ length: 16 }, async () => {
      while (!over) await embed(engine, many);
    });
    while (sessions.length < 4) await new Promise((resolve) => setTimeout(resolve, 5));
    over = true;
    await Promise.all(crowd);
    expect(sessions).toEqual([2, 1, 2, 1]);
  });

  it('drains: what runs is answered, what comes later is refused', async () => {
    const engine = await start();
    const running = embed(engine, bulk);
    const closed = engine.close(new AbortController().signal);
    await expect(embed(engine, [tokens(3)])).rejects.toMatchObject({ code: 'draining' });
    expect((await running).vectors).toHaveLength(bulk.length);
    await closed;
  });

  it('gives up what still runs when draining takes too long', async () => {
    const engine = await start();
    const running = embed(engine, bulk);
    const refused = expect(running).rejects.toMatchObject({ code: 'draining' });
    await engine.close(AbortSignal.abort());
    await refused;
  });
});

const MIN_RUN_TOKENS = 40;

const LIMITS: SchedulerLimits = {
  workers: 1,
  maxQueueTokens: 10_000,
  runTokens: MIN_RUN_TOKENS,
  minRunTokens: MIN_RUN_TOKENS,
  smallShare: 0.125,
  smallRequestInputs: 8,
  bulkShare: 0.25,
  takesSolo: () => false,
  aloneMs: 100,
  gatherMs: 0,
  gatherTimes: () => ({ returnMs: 0, maxGatherMs: 0 }),
  companyOf: () => 0,
  cost: cpuCosts(384),
};

/** A worker whose runs end when the test says so, and what happened in which order. */
function setUp(lengths: readonly number[]) {
  const seen: string[] = [];
  const running: ((reply: RunReply) => void)[] = [];
  const scheduler = createScheduler(LIMITS);
  const openRequests = new Map<number, OpenRequest>();
  let tokens = 0;
  const wake = createDispatcher({
    scheduler,
    requests: openRequests,
    now: () => 0,
    onEnd: ({ tokens: ended }) => seen.push(`ends ${ended}`),
    onResults: () => undefined,
    pool: {
      idle: () => (running.length === 0 ? 1 : 0),
      run: ({ lengths: texts }: RunMessage) => {
        seen.push(`runs ${texts.join()}`);
        tokens += texts.length;
        return new Promise((resolve) => running.push(resolve));
      },
    },
  });
  for (const [id, length] of lengths.entries()) {
    const request = { encoding: 'float', overlongInput: 'truncate' } as const;
    const open = openRequest({ id, request, places: [0], distinct: 1, maxTokens: 512 });
    void open.result.then(() => {
      seen.push(`answers ${id}`);
      scheduler.leave(id, 0);
    });
    openRequests.set(id, open);
    scheduler.admit({ id, priority: 'interactive', inputs: 1, tokens: length }, 0);
    open.tokenized(0, { ids: new Int32Array(length), untruncated: length }, 0);
    scheduler.add(id, [{ request: id, index: 0, length }], true);
  }
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const end = async (): Promise<void> => {
    const ends = Uint32Array.from({ length: tokens }, (_, text) => text + 1);
    running.shift()?.({ bytes: new Uint8Array(tokens), ends, paddedTokens: 0, inferMs: 1, serializeMs: 0 });
    await turn();
    await turn();
  };
  wake();
  return { seen, end, turn };
}

describe('dispatcher', () => {
  it('gives a worker its next run before it answers the last one, when much waits', async () => {
    const { seen, end, turn } = setUp([40, 40]);
    await turn();
    await end();
    await end();
    expect(seen).toEqual(['runs 40', 'ends 40', 'runs 40', 'answers 0', 'ends 40', 'answers 1']);
  });

  it('answers first when little waits: whoever is answered may ask again', async () => {
    const { seen, end, turn } = setUp([40, 5]);
    await turn();
    await end();
    await end();
    expect(seen).toEqual(['runs 40', 'ends 40', 'answers 0', 'runs 5', 'ends 5', 'answers 1']);
  });
});

/** Runs fail that hold a token of theirs; which requests fail with them, and in how many runs. */
async function runPoisoned(requests: readonly (readonly number[])[], details: EngineErrorDetails = {}) {
  const POISON = 99;
  const scheduler = createScheduler({ ...LIMITS, runTokens: 1000 });
  const openRequests = new Map<number, OpenRequest>();
  const outcomes: Record<number, string> = {};
  let busy = false;
  let runs = 0;
  let lost = 0;
  const wake = createDispatcher({
    scheduler,
    requests: openRequests,
    now: () => 0,
    onEnd: () => undefined,
    onResults: () => undefined,
    pool: {
      idle: () => (busy ? 0 : 1),
      run: async ({ lengths: texts, ids }: RunMessage) => {
        busy = true;
        runs++;
        await new Promise((resolve) => setImmediate(resolve));
        busy = false;
        if (ids.includes(POISON)) {
          lost++;
          throw new EngineError('worker_failed', 'poisoned', details);
        }
        const ends = Uint32Array.from(texts, (_, text) => text + 1);
        return { bytes: new Uint8Array(texts.length), ends, paddedTokens: 0, inferMs: 1, serializeMs: 0 };
      },
    },
  });
  const answers = requests.map(async (ids, id) => {
    const request = { encoding: 'float', overlongInput: 'truncate' } as const;
    const places = ids.map((_, index) => index);
    const open = openRequest({ id, request, places, distinct: ids.length, maxTokens: 512 });
    openRequests.set(id, open);
    scheduler.admit({ id, priority: 'interactive', inputs: ids.length, tokens: ids.length }, 0);
    for (const [index, token] of ids.entries()) {
      open.tokenized(index, { ids: Int32Array.of(token), untruncated: 1 }, 0);
      scheduler.add(id, [{ request: id, index, length: 1 }], index === ids.length - 1);
    }
    outcomes[id] = await open.result.then(
      () => 'answered',
      (error: unknown) => (error as Error).message,
    );
    openRequests.delete(id);
    scheduler.leave(id, 0);
    wake();
  });
  wake();
  await Promise.all(answers);
  await new Promise((resolve) => setImmediate(resolve));
  return { outcomes: Object.values(outcomes), runs, lost, left: scheduler.stats() };
}

describe('a run that fails', () => {
  const requests = Array.from({ length: 64 }, (_, id) => (id === 20 ? [1, 99, 2] : [3, 4]));
  const expected = requests.map((_, id) => (id === 20 ? 'poisoned' : 'answered'));

  it('fails the request that is to blame, and no other', async () => {
    const { outcomes, runs, left } = await runPoisoned(requests);
    expect(outcomes).toEqual(expected);
    expect(runs).toBeLessThanOrEqual(1 + 2 * 6);
    expect(left).toEqual({ queuedInputs: 0, queuedTokens: 0, runningTokens: 0 });
  });

  it('costs two workers at most where each such run costs one', async () => {
    const { outcomes, lost, left } = await runPoisoned(requests, { isWorkerLost: true });
    expect(outcomes).toEqual(expected);
    expect(lost).toBe(2);
    expect(left).toEqual({ queuedInputs: 0, queuedTokens: 0, runningTokens: 0 });
  });

  it('finds several to blame', async () => {
    const { outcomes } = await runPoisoned([[99], [1], [2, 99], [3], [99, 99]]);
    expect(outcomes).toEqual(['poisoned', 'answered', 'poisoned', 'answered', 'poisoned']);
  });
});
