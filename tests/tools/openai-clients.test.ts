// The official clients, unmodified: what they send is understood, and what they get back they understand. Others: clients.test.ts.
import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { fakeVector } from '../helpers/openai-fake-engine.ts';
import { runPython } from '../helpers/openai-python.ts';
import { MODEL, startService } from '../helpers/openai-service.ts';
import type { Service } from '../helpers/openai-service.ts';

let service: Service;
let client: OpenAI;
beforeAll(async () => {
  service = await startService();
  client = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: 'any', maxRetries: 0 });
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
});
afterEach(() => {
  service.engine.failWith = undefined;
});

const vector = (input: string | number[], dimensions?: number) => [...fakeVector(input, 384, dimensions)];

describe('openai for Node', () => {
  const create = (fields: Partial<OpenAI.EmbeddingCreateParams>) =>
    client.embeddings.create({ model: MODEL, input: 'a', ...fields });
  const vectors = async (fields: Partial<OpenAI.EmbeddingCreateParams>) =>
    (await create(fields)).data.map(({ embedding }) => embedding);

  it('asks for base64 by itself and decodes it', async () => {
    expect(await vectors({ input: 'one text' })).toEqual([vector('one text')]);
    expect(service.engine.seen.at(-1)?.encoding).toBe('base64');
  });

  it('sends lists, token ids, dimensions and a format', async () => {
    expect(await vectors({ input: ['a', ''] })).toEqual([vector('a'), vector('')]);
    expect(await vectors({ input: [101, 102] })).toEqual([vector([101, 102])]);
    expect(await vectors({ input: [[101, 102], [5]] })).toEqual([vector([101, 102]), vector([5])]);
    expect(await vectors({ dimensions: 128 })).toEqual([vector('a', 128)]);
    expect(await vectors({ encoding_format: 'float' })).toEqual([vector('a')]);
  });

  it('reads usage, the request id and the models', async () => {
    const answer = await create({ input: 'a b c' });
    expect(answer.usage).toEqual({ prompt_tokens: 5, total_tokens: 5 });
    expect((answer as { _request_id?: string })._request_id).toMatch(/^[\w-]{36}$/);
    expect((await client.models.list()).data.map(({ id }) => id)).toEqual([MODEL]);
    expect((await client.models.retrieve(MODEL)).id).toBe(MODEL);
  });

  it.each([
    { name: 'bad request', fields: { dimensions: 5000 }, type: OpenAI.BadRequestError, facts: { param: 'dimensions' } },
    {
      name: 'unknown model',
      fields: { model: 'gpt-9' },
      type: OpenAI.NotFoundError,
      facts: { code: 'model_not_found' },
    },
    { name: 'full queue', failWith: 'queue_full', type: OpenAI.RateLimitError, facts: { code: 'rate_limit_exceeded' } },
    { name: 'failed worker', failWith: 'worker_failed', type: OpenAI.InternalServerError, facts: { status: 500 } },
    { name: 'drain', failWith: 'draining', type: OpenAI.InternalServerError, facts: { code: 'service_unavailable' } },
  ] as const)('maps a $name to its own error class', async (row) => {
    service.engine.failWith = 'failWith' in row ? row.failWith : undefined;
    const error: unknown = await create('fields' in row ? row.fields : {}).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(row.type);
    expect(error).toMatchObject({ ...row.facts, error: { message: expect.stringMatching(/./) } });
    expect((error as { requestID?: string }).requestID).toBeTruthy();
  });

  it('tries again after a full queue, when told to', async () => {
    service.engine.failWith = 'queue_full';
    const patient = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: 'any', maxRetries: 1 });
    const before = service.engine.seen.length;
    await expect(patient.embeddings.create({ model: MODEL, input: 'again' })).rejects.toBeInstanceOf(
      OpenAI.RateLimitError,
    );
    expect(service.engine.seen.length - before).toBe(2);
  });
});

describe('openai for Python', () => {
  const script = new URL('../helpers/openai-client.py', import.meta.url).pathname;

  it('gets the same vectors in every form, and its own error classes', async () => {
    const close = (numbers: number[]) => numbers.map((value) => expect.closeTo(value, 6) as number);
    const answer = (inputs: (string | number[])[], dimensions?: number) => ({
      vectors: inputs.map((input) => close(vector(input, dimensions))),
      indices: inputs.map((_, at) => at),
      model: MODEL,
    });
    expect(await runPython(script, `${service.url}/v1`, MODEL)).toEqual({
      string: { ...answer(['one text']), prompt_tokens: 4 },
      list: { ...answer(['a', 'b']), prompt_tokens: 6 },
      tokens: {
        ...answer([
          [101, 102],
          [101, 7592, 102],
        ]),
        prompt_tokens: 5,
      },
      float: { ...answer(['a']), prompt_tokens: 3 },
      dimensions: { ...answer(['a'], 128), prompt_tokens: 3 },
      models: [MODEL],
      model: MODEL,
      errors: {
        bad: { class: 'BadRequestError', code: null, param: 'dimensions', request_id: true },
        unknown: { class: 'NotFoundError', code: 'model_not_found', param: null, request_id: true },
      },
    });
  });
});
