// Passing an endpoint's answer on to the client: the bytes as they are, the headers that concern it, errors made sure of.
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { Exchange } from '../../common/http/exchange.ts';
import { REVISION, TRUNCATED } from '../../common/http/headers.ts';
import { OpenAIError } from '../../common/openai/errors.ts';
import type { Answer, StreamedAnswer } from '../upstream/attempt.ts';

export interface PassedOn {
  /** The last bytes of the body, where the usage is; absent when it was cut. */
  readonly last: Buffer | undefined;
  readonly truncated: boolean;
}

const KEPT = ['content-type', 'retry-after', 'retry-after-ms', REVISION, TRUNCATED] as const;

const isErrorBody = (body: Buffer): boolean => {
  try {
    const value = JSON.parse(body.toString('utf8')) as { readonly error?: { readonly message?: unknown } } | null;
    return typeof value?.error?.message === 'string';
  } catch {
    return false;
  }
};

const writeHead = (response: ServerResponse, status: number, headers: IncomingHttpHeaders): void => {
  response.statusCode = status;
  for (const name of KEPT) {
    const value = headers[name];
    if (value !== undefined) response.setHeader(name, value);
  }
};

const answer = (response: ServerResponse, { status, headers, chunks }: Answer): Buffer | undefined => {
  writeHead(response, status, headers);
  const bytes = chunks.reduce((sum, { byteLength }) => sum + byteLength, 0);
  response.setHeader('content-length', bytes);
  for (const chunk of chunks.slice(0, -1)) response.write(chunk);
  response.end(chunks.at(-1));
  // The usage may have been cut in two by the last packets.
  return chunks.length > 1 ? Buffer.concat(chunks.slice(-2)) : chunks[0];
};

/** A 404 of ours is about the client's model; anything that is not the error object did not come from a runtime. */
const requireErrorBody = ({ status, chunks }: Answer): void => {
  if (isErrorBody(Buffer.concat(chunks))) return;
  throw new OpenAIError('bad_gateway', `The model's replica answered ${status} without saying why.`);
};

export const passOn = async (
  response: ServerResponse,
  outcome: Answer | StreamedAnswer,
  exchange: Exchange,
): Promise<PassedOn> => {
  const truncated = outcome.headers[TRUNCATED] !== undefined;
  if (outcome.kind === 'answer') {
    if (outcome.status >= 400) {
      requireErrorBody(outcome);
      exchange.facts['upstreamStatus'] = outcome.status;
    }
    return { last: answer(response, outcome), truncated };
  }
  writeHead(response, outcome.status, outcome.headers);
  const length = outcome.headers['content-length'];
  if (length !== undefined) response.setHeader('content-length', length);
  return { last: await outcome.pipe(response), truncated };
};
