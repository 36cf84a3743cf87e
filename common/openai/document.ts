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
  '401': 'The API key is missing or incorrect.',
  '403': 'The API key does not give access to the model.',
  '404': 'The model does not exist.',
  '405': 'The method is not allowed for this path; see the `Allow` header.',
  '408': 'The request was not received in time.',
  '413': 'The request body is too large.',
  '415': 'The request body is not JSON encoded in UTF-8.',
  '422': 'kubembed does not serve this model, whenever it is asked; the message says why.',
  '429': 'Too many requests are queued, or a rate limit was reached; retry after `Retry-After`.',
  '500': 'The embedding could not be computed.',
  '502': 'The replica that was asked gave no valid answer.',
  '503': 'The model is not ready; retry after `Retry-After`.',
  '504': 'The deadline of the request has passed.',
};

const reference = (name: string) => ({ $ref: `#/components/schemas/${name}` });
const json = (name: string) => ({ 'application/json': { schema: reference(name) } });
const errors = (...statuses: readonly string[]) =>
  Object.fromEntries(statuses.map((status) => [status, { description: ERRORS[status], content: json('Error') }]));
const text = (description: string) => ({ description, content: { 'text/plain': { schema: { type: 'string' } } } });

/** What the documentation pages offer to send. */
const example = (model: string) => ({ model, input: ['A cat naps in the sun.', 'The invoice is due on Friday.'] });

function embeddings(operationId: string, model: string) {
  return {
    operationId,
    tags: ['Embeddings'],
    summary: 'Create embeddings',
    requestBody: {
      required: true,
      content: { 'application/json': { schema: reference('CreateEmbeddingRequest'), example: example(model) } },
    },
    responses: {
      '200': {
        description: 'One unit vector per input, in order.',
        headers: {
          'x-request-id': { schema: { type: 'string' } },
          'x-kubembed-revision': { description: 'Commit hash of the model weights.', schema: { type: 'string' } },
          'x-kubembed-pooling': {
            description:
              'Which pooling is in use and which one the repository declares, where they differ; absent otherwise.',
            schema: { type: 'string' },
          },
          'x-kubembed-truncated-inputs': {
            description: "Number of inputs that were truncated to the model's limit; absent when there were none.",
            schema: { type: 'integer' },
          },
        },
        content: json('CreateEmbeddingResponse'),
      },
      ...errors('400', '401', '403', '404', '408', '413', '415', '422', '429', '500', '502', '503', '504'),
    },
  };
}

const pathsWith = (model: string) => ({
  '/v1/embeddings': { post: embeddings('createEmbedding', model) },
  '/embeddings': { post: embeddings('createEmbeddingWithoutPrefix', model) },
  '/v1/models': {
    get: {
      operationId: 'listModels',
      tags: ['Models'],
      summary: 'List the available models',
      responses: {
        '200': { description: 'The available models.', content: json('ListModelsResponse') },
        ...errors('401', '503'),
      },
    },
  },
  '/v1/models/{model}': {
    get: {
      operationId: 'retrieveModel',
      tags: ['Models'],
      summary: 'Retrieve a model',
      parameters: [
        {
          name: 'model',
          in: 'path',
          required: true,
          description: 'Name that the model is served under; a `/` in it may be percent-encoded or not.',
          schema: { type: 'string', minLength: 1 },
          example: model,
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
      summary: 'Liveness probe',
      responses: { '200': text('The process is alive.') },
    },
  },
  '/readyz': {
    get: {
      operationId: 'readyz',
      tags: ['Health'],
      summary: 'Readiness probe',
      responses: { '200': text('Ready to serve requests.'), ...errors('503') },
    },
  },
});

/** Where keys are asked for, only a router's internal port has it. */
const METRICS_PATHS = {
  '/metrics': {
    get: {
      operationId: 'metrics',
      tags: ['Health'],
      summary: 'Prometheus metrics',
      responses: { '200': text('Metrics in the Prometheus text format.') },
    },
  },
};

/** Served by routers that are told to show the status page. */
const STATUS_PATHS = {
  '/status.json': {
    get: {
      operationId: 'status',
      tags: ['Health'],
      summary: 'Status of models, replicas and traffic',
      responses: {
        '200': {
          description: 'The data behind the status page.',
          content: { 'application/json': { schema: { type: 'object' } } },
        },
        ...errors('401'),
      },
    },
  },
};

/** What the first line of the list that comes along names. */
const USUAL_MODEL = 'sentence-transformers/all-MiniLM-L6-v2';

/** `version` is the package's, `model` that of the examples. */
export function openApiDocument(
  version: string,
  { statusPage = false, metrics = true, model = USUAL_MODEL } = {},
): Record<string, unknown> {
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
    // Relative to this document, which may lie behind a prefix.
    servers: [{ url: '.' }],
    tags: [{ name: 'Embeddings' }, { name: 'Models' }, { name: 'Health' }],
    paths: { ...pathsWith(model), ...(metrics && METRICS_PATHS), ...(statusPage && STATUS_PATHS) },
    components: {
      schemas: { CreateEmbeddingRequest: requestJsonSchema(), ...Object.fromEntries(responses) },
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
    },
    // Keys are optional: a service without any takes every request.
    security: [{}, { bearer: [] }],
  };
}
