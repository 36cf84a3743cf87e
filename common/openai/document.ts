// The OpenAPI 3.1 document, built from the same schemas that validate requests and, in tests, responses.
import * as z from 'zod';
import { requestJsonSchema } from './request.ts';

const errorSchema = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
});

const embeddingsSchema = z.object({
  object: z.literal('list'),
  data: z.array(
    z.object({
      object: z.literal('embedding'),
      index: z.int().min(0),
      embedding: z.union([z.array(z.number()), z.string()]),
    }),
  ),
  model: z.string(),
  usage: z.object({ prompt_tokens: z.int().min(0), total_tokens: z.int().min(0) }),
});

const modelSchema = z.looseObject({
  id: z.string(),
  object: z.literal('model'),
  created: z.int(),
  owned_by: z.string(),
});

const modelsSchema = z.object({ object: z.literal('list'), data: z.array(modelSchema) });

/** What a client can get back, by name. */
export const RESPONSE_SCHEMAS = {
  Error: errorSchema,
  CreateEmbeddingResponse: embeddingsSchema,
  Model: modelSchema,
  ListModelsResponse: modelsSchema,
} as const;

const ERRORS: Readonly<Record<string, string>> = {
  '400': 'The request is not valid.',
  '401': 'The API key is missing or wrong.',
  '404': 'The model does not exist.',
  '405': 'The method is not allowed here; `Allow` says which is.',
  '408': 'The request did not arrive in time.',
  '413': 'The body is too large.',
  '415': 'The body is not JSON in UTF-8.',
  '429': 'Too much work is waiting; try again after `Retry-After`.',
  '500': 'The vector could not be made.',
  '503': 'The model is not ready; try again after `Retry-After`.',
  '504': 'The deadline passed.',
};

const reference = (name: string) => ({ $ref: `#/components/schemas/${name}` });
const json = (name: string) => ({ 'application/json': { schema: reference(name) } });
const errors = (...statuses: readonly string[]) =>
  Object.fromEntries(statuses.map((status) => [status, { description: ERRORS[status], content: json('Error') }]));
const text = (description: string) => ({ description, content: { 'text/plain': { schema: { type: 'string' } } } });

function embeddings(operationId: string) {
  return {
    operationId,
    tags: ['Embeddings'],
    summary: 'Make embedding vectors',
    requestBody: { required: true, content: json('CreateEmbeddingRequest') },
    responses: {
      '200': {
        description: 'One unit vector per input, in order.',
        headers: {
          'x-request-id': { schema: { type: 'string' } },
          'x-kubembed-revision': { description: 'Commit of the weights.', schema: { type: 'string' } },
          'x-kubembed-truncated-inputs': {
            description: "How many inputs were cut to the model's limit; absent when none was.",
            schema: { type: 'integer' },
          },
        },
        content: json('CreateEmbeddingResponse'),
      },
      ...errors('400', '401', '404', '408', '413', '415', '429', '500', '503', '504'),
    },
  };
}

const PATHS = {
  '/v1/embeddings': { post: embeddings('createEmbedding') },
  '/embeddings': { post: embeddings('createEmbeddingWithoutPrefix') },
  '/v1/models': {
    get: {
      operationId: 'listModels',
      tags: ['Models'],
      summary: 'List the models served',
      responses: {
        '200': { description: 'The models.', content: json('ListModelsResponse') },
        ...errors('401', '503'),
      },
    },
  },
  '/v1/models/{model}': {
    get: {
      operationId: 'retrieveModel',
      tags: ['Models'],
      summary: 'Show one model',
      parameters: [
        {
          name: 'model',
          in: 'path',
          required: true,
          description: 'Id or alias; a `/` in it may be escaped or not.',
          schema: { type: 'string', minLength: 1 },
          example: 'sentence-transformers/all-MiniLM-L6-v2',
        },
      ],
      responses: {
        '200': { description: 'The model.', content: json('Model') },
        ...errors('400', '401', '404', '503'),
      },
    },
  },
  '/healthz': {
    get: {
      operationId: 'healthz',
      tags: ['Health'],
      summary: 'The process turns',
      responses: { '200': text('It does.') },
    },
  },
  '/readyz': {
    get: {
      operationId: 'readyz',
      tags: ['Health'],
      summary: 'Requests are welcome',
      responses: { '200': text('They are.'), ...errors('503') },
    },
  },
  '/metrics': {
    get: {
      operationId: 'metrics',
      tags: ['Health'],
      summary: 'Prometheus metrics',
      responses: { '200': text('Metrics.') },
    },
  },
};

/** Served by routers that are told to show the status page. */
const STATUS_PATHS = {
  '/status.json': {
    get: {
      operationId: 'status',
      tags: ['Health'],
      summary: 'Models, replicas and traffic in numbers',
      responses: {
        '200': {
          description: 'What the status page shows.',
          content: { 'application/json': { schema: { type: 'object' } } },
        },
        ...errors('401'),
      },
    },
  },
};

/** `version` is the package's. */
export function openApiDocument(version: string, { statusPage = false } = {}): Record<string, unknown> {
  const responses = Object.entries(RESPONSE_SCHEMAS).map(([name, schema]) => {
    const body: Record<string, unknown> = z.toJSONSchema(schema);
    delete body['$schema'];
    return [name, body] as const;
  });
  return {
    openapi: '3.1.0',
    info: {
      title: 'kubembed',
      version,
      description: 'Text embeddings, compatible with the OpenAI API.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: [{ name: 'Embeddings' }, { name: 'Models' }, { name: 'Health' }],
    paths: statusPage ? { ...PATHS, ...STATUS_PATHS } : PATHS,
    components: {
      schemas: { CreateEmbeddingRequest: requestJsonSchema(), ...Object.fromEntries(responses) },
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
    },
    // Keys are optional: a service without any takes every request.
    security: [{}, { bearer: [] }],
  };
}
