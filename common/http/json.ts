// Bytes to a JSON value, with refusals that never quote the bytes.
import { isUtf8 } from 'node:buffer';
import { OpenAIError } from '../openai/errors.ts';

export function decodeJson(body: Uint8Array): unknown {
  if (!isUtf8(body)) throw new OpenAIError('invalid_request', 'The request body is not valid UTF-8.');
  try {
    const { buffer, byteOffset, byteLength } = body;
    return JSON.parse(Buffer.from(buffer, byteOffset, byteLength).toString('utf8')) as unknown;
  } catch (error) {
    // V8 quotes what it could not parse, and that may be a user's text.
    const position = error instanceof SyntaxError ? /at position \d+/.exec(error.message)?.[0] : undefined;
    const where = position === undefined ? '' : ` (${position})`;
    throw new OpenAIError('invalid_request', `We could not parse the JSON body of your request${where}.`);
  }
}
