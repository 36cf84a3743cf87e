// The listener of a process: time-outs, JSON answers to what never became a request, and a drain with a deadline.
import { createServer } from 'node:http';
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { OpenAIError, errorBody } from '../openai/errors.ts';
import { requestId } from './exchange.ts';
import { REQUEST_ID } from './headers.ts';

export interface ServerOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly handler: RequestListener;
  readonly timeouts?: Partial<ServerTimeouts>;
}

export interface ServerTimeouts {
  /** For a request's head. */
  readonly headersMs: number;
  /** For a whole request to arrive. */
  readonly requestMs: number;
  /** For an idle connection; must outlast what the peer in front keeps, or its next request meets a closed socket. */
  readonly keepAliveMs: number;
  /** For a client that was told of its fault to read why and to close; one that does not must not keep the connection. */
  readonly graceMs: number;
}

const TIMEOUTS: ServerTimeouts = { headersMs: 15_000, requestMs: 120_000, keepAliveMs: 75_000, graceMs: 2000 };

export interface RunningServer {
  readonly host: string;
  readonly port: number;
  readonly url: string;
  inFlight(): number;
  /**
   * Lets what runs finish, still answering (so that a late client hears why not), then closes. Everything is cut when
   * the signal aborts. Resolves to how many requests were cut.
   */
  drain(deadline: AbortSignal): Promise<number>;
}

export async function startServer({ host, port, handler, timeouts }: ServerOptions): Promise<RunningServer> {
  const { headersMs, requestMs, keepAliveMs, graceMs } = { ...TIMEOUTS, ...timeouts };
  const responses = new Set<ServerResponse>();
  let draining = false;
  let onIdle: (() => void) | undefined;

  function over(this: ServerResponse): void {
    responses.delete(this);
    if (responses.size === 0) onIdle?.();
  }
  const server = createServer(
    {
      headersTimeout: headersMs,
      requestTimeout: requestMs,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: Math.min(1000, headersMs),
      noDelay: true,
    },
    (request: IncomingMessage, response: ServerResponse) => {
      responses.add(response);
      response.once('close', over);
      if (draining) response.setHeader('connection', 'close');
      handler(request, response);
    },
  );
  const answered = new WeakSet<Socket>();
  server.on('clientError', (fault: { readonly code?: string | undefined }, socket: Socket) => {
    // What follows a fault is faulty, too.
    if (answered.has(socket)) return;
    answered.add(socket);
    const isAnswering = [...responses].some((response) => response.socket === socket && response.headersSent);
    if (fault.code === 'ECONNRESET' || !socket.writable || isAnswering) {
      socket.destroy();
      return;
    }
    socket.end(faultAnswer(fault.code));
    const timer = setTimeout(() => socket.destroy(), graceMs).unref();
    socket.once('close', () => clearTimeout(timer));
  });
  await listen(server, host, port);
  const address = server.address() as AddressInfo;

  async function drain(deadline: AbortSignal): Promise<number> {
    draining = true;
    for (const response of responses) if (!response.headersSent) response.setHeader('connection', 'close');
    await new Promise<void>((resolve) => {
      if (responses.size === 0 || deadline.aborted) {
        resolve();
        return;
      }
      onIdle = resolve;
      deadline.addEventListener('abort', () => resolve(), { once: true });
    });
    const cut = responses.size;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    // An open keep-alive connection would hold close() back for ever.
    server.closeAllConnections();
    await closed;
    return cut;
  }

  const shown = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return {
    host: address.address,
    port: address.port,
    url: `http://${shown}:${address.port}`,
    inFlight: () => responses.size,
    drain,
  };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, backlog: 1024 }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

const BROKEN: Readonly<Record<string, OpenAIError>> = {
  HPE_HEADER_OVERFLOW: new OpenAIError('headers_too_large', 'The request headers are too large.'),
  ERR_HTTP_REQUEST_TIMEOUT: new OpenAIError('request_timeout', 'The request did not arrive in time.'),
};
const UNREADABLE = new OpenAIError('invalid_request', 'The request is not valid HTTP.');

/** Node's parser or its patience gave up, so there is no response object: the same error object, written by hand. */
function faultAnswer(code = ''): string {
  const error = BROKEN[code] ?? UNREADABLE;
  const body = JSON.stringify(errorBody(error));
  const head = [
    `HTTP/1.1 ${error.status} ${error.kind}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    `${REQUEST_ID}: ${requestId(undefined)}`,
    'connection: close',
  ];
  return `${head.join('\r\n')}\r\n\r\n${body}`;
}
