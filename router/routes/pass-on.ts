// Passing an endpoint's answer on to the client: the bytes as they are, the headers that concern it, errors made sure of.
import type { IncomingHttpHeaders } from 'node:http';
import { REVISION, TRUNCATED } from '../../common/http/headers.ts';
import type { Reply } from '../../common/http/reply.ts';
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

const keepHeaders = (reply: Reply, headers: IncomingHttpHeaders): void => {
  for (const name of KEPT) {
    const value = headers[name];
    if (typeof value === 'string') reply.setHeader(name, value);
  }
};

/** Anything that is not the error object did not come from a runtime. */
const sendRefusal = (reply: Reply, { status, headers, chunks }: Answer): void => {
  reply.exchange.facts['upstreamStatus'] = status;
  const body = Buffer.concat(chunks);
  if (!isErrorBody(body)) {
    throw new OpenAIError('bad_gateway', `The model's replica answered ${status} without saying why.`);
  }
  keepHeaders(reply, headers);
  void reply.send(status, [body]);
};

/** The usage may have been cut in two by the last packets. */
const endOf = (chunks: readonly Buffer[]): Buffer | undefined =>
  chunks.length === 1 ? chunks[0] : Buffer.concat(chunks.slice(-2));

/** For an answer that is whole. */
export const readEnd = ({ headers, chunks }: Answer): PassedOn => ({
  last: endOf(chunks),
  truncated: headers[TRUNCATED] !== undefined,
});

export const passOn = (reply: Reply, answer: Answer): void | Promise<void> => {
  if (answer.status >= 400) {
    sendRefusal(reply, answer);
    return undefined;
  }
  keepHeaders(reply, answer.headers);
  return reply.send(answer.status, answer.chunks);
};

export const streamOn = async (reply: Reply, { status, headers, pipe }: StreamedAnswer): Promise<PassedOn> => {
  keepHeaders(reply, headers);
  const length = headers['content-length'];
  if (length !== undefined) reply.setHeader('content-length', length);
  return { last: await pipe(reply.stream(status)), truncated: headers[TRUNCATED] !== undefined };
};
