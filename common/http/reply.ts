// Answers to a request: JSON, bytes that are ready, and whatever was thrown as the OpenAI error object.
import type { ServerResponse } from 'node:http';
import { OpenAIError, errorBody } from '../openai/errors.ts';
import type { ErrorKind } from '../openai/errors.ts';
import { byteLength, joinPieces } from '../openai/response.ts';
import { exchangeOf } from './exchange.ts';

const JSON_TYPE = 'application/json; charset=utf-8';
/** Up to this size an answer goes out at once, with its head. */
const SMALL_BYTES = 65_536;
/** What may wait in a connection for its reader: the answer is in memory either way, and each wait is a turn of the event loop. */
const MAX_PENDING_BYTES = 1024 * 1024;

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value));
  response.statusCode = status;
  response.setHeader('content-type', JSON_TYPE);
  response.setHeader('content-length', body.byteLength);
  response.end(body);
}

/** JSON unless its type was set. A large body is written at the pace of its reader; ends early, without a fault, when the client is gone. */
export async function sendBytes(
  response: ServerResponse,
  status: number,
  pieces: readonly Uint8Array[],
): Promise<void> {
  const bytes = byteLength(pieces);
  response.statusCode = status;
  if (!response.hasHeader('content-type')) response.setHeader('content-type', JSON_TYPE);
  response.setHeader('content-length', bytes);
  if (bytes <= SMALL_BYTES) {
    response.end(pieces.length === 1 ? pieces[0] : Buffer.concat(pieces, bytes));
    return;
  }
  for (const chunk of joinPieces(pieces)) {
    if (response.destroyed) return;
    if (!response.write(chunk) && response.writableLength > MAX_PENDING_BYTES) await drained(response);
  }
  response.end();
}

/** Resolves also when the client is gone. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
}

/** Once the head is out only a broken connection can tell; and whom nobody waits for is told nothing. */
export function sendError(response: ServerResponse, thrown: unknown): void {
  const error = toOpenAIError(thrown);
  exchangeOf(response).error = error;
  if (response.headersSent || error.kind === 'client_closed_request') {
    response.destroy();
    return;
  }
  for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value);
  sendJson(response, error.status, errorBody(error));
}

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
