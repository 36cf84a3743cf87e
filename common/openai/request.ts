// The request of `POST /v1/embeddings`: one zod schema that validates it and, through its JSON Schema, documents it.
import * as z from 'zod';
import { clip, isRecord } from '../util/text.ts';
import { OpenAIError } from './errors.ts';

/** Where it is taken; some clients leave the version out. */
export const EMBEDDING_PATHS: ReadonlySet<string> = new Set(['/v1/embeddings', '/embeddings']);

const input = z
  .unknown()
  .transform((value, context): readonly EmbeddingInput[] => {
    const inputs = normalizeInput(value);
    if (!('fault' in inputs)) return inputs;
    context.addIssue({ code: 'custom', message: inputs.fault });
    return z.NEVER;
  })
  .meta({
    description:
      'The inputs to embed: 1 to 2048 texts or lists of token ids. The response holds one vector per input, in the same order.',
  });

/** NVIDIA's words for it, in any case, beside the boolean. */
const TRUNCATE: ReadonlyMap<string, Truncate> = new Map<string, Truncate>([
  ['NONE', false],
  ['END', true],
  ['START', 'START'],
]);

/** A field that others do not know is no reason to refuse what they take. */
function readTruncate(value: unknown): Truncate | undefined {
  if (typeof value === 'boolean') return value;
  return typeof value === 'string' ? TRUNCATE.get(value.toUpperCase()) : undefined;
}

export const INPUT_TYPES = ['query', 'passage', 'document'] as const;
export type InputType = (typeof INPUT_TYPES)[number];

/** Fields that this service does not know are accepted and ignored: clients add their own. */
export const embeddingRequest = z.object({
  model: z.string().meta({
    description: 'Name that the model is served under: its Hugging Face id, unless others are chosen.',
    example: 'sentence-transformers/all-MiniLM-L6-v2',
  }),
  input,
  encoding_format: z
    .enum(['float', 'base64'])
    .nullish()
    .meta({ description: 'Vectors as JSON numbers, or as base64 of little-endian float32 values.', default: 'float' }),
  dimensions: z.int().min(1).nullish().meta({
    description:
      'Truncate vectors to this many leading numbers and normalize them to unit length. At most the dimensions of the model.',
  }),
  prompt_name: z.string().nullish().meta({
    description:
      "Not in OpenAI's API. Name of a prompt in the model's repository, put before each text. Default: the repository's default prompt, where it has one.",
    example: 'query',
  }),
  input_type: z.enum(INPUT_TYPES).nullish().meta({
    description:
      "Not in OpenAI's API. What the texts are: the model's prompt for that is put before each, where the repository has one. prompt_name wins over it.",
  }),
  user: z.unknown().optional().meta({ description: 'Accepted and ignored.' }),
  truncate: z.unknown().optional().meta({
    description:
      "Not in OpenAI's API. true or END: cut inputs that exceed the model's limit at their end, START: at their beginning; false or NONE: refuse them with 400. Default, and for any other value: as the EmbeddingModel specifies.",
  }),
});

/** The schema's JSON form; `input` prints the rules that its loop applies. */
export function requestJsonSchema(): Record<string, unknown> {
  const schema = jsonSchema(embeddingRequest);
  const properties = schema['properties'] as Readonly<Record<string, object>>;
  const input = { ...properties['input'], ...jsonSchema(documentedInput) };
  return { ...schema, properties: { ...properties, input }, required: ['model', 'input'] };
}

/** OpenAPI 3.1 names the dialect once for the whole document. */
function jsonSchema(schema: z.ZodType): Record<string, unknown> {
  const json: Record<string, unknown> = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  delete json['$schema'];
  return json;
}

/** Whether inputs that are too long are cut: at the end, or from the START. */
export type Truncate = boolean | 'START';

export interface EmbeddingRequest {
  readonly model: string;
  /** The field's every shape as a list; a request of one token list is a list of one. */
  readonly inputs: readonly EmbeddingInput[];
  readonly encoding: 'float' | 'base64';
  readonly dimensions: number | undefined;
  readonly truncate: Truncate | undefined;
  /** Of a prompt in the model's repository. */
  readonly promptName: string | undefined;
  readonly inputType: InputType | undefined;
}

/** Throws `OpenAIError` for everything that is not a request. */
export function parseEmbeddingRequest(body: unknown): EmbeddingRequest {
  if (!isRecord(body)) {
    throw invalid(`The request body must be a JSON object, but it is ${describeType(body)}.`);
  }
  const result = embeddingRequest.safeParse(body);
  if (!result.success) throw toError(result.error.issues, body);
  const { model, input: inputs, encoding_format, dimensions, truncate, prompt_name, input_type } = result.data;
  return {
    model,
    inputs,
    encoding: encoding_format ?? 'float',
    dimensions: dimensions ?? undefined,
    truncate: readTruncate(truncate),
    promptName: prompt_name ?? undefined,
    inputType: input_type ?? undefined,
  };
}

type Describe = (value: unknown, message: string) => OpenAIError;

const invalid = (message: string, param?: string): OpenAIError =>
  new OpenAIError('invalid_request', message, { param });

const typed =
  (param: string, expected: string): Describe =>
  (value) =>
    invalid(`Invalid type for '${param}': expected ${expected}, but got ${describeType(value)} instead.`, param);

// In the order in which a client should learn of them.
const FIELDS: Readonly<Record<string, Describe>> = {
  model: (value) =>
    value === undefined
      ? invalid('You must provide a model parameter.', 'model')
      : typed('model', 'a string')(value, ''),
  input: (value, message) => invalid(value === undefined ? "Missing required parameter: 'input'." : message, 'input'),
  encoding_format: (value) =>
    invalid(`Invalid value for 'encoding_format' = ${clip(plain(value))}. Supported values: ['float', 'base64'].`),
  dimensions: (value) =>
    typeof value === 'number' && Number.isInteger(value)
      ? invalid(`Invalid 'dimensions': ${value} is less than the minimum of 1 or not a safe integer.`, 'dimensions')
      : typed('dimensions', 'an integer')(value, ''),
  prompt_name: typed('prompt_name', 'a string'),
  input_type: (value) =>
    invalid(
      `Invalid value for 'input_type' = ${clip(plain(value))}. Supported values: ['${INPUT_TYPES.join("', '")}'].`,
      'input_type',
    ),
};

const plain = (value: unknown): string => (typeof value === 'string' ? value : describeType(value));

function toError(issues: readonly z.core.$ZodIssue[], body: Readonly<Record<string, unknown>>): OpenAIError {
  for (const [field, describe] of Object.entries(FIELDS)) {
    const issue = issues.find(({ path }) => path[0] === field);
    if (issue !== undefined) return describe(body[field], issue.message);
  }
  return invalid('The request body is not a valid embedding request.');
}

// The `input` field: what the document says of it, and the same rules as one flat loop, because an array may hold millions of ids.

export const MAX_INPUTS = 2048;
const MAX_TOKEN_ID = 2 ** 31 - 1;

/** Millions of them are packed: as arrays the collector would have to look at each. */
export type TokenIds = readonly number[] | Int32Array;

/** Text, or token ids that are used as they are. */
export type EmbeddingInput = string | TokenIds;

const tokenIds = z
  .array(z.int().min(0).max(MAX_TOKEN_ID))
  .min(1)
  .describe('Token ids, used as given: they must include the special tokens.');

/** The rules, as the OpenAPI document prints them. `normalizeInput` decides the same; a property test holds the two together. */
export const documentedInput = z.union([
  z.string().describe('One text.'),
  z.array(z.string()).min(1).max(MAX_INPUTS).describe('Texts.'),
  tokenIds,
  z.array(tokenIds).min(1).max(MAX_INPUTS).describe('Lists of token ids.'),
]);

/** One sentence that says what is wrong. */
export interface InputFault {
  readonly fault: string;
}

const SHAPES = 'a string, an array of strings, an array of token ids, or an array of arrays of token ids';

export function describeType(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'an integer' : 'a number';
  if (typeof value === 'object') return 'an object';
  return typeof value === 'undefined' ? 'nothing' : `a ${typeof value}`;
}

/** Every shape as a list of inputs, or what is wrong with it. */
export function normalizeInput(value: unknown): readonly EmbeddingInput[] | InputFault {
  if (typeof value === 'string') return [value];
  if (!Array.isArray(value))
    return { fault: `Invalid type for 'input': expected ${SHAPES}, but got ${describeType(value)} instead.` };
  const list: readonly unknown[] = value;
  if (list.length === 0) return { fault: "Invalid 'input': the array is empty." };
  if (typeof list[0] === 'number') {
    const fault = faultyIds(list, 'input');
    return fault === undefined ? [list as readonly number[]] : { fault };
  }
  if (list.length > MAX_INPUTS) {
    return {
      fault: `Invalid 'input': array too long. Expected an array with at most ${MAX_INPUTS} inputs, but got ${list.length} instead.`,
    };
  }
  const fault = typeof list[0] === 'string' ? faultyTexts(list) : faultyLists(list);
  return fault === undefined ? (list as readonly EmbeddingInput[]) : { fault };
}

function faultyTexts(list: readonly unknown[]): string | undefined {
  const at = list.findIndex((item) => typeof item !== 'string');
  return at === -1
    ? undefined
    : `Invalid type for 'input[${at}]': expected a string, but got ${describeType(list[at])} instead.`;
}

function faultyLists(list: readonly unknown[]): string | undefined {
  for (const [at, item] of list.entries()) {
    const name = `input[${at}]`;
    if (!Array.isArray(item)) {
      const expected = at === 0 ? 'a string or an array of token ids' : 'an array of token ids';
      return `Invalid type for '${name}': expected ${expected}, but got ${describeType(item)} instead.`;
    }
    if (item.length === 0) return `Invalid '${name}': the array is empty.`;
    const fault = faultyIds(item, name);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function faultyIds(ids: readonly unknown[], name: string): string | undefined {
  for (let at = 0; at < ids.length; at += 1) {
    const id = ids[at];
    if (typeof id !== 'number')
      return `Invalid type for '${name}[${at}]': expected a token id, but got ${describeType(id)} instead.`;
    if (!Number.isInteger(id) || id < 0 || id > MAX_TOKEN_ID) {
      return `Invalid '${name}[${at}]': ${id} is not a token id. ${FOREIGN_TOKENS}`;
    }
  }
  return undefined;
}

/** LangChain sends ids of OpenAI's own tokenizer unless told not to: plausible nonsense to any other model. */
export const FOREIGN_TOKENS =
  "Token ids must come from this model's own tokenizer; with LangChain's OpenAIEmbeddings set check_embedding_ctx_length=False to send text.";
