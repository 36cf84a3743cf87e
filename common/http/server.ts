// The listener of a process: time-outs, JSON answers to what never became a request, and a drain with a deadline.
import { createServer } from 'node:http';
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { OpenAIError, errorBody } from '../openai/errors.ts';
import { requestId } from './exchange.ts';
import { REQUEST_ID } from './headers.ts';
import { createQuickLane } from './quick-lane.ts';
import type { QuickLane, QuickService } from './quick-lane.ts';

export interface ServerOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly handler: RequestListener;
  readonly timeouts?: Partial<ServerTimeouts>;
  /** Takes the plain small POSTs that it says it does before `handler` sees them. */
  readonly quick?: QuickService;
}

export interface ServerTimeouts {
  /** For a request's head. */
  readonly headersMs: number;
  /** For a whole request to arrive. */
  readonly requestMs: number;
  /** For an idle connection; must outlast what the peer in front keeps, or its next request meets a closed socket. */
  readonly keepAliveMs: number;
}

const TIMEOUTS: ServerTimeouts = { headersMs: 15_000, requestMs: 120_000, keepAliveMs: 75_000 };

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

export async function startServer({ host, port, handler, timeouts, quick }: ServerOptions): Promise<RunningServer> {
  const limits = { ...TIMEOUTS, ...timeouts };
  const { headersMs, requestMs, keepAliveMs } = limits;
  const sweepMs = Math.min(1000, headersMs);
  const responses = new Set<ServerResponse>();
  let draining = false;
  let onIdle: (() => void) | undefined;

  const server = createServer(
    {
      headersTimeout: headersMs,
      requestTimeout: requestMs,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: sweepMs,
      noDelay: true,
    },
    (request: IncomingMessage, response: ServerResponse) => {
      responses.add(response);
      if (draining) response.setHeader('connection', 'close');
      response.once('close', () => {
        responses.delete(response);
        idle();
      });
      handler(request, response);
    },
  );
  server.on('clientError', answerBrokenRequest);
  const inFlight = (): number => responses.size + (lane?.inFlight() ?? 0);
  const idle = (): void => {
    if (inFlight() === 0) onIdle?.();
  };
  const lane =
    quick &&
    putBefore(server, (handOver) =>
      createQuickLane({
        ...limits,
        service: quick,
        handOver,
        onLate: (socket) => answerBrokenRequest({ code: LATE }, socket),
        now: () => performance.now(),
        isDraining: () => draining,
        onIdle: idle,
      }),
    );
  const sweeps = lane && setInterval(lane.sweep, sweepMs).unref();
  await listen(server, host, port);
  const address = server.address() as AddressInfo;

  async function drain(deadline: AbortSignal): Promise<number> {
    draining = true;
    for (const response of responses) if (!response.headersSent) response.setHeader('connection', 'close');
    await new Promise<void>((resolve) => {
      if (inFlight() === 0 || deadline.aborted) {
        resolve();
        return;
      }
      onIdle = resolve;
      deadline.addEventListener('abort', () => resolve(), { once: true });
    });
    const cut = inFlight();
    clearInterval(sweeps);
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    // An open keep-alive connection would hold close() back for ever.
    server.closeAllConnections();
    lane?.closeAll();
    await closed;
    return cut;
  }

  const shown = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return {
    host: address.address,
    port: address.port,
    url: `http://${shown}:${address.port}`,
    inFlight,
    drain,
  };
}

/** Connections go to the lane first. The listener that Node's server made for itself gets those that the lane hands over. */
function putBefore(
  server: Server,
  create: (handOver: (socket: Socket, bytes: Buffer) => void) => QuickLane,
): QuickLane {
  const own = server.listeners('connection') as ((socket: Socket) => void)[];
  const lane = create((socket, bytes) => {
    socket.unshift(bytes);
    for (const listener of own) listener.call(server, socket);
  });
  server.removeAllListeners('connection');
  server.on('connection', lane.accept);
  return lane;
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

const LATE = 'ERR_HTTP_REQUEST_TIMEOUT';
const BROKEN: Readonly<Record<string, OpenAIError>> = {
  HPE_HEADER_OVERFLOW: new OpenAIError('headers_too_large', 'The request headers are too large.'),
  [LATE]: new OpenAIError('request_timeout', 'The request did not arrive in time.'),
};
const UNREADABLE = new OpenAIError('invalid_request', 'The request is not valid HTTP.');

/** Node's parser gave up, so there is no response object: the same error object, written by hand. */
function answerBrokenRequest(fault: { readonly code?: string | undefined }, socket: Socket): void {
  if (fault.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const error = BROKEN[fault.code ?? ''] ?? UNREADABLE;
  const body = JSON.stringify(errorBody(error));
  const head = [
    `HTTP/1.1 ${error.status} ${error.kind}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    `${REQUEST_ID}: ${requestId(undefined)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}
