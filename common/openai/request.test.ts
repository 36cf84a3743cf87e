import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OpenAIError, errorBody } from './errors.ts';
import { documentedInput, normalizeInput, parseEmbeddingRequest, requestJsonSchema } from './request.ts';

const MODEL = 'org/model';

function failure(body: unknown): OpenAIError {
  try {
    parseEmbeddingRequest(body);
  } catch (error) {
    if (error instanceof OpenAIError) return error;
    throw error;
  }
  throw new Error('expected a refusal');
}

describe('parseEmbeddingRequest', () => {
  it('gives every input shape as a list', () => {
    const inputs = (input: unknown) => parseEmbeddingRequest({ model: MODEL, input }).inputs;
    expect(inputs('a')).toEqual(['a']);
    expect(inputs(['a', ''])).toEqual(['a', '']);
    expect(inputs([1, 2])).toEqual([[1, 2]]);
    expect(inputs([[1], [2, 3]])).toEqual([[1], [2, 3]]);
  });

  it('reads options, takes null for absent, and ignores fields it does not know', () => {
    expect(
      parseEmbeddingRequest({
        model: MODEL,
        input: 'a',
        encoding_format: 'base64',
        dimensions: 8,
        truncate: false,
        prompt_name: 'web',
        input_type: 'query',
        x: 1,
      }),
    ).toEqual({
      model: MODEL,
      inputs: ['a'],
      encoding: 'base64',
      dimensions: 8,
      truncate: false,
      promptName: 'web',
      inputType: 'query',
    });
    expect(
      parseEmbeddingRequest({
        model: MODEL,
        input: 'a',
        encoding_format: null,
        dimensions: null,
        user: null,
        truncate: null,
        prompt_name: null,
        input_type: null,
      }),
    ).toEqual({ model: MODEL, inputs: ['a'], encoding: 'float' });
  });

  it.each([
    [true, true],
    [false, false],
    ['NONE', false],
    ['END', true],
    ['START', 'START'],
    ['start', 'START'],
    ['yes', undefined],
    [5, undefined],
    [{}, undefined],
    ['__proto__', undefined],
  ])('takes truncate: %j', (truncate, expected) => {
    expect(parseEmbeddingRequest({ model: MODEL, input: 'a', truncate }).truncate).toBe(expected);
  });

  it.each([5, [], {}, true])('refuses nothing for what it ignores: user %j', (user) => {
    expect(parseEmbeddingRequest({ model: MODEL, input: 'a', user }).inputs).toEqual(['a']);
  });

  it.each([
    [{ input: 'a' }, 'model'],
    [{ model: 1, input: 'a' }, 'model'],
    [{ model: MODEL }, 'input'],
    [{ model: MODEL, input: [] }, 'input'],
    [{ model: MODEL, input: [[]] }, 'input'],
    [{ model: MODEL, input: ['a', 1] }, 'input'],
    [{ model: MODEL, input: [1, 'a'] }, 'input'],
    [{ model: MODEL, input: [[1], 'a'] }, 'input'],
    [{ model: MODEL, input: [[1], ['a']] }, 'input'],
    [{ model: MODEL, input: [-1] }, 'input'],
    [{ model: MODEL, input: [1.5] }, 'input'],
    [{ model: MODEL, input: [2 ** 31] }, 'input'],
    [{ model: MODEL, input: null }, 'input'],
    [{ model: MODEL, input: 5 }, 'input'],
    [{ model: MODEL, input: {} }, 'input'],
    [{ model: MODEL, input: [null] }, 'input'],
    [{ model: MODEL, input: Array<string>(2049).fill('a') }, 'input'],
    [{ model: MODEL, input: 'a', dimensions: 0 }, 'dimensions'],
    [{ model: MODEL, input: 'a', prompt_name: 3 }, 'prompt_name'],
    [{ model: MODEL, input: 'a', input_type: 'picture' }, 'input_type'],
    [{ model: MODEL, input: 'a', dimensions: -1 }, 'dimensions'],
    [{ model: MODEL, input: 'a', dimensions: 1.5 }, 'dimensions'],
    [{ model: MODEL, input: 'a', dimensions: '8' }, 'dimensions'],
    [{ model: MODEL, input: 'a', encoding_format: 'int8' }, null],
    [[], null],
    ['x', null],
    [null, null],
  ])('refuses %j, naming %s', (body, param) => {
    const error = failure(body);
    expect(error.status).toBe(400);
    expect(errorBody(error).error).toEqual({
      message: expect.stringMatching(/./),
      type: 'invalid_request_error',
      param,
      code: null,
    });
  });

  it('quotes the wrong encoding and the foreign token id as documented', () => {
    expect(failure({ model: MODEL, input: 'a', encoding_format: 'int8' }).message).toBe(
      "Invalid value for 'encoding_format' = int8. Supported values: ['float', 'base64'].",
    );
    expect(failure({ model: MODEL, input: [[5], [6, -7]] }).message).toMatch(
      /input\[1\]\[1\]'.*-7.*check_embedding_ctx_length=False/,
    );
  });

  it('is not fooled by a __proto__ key', () => {
    const body: unknown = JSON.parse('{"__proto__":{"model":"x","input":"y","dimensions":3}}');
    expect(failure(body).param).toBe('model');
  });

  it('turns any JSON value into a request or a 400', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (input, encoding_format, dimensions) => {
        try {
          expect(
            parseEmbeddingRequest({ model: MODEL, input, encoding_format, dimensions }).inputs.length,
          ).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toBeInstanceOf(OpenAIError);
          expect((error as OpenAIError).status).toBe(400);
        }
      }),
    );
  });
});

describe('normalizeInput', () => {
  const id = fc.oneof(fc.integer({ min: -3, max: 2 ** 31 + 2 }), fc.double(), fc.constant(2 ** 31 - 1));
  const leaf = fc.oneof(fc.string(), id, fc.constant(null), fc.boolean(), fc.constant({}));
  const tree = fc.oneof(
    leaf,
    fc.array(leaf, { maxLength: 4 }),
    fc.array(fc.array(leaf, { maxLength: 3 }), { maxLength: 3 }),
    fc.array(id),
    fc.array(fc.string()),
  );

  it('accepts exactly what the documented schema accepts', () => {
    fc.assert(
      fc.property(tree, (value) => {
        expect('fault' in normalizeInput(value)).toBe(!documentedInput.safeParse(value).success);
      }),
      { numRuns: 2000 },
    );
  });

  it('agrees with the document at the limit', () => {
    for (const length of [2048, 2049]) {
      for (const value of [Array<string>(length).fill('a'), Array.from({ length }, () => [1])]) {
        expect('fault' in normalizeInput(value)).toBe(!documentedInput.safeParse(value).success);
      }
    }
  });
});

describe('requestJsonSchema', () => {
  it('prints the four shapes of input and what is required', () => {
    const schema = requestJsonSchema() as {
      required: string[];
      properties: Record<string, { anyOf?: unknown[]; description?: string }>;
    };
    expect(schema.required).toEqual(['model', 'input']);
    expect(schema.properties['input']?.anyOf).toHaveLength(4);
    expect(Object.keys(schema.properties)).toEqual([
      'model',
      'input',
      'encoding_format',
      'dimensions',
      'prompt_name',
      'input_type',
      'user',
      'truncate',
    ]);
    expect(schema.properties['truncate']?.description).toContain("Not in OpenAI's API");
  });
});
