// Whatever was thrown, as the OpenAI error object on the wire.
import type { ServerResponse } from 'node:http';
import { OpenAIError } from '../openai/errors.ts';
import type { ErrorKind } from '../openai/errors.ts';

// Express and its router mark the request's own faults (a path that does not decode) with a status.
const BY_STATUS: Readonly<Record<number, ErrorKind>> = {
  400: 'invalid_request',
  404: 'unknown_url',
  413: 'request_too_large',
  415: 'unsupported_media_type',
};

/** A fault of ours keeps its words to the log: messages can hold paths, addresses or input. */
export function toOpenAIError(thrown: unknown): OpenAIError {
  if (thrown instanceof OpenAIError) return thrown;
  const status = typeof thrown === 'object' && thrown !== null && 'status' in thrown ? Number(thrown.status) : 500;
  const kind = BY_STATUS[status];
  if (kind !== undefined) return new OpenAIError(kind, 'The request could not be read.', { cause: thrown });
  return new OpenAIError('internal_error', 'The server had an error while processing your request. Sorry about that!', {
    cause: thrown,
  });
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value));
  response.statusCode = status;
  response.setHeader('content-type', 'application/json; charset=utf-8');
  response.setHeader('content-length', body.byteLength);
  response.end(body);
}
