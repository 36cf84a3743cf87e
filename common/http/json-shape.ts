// How much a JSON text would become in memory, counted on its bytes: a body of millions of empty arrays needs gigabytes when parsed.
import { OpenAIError } from '../openai/errors.ts';

export interface ShapeLimits {
  /** Arrays, objects and object members. */
  readonly maxParts: number;
  /** Values separated by commas: mostly token ids, 8 bytes each and more than one copy. */
  readonly maxValues: number;
}

/** 2048 lists, some fields, and room for what clients add; more ids than 2048 inputs of 2048 tokens. */
export const SHAPE_LIMITS: ShapeLimits = { maxParts: 20_000, maxValues: 5_000_000 };

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const OPEN_OBJECT = 0x7b;

/**
 * Refuses a body beyond the limits. A heap limit of the thread is no guard: running out of it inside `JSON.parse` ends the
 * whole process.
 */
export function requireModestShape(body: Buffer, { maxParts, maxValues }: ShapeLimits): void {
  let parts = 0;
  let values = 0;
  for (let at = 0; at < body.length; at += 1) {
    const byte = body[at];
    if (byte === QUOTE) at = endOfString(body, at + 1);
    else if (byte === COMMA) values += 1;
    else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT || byte === COLON) parts += 1;
    if (parts > maxParts || values > maxValues) {
      throw new OpenAIError('invalid_request', 'The request body holds too many values.', { param: 'input' });
    }
  }
}

/** Where the string's closing quote is, or the end of the body. */
function endOfString(body: Buffer, from: number): number {
  for (let at = body.indexOf(QUOTE, from); at !== -1; at = body.indexOf(QUOTE, at + 1)) {
    let escapes = at;
    while (escapes > from && body[escapes - 1] === BACKSLASH) escapes -= 1;
    if ((at - escapes) % 2 === 0) return at;
  }
  return body.length;
}
