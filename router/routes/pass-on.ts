// Passing an endpoint's answer on to the client: the bytes as they are, the headers that concern it, errors made sure of.
import type { IncomingHttpHeaders } from 'node:http';
import type { Response } from 'express';
import { exchangeOf } from '../../common/http/exchange.ts';
import { REVISION, TRUNCATED } from '../../common/http/headers.ts';
import { sendBytes } from '../../common/http/reply.ts';
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

const keepHeaders = (response: Response, headers: IncomingHttpHeaders): void => {
  for (const name of KEPT) {
    const value = headers[name];
    if (typeof value === 'string') response.setHeader(name, value);
  }
};

/** Anything that is not the error object did not come from a runtime. */
const sendRefusal = async (response: Response, { status, headers, chunks }: Answer): Promise<void> => {
  exchangeOf(response).facts['upstreamStatus'] = status;
  const body = Buffer.concat(chunks);
  if (!isErrorBody(body)) {
    throw new OpenAIError('bad_gateway', `The model's replica answered ${status} without saying why.`);
  }
  keepHeaders(response, headers);
  await sendBytes(response, status, [body]);
};

/** The usage may have been cut in two by the last packets. */
const endOf = (chunks: readonly Buffer[]): Buffer | undefined =>
  chunks.length === 1 ? chunks[0] : Buffer.concat(chunks.slice(-2));

/** For an answer that is whole. */
export const readEnd = ({ headers, chunks }: Answer): PassedOn => ({
  last: endOf(chunks),
  truncated: headers[TRUNCATED] !== undefined,
});

export const passOn = async (response: Response, answer: Answer): Promise<void> => {
  if (answer.status >= 400) {
    await sendRefusal(response, answer);
    return;
  }
  keepHeaders(response, answer.headers);
  await sendBytes(response, answer.status, answer.chunks);
};

export const streamOn = async (response: Response, { status, headers, pipe }: StreamedAnswer): Promise<PassedOn> => {
  keepHeaders(response, headers);
  const length = headers['content-length'];
  if (length !== undefined) response.setHeader('content-length', length);
  response.statusCode = status;
  return { last: await pipe(response), truncated: headers[TRUNCATED] !== undefined };
};
