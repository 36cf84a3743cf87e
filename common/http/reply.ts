// The answer to one request, whichever lane of the listener it came in by.
import type { ServerResponse } from 'node:http';
import { errorBody } from '../openai/errors.ts';
import { byteLength } from '../openai/response.ts';
import { toOpenAIError } from './errors.ts';
import { exchangeOf } from './exchange.ts';
import type { Exchange } from './exchange.ts';
import { writeJsonPieces } from './write.ts';

/** Where a body goes whose end is not known yet. */
export interface Sink {
  /** False: wait for `drain`. */
  write(bytes: Uint8Array): boolean;
  end(): unknown;
  destroy(): unknown;
  on(event: 'drain', listener: () => void): unknown;
  once(event: 'close', listener: () => void): unknown;
}

export interface Reply {
  readonly exchange: Exchange;
  readonly headersSent: boolean;
  setHeader(name: string, value: string | number): void;
  /** The whole answer. Settles early, without a fault, when the client is gone. */
  send(status: number, pieces: readonly Uint8Array[]): void | Promise<void>;
  /** The head of an answer whose body follows. */
  stream(status: number): Sink;
  /** Nobody is there to read it, or nothing true can be said any more. */
  destroy(): void;
}

export function replyOver(response: ServerResponse): Reply {
  const exchange = exchangeOf(response);
  return {
    exchange,
    get headersSent() {
      return response.headersSent;
    },
    setHeader: (name, value) => void response.setHeader(name, value),
    send: (status, pieces) => {
      response.statusCode = status;
      if (pieces.length > 1) return writeJsonPieces(response, pieces, exchange.gone);
      response.setHeader('content-length', byteLength(pieces));
      response.end(pieces[0]);
      return undefined;
    },
    stream: (status) => {
      response.statusCode = status;
      return response;
    },
    destroy: () => void response.destroy(),
  };
}

/** Whatever was thrown, told to the client; once the head is out only a broken connection can tell. */
export function failReply(reply: Reply, thrown: unknown): void {
  const error = toOpenAIError(thrown);
  reply.exchange.error = error;
  if (reply.headersSent) {
    reply.destroy();
    return;
  }
  for (const [name, value] of Object.entries(error.headers)) reply.setHeader(name, value);
  reply.setHeader('content-type', 'application/json; charset=utf-8');
  void reply.send(error.status, [Buffer.from(JSON.stringify(errorBody(error)))]);
}
