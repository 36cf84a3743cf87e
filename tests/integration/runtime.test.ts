// The runtime process as a whole, on a tiny real model: readiness, answers, termination message, drain, and how it stays awake under load.
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { euclideanNorm } from '../../common/openai/response.ts';
import { scrape } from '../helpers/openai-service.ts';
import {
  TINY_DIMENSIONS,
  TINY_MAX_TOKENS,
  TINY_MODEL,
  TINY_REVISION,
  TINY_VOCABULARY,
  createTinyStore,
  startRuntime as startProcess,
} from '../helpers/runtime-process.ts';
import type { RuntimeProcess, RuntimeSettings, TinyStore } from '../helpers/runtime-process.ts';

interface Answer {
  readonly data: { readonly index: number; readonly embedding: number[] }[];
  readonly usage: { readonly prompt_tokens: number };
  readonly error: { readonly message: string };
}

const ask = (url: string, fields: object, headers: Record<string, string> = {}) =>
  fetch(`${url}/v1/embeddings`, {
    method: 'POST',
    body: JSON.stringify({ model: TINY_MODEL, input: 'abc', ...fields }),
    headers: { 'content-type': 'application/json', ...headers },
  });
const answerOf = async (response: Response) => (await response.json()) as Answer;

describe.each(['1', '2'])('with %s front threads', (fronts) => {
  const startRuntime = (store: string, { env, ...settings }: RuntimeSettings = {}): RuntimeProcess =>
    startProcess(store, { ...settings, env: { KUBEMBED_FRONT_THREADS: fronts, ...env } });

  describe('serve', () => {
    let store: TinyStore;
    let runtime: RuntimeProcess;
    let url: string;
    beforeAll(async () => {
      store = await createTinyStore();
      runtime = startRuntime(store.store);
      url = await runtime.ready();
    });
    afterAll(async () => {
      await runtime[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    });

    it('is ready, and says what it serves', async () => {
      expect((await fetch(`${url}/readyz`)).status).toBe(200);
      const response = await ask(url, { input: ['abc', ''] });
      expect(response.headers.get('x-kubembed-revision')).toBe(TINY_REVISION);
      const { data, usage } = await answerOf(response);
      expect(data.map(({ embedding }) => embedding.length)).toEqual([TINY_DIMENSIONS, TINY_DIMENSIONS]);
      for (const { embedding } of data) expect(euclideanNorm(embedding)).toBeCloseTo(1, 5);
      expect(usage.prompt_tokens).toBe(7);
    });

    it('says wherever it is seen that the repository declares another pooling', async () => {
      await using other = await createTinyStore();
      await writeFile(join(other.snapshot, '1_Pooling', 'config.json'), '{"pooling_mode_cls_token": true}');
      const said = 'mean (repository declares cls)';
      const look = async (env: Record<string, string>) => {
        await using own = startRuntime(other.store, { env });
        const address = await own.ready();
        const listed = (await (await fetch(`${address}/v1/models/${TINY_MODEL}`)).json()) as { pooling?: string };
        const warned = own.output().includes('The repository declares another pooling');
        return { header: (await ask(address, {})).headers.get('x-kubembed-pooling'), listed: listed.pooling, warned };
      };
      expect(await look({})).toEqual({ header: said, listed: said, warned: true });
      expect(await look({ KUBEMBED_POOLING: 'declared' })).toEqual({ header: null, listed: 'cls', warned: false });
    });

    it('counts what inference runs hold', async () => {
      const read = async (name: string): Promise<number> => {
        const page = await (await fetch(`${url}/metrics`)).text();
        return Number(new RegExp(`^kubembed_runtime_${name} (\\S+)`, 'm').exec(page)?.[1]);
      };
      const names = ['batch_inputs_sum', 'batch_tokens_sum', 'batch_inputs_count', 'batches_total'];
      const before = await Promise.all(names.map(read));
      await (await ask(url, { input: ['abcd', 'bcde', 'abcd'] })).arrayBuffer();
      const [inputs, tokens, told, runs] = (await Promise.all(names.map(read))).map(
        (now, index) => now - before[index]!,
      );
      // Two different texts of four letters and two special tokens.
      expect([inputs, tokens]).toEqual([2, 12]);
      expect(told).toBe(runs);
    });

    it('serves int8 where that is asked for, and says so', async () => {
      await using int8 = startRuntime(store.store, { env: { KUBEMBED_PRECISION: 'int8' } });
      const own = await int8.ready();
      const page = await (await fetch(`${own}/metrics`)).text();
      expect(/^kubembed_runtime_model_info\{.*precision="(\w+)"/m.exec(page)?.[1]).toBe('int8');
      const model: unknown = await (await fetch(`${own}/v1/models/${TINY_MODEL}`)).json();
      expect(JSON.stringify(model)).toContain('"precision":"int8"');
    });

    it('refuses foreign token ids with the vocabulary and a way out', async () => {
      const response = await ask(url, {
        input: [
          [1, 2],
          [5, TINY_VOCABULARY],
        ],
      });
      expect(response.status).toBe(400);
      expect((await answerOf(response)).error.message).toMatch(
        /120.*vocabulary of 120 .*check_embedding_ctx_length=False/,
      );
    });

    it('cuts or refuses what is too long, as asked', async () => {
      const input = ['a '.repeat(500), 'b'];
      const cut = await ask(url, { input });
      expect([cut.status, cut.headers.get('x-kubembed-truncated-inputs')]).toEqual([200, '1']);
      expect((await answerOf(cut)).usage.prompt_tokens).toBe(TINY_MAX_TOKENS + 3);
      const strict = await ask(url, { input, truncate: false });
      expect(strict.status).toBe(400);
      expect((await answerOf(strict)).error.message).toMatch(
        /^This model's maximum context length is 144 tokens, however you requested 502 tokens/,
      );
    });

    it('gives the same vector for text, ids, float and base64, and unit length for every cut', async () => {
      const text = (await answerOf(await ask(url, { input: 'abc' }))).data[0]!.embedding;
      const base64 = (await answerOf(await ask(url, { encoding_format: 'base64' }))).data[0]!
        .embedding as unknown as string;
      const bytes = Buffer.from(base64, 'base64');
      expect(Array.from({ length: TINY_DIMENSIONS }, (_, at) => bytes.readFloatLE(at * 4))).toEqual(
        text.map(Math.fround),
      );
      for (const dimensions of [1, 7, 32]) {
        const [vector] = (await answerOf(await ask(url, { dimensions }))).data;
        expect(vector!.embedding).toHaveLength(dimensions);
        expect(euclideanNorm(vector!.embedding)).toBeCloseTo(1, 5);
      }
      expect((await ask(url, { dimensions: 33 })).status).toBe(400);
    });

    it('answers 2048 inputs in order, equal ones equally', async () => {
      const input = Array.from({ length: 2048 }, (_, at) => 'abcdefgh'.slice(0, (at % 8) + 1));
      const { data } = await answerOf(await ask(url, { input }));
      expect(data.map(({ index }) => index)).toEqual(input.map((_, at) => at));
      for (const [at, { embedding }] of data.entries()) expect(embedding).toEqual(data[at % 8]!.embedding);
    });

    it('counts what it computed', async () => {
      expect(await scrape(url, 'kubembed_runtime_computed_tokens_total')).toBeGreaterThan(0);
      expect(await scrape(url, 'kubembed_runtime_ready')).toBe(1);
      expect(await scrape(url, 'kubembed_runtime_stage_duration_seconds_count{stage="infer"}')).toBeGreaterThan(0);
    });

    it('changes its log level on SIGUSR2, without a restart', async () => {
      const probes = () =>
        runtime
          .output()
          .split('\n')
          .filter((line) => line.includes('"path":"/healthz"')).length;
      await fetch(`${url}/healthz`);
      expect(probes()).toBe(0);
      runtime.child.kill('SIGUSR2');
      await expect
        .poll(async () => [await fetch(`${url}/healthz`), probes()][1], { timeout: 10_000 })
        .toBeGreaterThan(0);
      runtime.child.kill('SIGUSR2');
    });

    it('answers probes while its compute thread is busy', async () => {
      const inputs = Array.from({ length: 512 }, (_, at) => `${'abcdefghij '.repeat(12)}${at}`);
      const load = Promise.all(
        Array.from({ length: 32 }, (_, at) => ask(url, { input: inputs.slice(at * 16, at * 16 + 16) })),
      );
      const over = load.then(() => 'over');
      let answered = 0;
      while ((await Promise.race([over, fetch(`${url}/healthz`).then(({ status }) => status)])) === 200) answered += 1;
      expect((await load).map(({ status }) => status)).toEqual(Array<number>(32).fill(200));
      expect(answered).toBeGreaterThan(10);
    });
  });

  describe('SIGTERM', () => {
    it('lets running requests finish, refuses new ones, and exits 0', async () => {
      await using store = await createTinyStore();
      await using runtime = startRuntime(store.store);
      const url = await runtime.ready();
      const input = Array.from({ length: 64 }, (_, at) => `${'abcdefghij '.repeat(12)}${at}`);
      const running = Array.from({ length: 50 }, () => ask(url, { input }));
      await expect
        .poll(async () => await scrape(url, 'kubembed_runtime_queue_inputs'), { timeout: 20_000 })
        .toBeGreaterThan(500);
      runtime.child.kill('SIGTERM');
      await expect
        .poll(
          async () =>
            await fetch(`${url}/readyz`).then(
              ({ status }) => status,
              () => 'refused',
            ),
          { timeout: 10_000 },
        )
        .toEqual(expect.toSatisfy((status: unknown) => status === 503 || status === 'refused'));
      const answers = await Promise.all(running);
      expect(answers.map(({ status }) => status)).toEqual(Array<number>(50).fill(200));
      for (const answer of answers) expect((await answerOf(answer)).data).toHaveLength(64);
      expect(await runtime.exited).toBe(0);
    });

    it('ends at the deadline, whatever still runs', async () => {
      await using store = await createTinyStore();
      await using runtime = startRuntime(store.store, { env: { KUBEMBED_DRAIN_SECONDS: '0.2' } });
      const url = await runtime.ready();
      const input = Array.from({ length: 2000 }, (_, at) => `${'abcdefghij '.repeat(12)}${at}`);
      const cut = Promise.allSettled(Array.from({ length: 3 }, () => ask(url, { input })));
      await expect
        .poll(async () => await scrape(url, 'kubembed_runtime_queue_inputs'), { timeout: 20_000 })
        .toBeGreaterThan(1000);
      runtime.child.kill('SIGTERM');
      expect(await runtime.exited).toBe(0);
      await cut;
      expect(runtime.output()).toMatch(/"cut":3,"message":"Requests were cut/);
    });

    it('is heeded while the model loads', async () => {
      await using store = await createTinyStore();
      await using runtime = startRuntime(store.store);
      await runtime.url;
      runtime.child.kill('SIGTERM');
      expect(await runtime.exited).toBe(0);
    });
  });

  describe('the termination message', () => {
    const failed = async (runtime: RuntimeProcess) => {
      expect(await runtime.exited).toBe(1);
      return await runtime.terminationMessage();
    };

    it('of fetch: what the operator records', async () => {
      await using store = await createTinyStore();
      await using runtime = startRuntime(store.store, { command: 'fetch', env: { HF_HUB_OFFLINE: '1' } });
      expect(await runtime.exited).toBe(0);
      expect(await runtime.terminationMessage()).toEqual({
        revision: TINY_REVISION,
        dimensions: TINY_DIMENSIONS,
        pooling: 'mean',
        maxTokens: TINY_MAX_TOKENS,
        architecture: 'BertModel',
      });
    });

    it('of fetch: no such model, and no hub', async () => {
      await using store = await createTinyStore();
      const env = { KUBEMBED_MODEL: 'test/none', HF_HUB_OFFLINE: '1' };
      const words = await failed(startRuntime(store.store, { command: 'fetch', env }));
      expect(words).toEqual({
        reason: expect.stringMatching(/^[A-Z]\w+$/),
        message: expect.stringContaining('test/none'),
      });
    });

    it('of serve: nothing was fetched', async () => {
      await using store = await createTinyStore();
      expect(await failed(startRuntime(store.store, { env: { KUBEMBED_REVISION: 'v2' } }))).toMatchObject({
        reason: 'WeightsMissing',
        message: expect.stringContaining('v2'),
      });
    });

    it('of serve: a setting that is not known, with every fault', async () => {
      await using store = await createTinyStore();
      const env = { KUBEMBED_POOLING: 'median', KUBEMBED_TREADS: '2' };
      const { message } = await failed(startRuntime(store.store, { env }));
      expect(message).toContain('KUBEMBED_TREADS: unknown');
      expect(message).toContain('KUBEMBED_POOLING');
    });

    it('of serve: the architecture has no builder', async () => {
      await using store = await createTinyStore();
      const path = join(store.snapshot, 'config.json');
      const config = JSON.parse(await readFile(path, 'utf8')) as object;
      await writeFile(path, JSON.stringify({ ...config, architectures: ['MambaModel'], model_type: 'mamba' }));
      expect(await failed(startRuntime(store.store))).toMatchObject({
        reason: 'UnsupportedArchitecture',
        message: expect.stringContaining('MambaModel'),
      });
    });

    it('of serve: weights that give no finite vector', async () => {
      await using store = await createTinyStore();
      const path = join(store.snapshot, 'model.safetensors');
      const weights = await readFile(path);
      // All bits set is not a number in float32.
      await writeFile(path, weights.fill(0xff, 8 + Number(weights.readBigUInt64LE(0))));
      expect(await failed(startRuntime(store.store))).toMatchObject({ reason: 'VectorCheckFailed' });
    });

    it('of serve: the port is taken', async () => {
      await using store = await createTinyStore();
      const other = createServer();
      await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
      const { port } = other.address() as AddressInfo;
      const { message } = await failed(startRuntime(store.store, { env: { KUBEMBED_PORT: String(port) } }));
      expect(message).toContain('EADDRINUSE');
      other.close();
    });
  });
});
