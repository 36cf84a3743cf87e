// The `input` field: what the document says of it, and the same rules as one flat loop, because an array may hold millions of ids.
import * as z from 'zod';

export const MAX_INPUTS = 2048;
const MAX_TOKEN_ID = 2 ** 31 - 1;

/** Text, or token ids that are used as they are. */
export type EmbeddingInput = string | readonly number[];

const tokenIds = z
  .array(z.int().min(0).max(MAX_TOKEN_ID))
  .min(1)
  .describe('Token ids, used as they are: they already hold the special tokens.');

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
