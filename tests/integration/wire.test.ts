// The OpenAI wire contract, rule by rule, over real sockets against the runtime's application.
import { request as httpRequest } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { RESPONSE_SCHEMAS } from '../../common/openai/document.ts';
import { euclideanNorm, vectorFromBytes } from '../../common/openai/response.ts';
import { fakeVector } from '../helpers/openai-fake-engine.ts';
import { IDENTITY, MODEL, REVISION, SERVED, scrape, startService } from '../helpers/openai-service.ts';
import type { Service } from '../helpers/openai-service.ts';

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
});
afterEach(() => {
  service.engine.failWith = undefined;
  service.engine.delayMs = 0;
});

interface Body {
  readonly data: { readonly index: number; readonly embedding: number[] | string }[];
  readonly model: string;
  readonly usage: object;
  readonly error: { readonly message: string };
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Body;
}

async function send(path: string, init?: RequestInit): Promise<Answer> {
  const response = await fetch(`${service.url}${path}`, init);
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? ({} as Body) : (JSON.parse(text) as Body),
  };
}

const post = (body: unknown, headers: Record<string, string> = {}, path = '/v1/embeddings') =>
  send(path, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers: { 'content-type': 'application/json', ...headers },
  });
const embed = (fields: object, headers?: Record<string, string>) =>
  post({ model: MODEL, input: 'a', ...fields }, headers);

function expectError(
  { status, body, headers }: Answer,
  expected: { status: number; type?: string; param?: string | null; code?: string | null },
): void {
  expect(status).toBe(expected.status);
  expect(RESPONSE_SCHEMAS.Error.parse(body)).toEqual(body);
  expect(Object.keys(body.error)).toEqual(['message', 'type', 'param', 'code']);
  expect(body.error).toMatchObject({
    type: expected.type ?? 'invalid_request_error',
    param: expected.param ?? null,
    code: expected.code ?? null,
  });
  expect(headers.get('x-request-id')).toBeTruthy();
}

const vectors = (answer: Answer): number[][] => answer.body.data.map(({ embedding }) => embedding as number[]);
const expected = (input: string | number[], dimensions?: number) => [...fakeVector(input, 384, dimensions)];

describe('what is answered', () => {
  it('R1: one text gives one embedding with every field', async () => {
    const answer = await embed({ input: 'one text' });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      object: 'list',
      data: [{ object: 'embedding', index: 0, embedding: expected('one text') }],
      model: MODEL,
      usage: { prompt_tokens: 4, total_tokens: 4 },
    });
    expect(RESPONSE_SCHEMAS.CreateEmbeddingResponse.parse(answer.body)).toEqual(answer.body);
  });

  it('R2, R25: up to 2048 texts, in order, none missing', async () => {
    const input = Array.from({ length: 2048 }, (_, at) => `text ${at}`);
    const answer = await embed({ input });
    expect(answer.body.data.map(({ index }) => index)).toEqual(input.map((_, at) => at));
    expect(vectors(answer)[2047]).toEqual(expected('text 2047'));
    expect(vectors(answer)[1000]).toEqual(expected('text 1000'));
  });

  it('R3: a list of token ids is one input', async () => {
    expect(vectors(await embed({ input: [101, 7592, 102] }))).toEqual([expected([101, 7592, 102])]);
  });

  it('R4: lists of token ids are inputs', async () => {
    expect(
      vectors(
        await embed({
          input: [
            [101, 102],
            [101, 7592, 102],
          ],
        }),
      ),
    ).toEqual([expected([101, 102]), expected([101, 7592, 102])]);
  });

  it('R7: an empty text is embedded', async () => {
    expect(vectors(await embed({ input: ['', 'a'] }))).toEqual([expected(''), expected('a')]);
  });

  it('R8: an over-long text is cut and counted', async () => {
    const before = (await scrape(service.url, 'kubembed_runtime_truncated_inputs_total')) ?? 0;
    const answer = await embed({ input: ['word '.repeat(300), 'a'] });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-kubembed-truncated-inputs')).toBe('1');
    expect(await scrape(service.url, 'kubembed_runtime_truncated_inputs_total')).toBe(before + 1);
    expect((await embed({})).headers.has('x-kubembed-truncated-inputs')).toBe(false);
  });

  it('R10: numbers unless asked otherwise', async () => {
    for (const encoding_format of ['float', undefined, null])
      expect(vectors(await embed({ encoding_format }))).toEqual([expected('a')]);
  });

  it('R11: base64 is the same vector in little-endian float32', async () => {
    const answer = await embed({ encoding_format: 'base64' });
    const text = answer.body.data[0]!.embedding as string;
    expect(text).toMatch(/^[A-Za-z0-9+/]+={0,2}$/);
    expect(Buffer.from(text, 'base64').byteLength).toBe(4 * 384);
    expect([...vectorFromBytes(Buffer.from(text, 'base64'))]).toEqual(expected('a'));
  });

  it.each([1, 128, 383, 384])('R13: %d dimensions, unit length', async (dimensions) => {
    const [vector] = vectors(await embed({ dimensions }));
    expect(vector).toHaveLength(dimensions);
    expect(euclideanNorm(vector!)).toBeCloseTo(1, 5);
  });

  it.each([
    { user: 'someone' },
    { user: null },
    { dimensions: null, prefix: 'query: ', extra: { deep: [1] }, input_type: 'query' },
  ])('R15, R16: takes %j and ignores it', async (fields) => {
    expect(vectors(await embed(fields))).toEqual([expected('a')]);
  });

  it('R24: a request id is made, or echoed when given', async () => {
    expect((await embed({})).headers.get('x-request-id')).toMatch(/^[\w-]{36}$/);
    expect((await embed({}, { 'x-request-id': 'req_123' })).headers.get('x-request-id')).toBe('req_123');
  });

  it('R26: lists the model, and finds it by its id, escaped or not', async () => {
    const list = (await send('/v1/models')).body;
    expect(RESPONSE_SCHEMAS.ListModelsResponse.parse(list)).toEqual(list);
    expect(list).toMatchObject({
      object: 'list',
      data: [
        {
          id: MODEL,
          object: 'model',
          created: 1_700_000_000,
          owned_by: 'sentence-transformers',
          dimensions: 384,
          revision: REVISION,
        },
      ],
    });
    for (const id of [MODEL, encodeURIComponent(MODEL)])
      expect((await send(`/v1/models/${id}`)).body).toEqual(list.data[0]);
    expectError(await send('/v1/models/other/model'), { status: 404, code: 'model_not_found' });
  });

  it('R27: without /v1 as well', async () => {
    expect(vectors(await post({ model: MODEL, input: 'a' }, {}, '/embeddings'))).toEqual([expected('a')]);
  });

  it('R28: usage counts what ran', async () => {
    expect((await embed({ input: ['word '.repeat(300), 'a b'] })).body.usage).toEqual({
      prompt_tokens: 260,
      total_tokens: 260,
    });
    expect((await embed({ input: [[5, 6, 7]] })).body.usage).toEqual({ prompt_tokens: 3, total_tokens: 3 });
  });

  it('tells the router revision, capacity and backlog', async () => {
    const { headers } = await embed({});
    expect(headers.get('x-kubembed-revision')).toBe(REVISION);
    expect(headers.get('x-kubembed-identity')).toBe(IDENTITY);
    expect(headers.get('x-kubembed-capacity-tokens-per-second')).toBe('1000');
    expect(headers.get('x-kubembed-backlog-tokens')).toBe('0');
  });
});

describe('what is refused', () => {
  it.each([
    ['2049 inputs', Array<string>(2049).fill('a')],
    ['an empty array', []],
    ['an empty list of ids', [[]]],
    ['texts and ids', ['a', 1]],
    ['ids and texts', [1, 'a']],
    ['null', null],
    ['a number', 5],
    ['an object', { text: 'a' }],
    ['nothing', undefined],
    ['R6: a negative id', [-1]],
    ['R6: a broken id', [[1, 1.5]]],
  ])('R5: %s as input', async (_name, input) => {
    expectError(await post({ model: MODEL, input }), { status: 400, param: 'input' });
  });

  it('R6: an id outside of the vocabulary', async () => {
    const answer = await embed({ input: [[1], [30_522]] });
    expectError(answer, { status: 400, param: 'input' });
    expect(answer.body.error.message).toMatch(/30522.*vocabulary of 30522.*check_embedding_ctx_length=False/);
  });

  it('R8: an over-long text when asked to be strict, by request or by resource', async () => {
    const input = 'word '.repeat(300);
    const answer = await embed({ input, truncate: false });
    expectError(answer, { status: 400 });
    expect(answer.body.error.message).toBe(
      "This model's maximum context length is 256 tokens, however you requested 302 tokens (302 in your prompt; 0 for the completion). Please reduce your prompt; or completion length.",
    );
    await using strict = await startService({ overlongInput: 'error' });
    const status = async (fields: object) =>
      (
        await fetch(`${strict.url}/v1/embeddings`, {
          method: 'POST',
          body: JSON.stringify({ model: MODEL, input, ...fields }),
          headers: { 'content-type': 'application/json' },
        })
      ).status;
    expect([await status({}), await status({ truncate: true })]).toEqual([400, 200]);
  });

  it('R9: more tokens than can ever be queued', async () => {
    await using small = await startService({ maxQueueTokens: 100 });
    const response = await fetch(`${small.url}/v1/embeddings`, {
      method: 'POST',
      body: JSON.stringify({ model: MODEL, input: 'word '.repeat(150) }),
      headers: { 'content-type': 'application/json' },
    });
    const answer = { status: response.status, headers: response.headers, body: (await response.json()) as Body };
    expectError(answer, { status: 400, type: 'max_tokens_per_request', code: 'max_tokens_per_request' });
    expect(answer.headers.has('retry-after')).toBe(false);
  });

  it('R12: an unknown encoding', async () => {
    const answer = await embed({ encoding_format: 'int8' });
    expectError(answer, { status: 400 });
    expect(answer.body.error.message).toBe(
      "Invalid value for 'encoding_format' = int8. Supported values: ['float', 'base64'].",
    );
  });

  it.each([0, -1, 1.5, '8', 385])('R14: %j dimensions', async (dimensions) => {
    expectError(await embed({ dimensions }), { status: 400, param: 'dimensions' });
  });

  it('a prompt that the model does not have is refused with those it has', async () => {
    for (const known of ['query', 'document', null]) expect((await embed({ prompt_name: known })).status).toBe(200);
    expect((await embed({ input_type: 'passage' })).status).toBe(200);
    const answer = await embed({ prompt_name: 'other' });
    expectError(answer, { status: 400, param: 'prompt_name' });
    expect(answer.body.error.message).toContain('it has query, document');
    expectError(await embed({ input_type: 'other' }), { status: 400, param: 'input_type' });
  });

  it('R15: a user that is no string is ignored like one that is', async () => {
    expect((await embed({ user: 5 })).status).toBe(200);
  });

  it('R17: no model, a model that is no string, an unknown model', async () => {
    expectError(await post({ input: 'a' }), { status: 400, param: 'model' });
    expectError(await embed({ model: 5 }), { status: 400, param: 'model' });
    const answer = await embed({ model: 'gpt-9' });
    expectError(answer, { status: 404, code: 'model_not_found' });
    expect(answer.body.error.message).toBe('The model `gpt-9` does not exist or you do not have access to it.');
  });

  it('R18: bad JSON, wrong type, wrong method, wrong path', async () => {
    expectError(await post('{"model":'), { status: 400 });
    expectError(await post('{}', { 'content-type': 'text/plain' }), { status: 415, code: 'unsupported_media_type' });
    const wrong = await send('/v1/embeddings');
    expectError(wrong, { status: 405, code: 'method_not_allowed' });
    expect(wrong.headers.get('allow')).toBe('POST, OPTIONS');
    expectError(await send('/v1/completions', { method: 'POST' }), { status: 404, code: 'unknown_url' });
  });

  it.each([
    ['queue_full', 429, { type: 'requests', code: 'rate_limit_exceeded' }],
    ['draining', 503, { type: 'server_error', code: 'service_unavailable' }],
    ['worker_failed', 500, { type: 'server_error', code: 'internal_error' }],
    ['not_finite', 500, { type: 'server_error', code: 'internal_error' }],
    ['bug', 500, { type: 'server_error', code: 'internal_error' }],
  ] as const)('R19, R21: %s is a %d that counts once', async (code, status, wire) => {
    const reason = `kubembed_runtime_errors_total{reason="${wire.code}"}`;
    const before = (await scrape(service.url, reason)) ?? 0;
    service.engine.failWith = code;
    const answer = await embed({});
    expectError(answer, { status, ...wire });
    expect(answer.headers.has('retry-after')).toBe(status !== 500);
    expect(answer.headers.has('retry-after-ms')).toBe(status !== 500);
    await expect.poll(() => scrape(service.url, reason)).toBe(before + 1);
  });

  it('R22: 503 while it starts and while it drains, with an open /healthz', async () => {
    await using fresh = await startService({ ready: false });
    const status = async (path: string, init?: RequestInit) => {
      const response = await fetch(`${fresh.url}${path}`, init);
      return [response.status, response.headers.get('retry-after')];
    };
    const ask = {
      method: 'POST',
      body: JSON.stringify({ model: MODEL, input: 'a' }),
      headers: { 'content-type': 'application/json' },
    };
    const survey = async () => [await status('/healthz'), await status('/readyz'), await status('/v1/embeddings', ask)];
    expect(await survey()).toEqual([
      [200, null],
      [503, '1'],
      [503, '1'],
    ]);
    fresh.lifecycle.becomeReady({ engine: fresh.engine, ...SERVED });
    expect(await survey()).toEqual([
      [200, null],
      [200, null],
      [200, null],
    ]);
    fresh.lifecycle.startDraining();
    expect(await survey()).toEqual([
      [200, null],
      [503, '1'],
      [503, '1'],
    ]);
  });

  it('R23: a client that leaves takes its work with it', async () => {
    service.engine.delayMs = 60_000;
    const before = service.engine.aborted;
    const leaving = httpRequest(`${service.url}/v1/embeddings`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    });
    leaving.on('error', () => undefined);
    leaving.end(JSON.stringify({ model: MODEL, input: 'leaving' }));
    await expect.poll(() => service.engine.seen.at(-1)?.inputs).toEqual(['leaving']);
    leaving.destroy();
    await expect.poll(() => service.engine.aborted).toBe(before + 1);
  });

  it('gives up at the deadline that the router passed on', async () => {
    service.engine.delayMs = 60_000;
    expectError(await embed({}, { 'x-kubembed-deadline-ms': '20' }), {
      status: 504,
      type: 'server_error',
      code: 'deadline_exceeded',
    });
  });

  it('takes any alias from a router, and sends back what is meant for another model', async () => {
    const routed = await embed(
      { model: 'text-embedding-3-small' },
      { 'x-kubembed-model': MODEL, 'x-kubembed-priority': 'bulk' },
    );
    expect([routed.status, routed.body.model]).toEqual([200, MODEL]);
    expect(service.engine.seen.at(-1)?.priority).toBe('bulk');
    expectError(await embed({}, { 'x-kubembed-model': 'other/model' }), { status: 421, code: 'misdirected_request' });
  });
});

describe('what is written down', () => {
  it('logs one line with tokens and stages, never the text', async () => {
    await embed({ input: ['hunter2 is the text', 'b'] }, { 'x-request-id': 'line-1', authorization: 'Bearer hunter2' });
    await expect
      .poll(() => service.lines.filter(({ requestId }) => requestId === 'line-1'))
      .toEqual([
        expect.objectContaining({
          level: 'info',
          status: 200,
          inputs: 2,
          tokens: 9,
          queueMs: 1,
          tokenizeMs: 2,
          inferMs: 3,
          serializeMs: 4,
        }),
      ]);
    expect(JSON.stringify(service.lines)).not.toContain('hunter2');
  });

  it('describes the model and its engine in metrics', async () => {
    const info = `kubembed_runtime_model_info{model="${MODEL}",revision="${REVISION}",architecture="BertModel",pooling="mean",precision="float32",device="cpu",workers="1",threads="1",dimensions="384"}`;
    expect(await scrape(service.url, info)).toBe(1);
    expect(await scrape(service.url, 'kubembed_runtime_capacity_tokens_per_second')).toBe(1000);
    expect(await scrape(service.url, 'kubembed_runtime_computed_tokens_total')).toBeGreaterThan(0);
    expect(await scrape(service.url, 'nodejs_eventloop_lag_p99_seconds')).toBeGreaterThanOrEqual(0);
  });
});
