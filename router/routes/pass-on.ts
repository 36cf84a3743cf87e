// Passing an endpoint's answer on to the client: the bytes as they are, the headers that concern it, errors made sure of.
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { Exchange } from '../../common/http/exchange.ts';
import { REVISION, TRUNCATED } from '../../common/http/headers.ts';
import { writeJsonPieces } from '../../common/http/write.ts';
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

/** Anything that is not the error object did not come from a runtime. */
const sendRefusal = (response: ServerResponse, { status, chunks }: Answer): void => {
  const body = Buffer.concat(chunks);
  if (!isErrorBody(body)) {
    throw new OpenAIError('bad_gateway', `The model's replica answered ${status} without saying why.`);
  }
  response.end(body);
};

const sendAnswer = async (response: ServerResponse, answer: Answer, exchange: Exchange): Promise<void> => {
  const { status, headers, chunks } = answer;
  writeHead(response, status, headers);
  if (status >= 400) {
    exchange.facts['upstreamStatus'] = status;
    sendRefusal(response, answer);
  } else if (chunks.length > 1) {
    await writeJsonPieces(response, chunks, exchange.gone);
  } else {
    response.setHeader('content-length', chunks[0]?.byteLength ?? 0);
    response.end(chunks[0]);
  }
};

export const passOn = async (
  response: ServerResponse,
  outcome: Answer | StreamedAnswer,
  exchange: Exchange,
): Promise<PassedOn> => {
  const truncated = outcome.headers[TRUNCATED] !== undefined;
  if (outcome.kind === 'answer') {
    await sendAnswer(response, outcome, exchange);
    // The usage may have been cut in two by the last packets.
    return { last: Buffer.concat(outcome.chunks.slice(-2)), truncated };
  }
  writeHead(response, outcome.status, outcome.headers);
  const length = outcome.headers['content-length'];
  if (length !== undefined) response.setHeader('content-length', length);
  return { last: await outcome.pipe(response), truncated };
};
