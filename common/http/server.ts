// The listener of a process: bounds on connections and on their time, JSON answers to what never became a request, and a drain with a deadline.
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import { isIPv6 } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { OpenAIError, errorBody } from '../openai/errors.ts';
import { requestId } from './exchange.ts';
import { REQUEST_ID } from './headers.ts';

// An import would evaluate all that the module offers, Node's fetch and WebSocket included: a tenth of a runtime's start.
const { createServer } = process.getBuiltinModule('node:http');

export interface ServerOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly handler: RequestListener;
  readonly timeouts?: Partial<ServerTimeouts> | undefined;
  readonly limits?: ConnectionLimits | undefined;
}

/** Undefined: no bound. */
export interface ConnectionLimits {
  /** What is beyond it is closed without a word: to say one would take what there is no more of. */
  readonly maxConnections?: number | undefined;
  /** From one IPv4 address, or one network of IPv6 (/64). Only where clients come themselves: behind a proxy all have its address. */
  readonly maxConnectionsPerSource?: number | undefined;
}

export interface ServerTimeouts {
  /** For a request's head. */
  readonly headersMs: number;
  /** For a whole request to arrive. */
  readonly requestMs: number;
  /** For an idle connection; must outlast what the peer in front keeps, or its next request meets a closed socket. */
  readonly keepAliveMs: number;
  /** For a client that sends no more of a body, or takes no more of an answer. */
  readonly stallMs: number;
  /** What a client must take of an answer, on the whole and beyond `stallMs`. */
  readonly minBytesPerSecond: number;
  /** For a client that was told of its fault to read why and to close; one that does not must not keep the connection. */
  readonly graceMs: number;
}

const TIMEOUTS: ServerTimeouts = {
  headersMs: 15_000,
  requestMs: 120_000,
  keepAliveMs: 75_000,
  stallMs: 20_000,
  // What a bad mobile connection does: an answer of 4 MB can be held for two minutes.
  minBytesPerSecond: 32_768,
  graceMs: 2000,
};

export interface RunningServer {
  readonly host: string;
  readonly port: number;
  readonly url: string;
  inFlight(): number;
  /** Open at this moment, idle ones included. */
  connections(): number;
  /**
   * Lets what runs finish, still answering (so that a late client hears why not), then closes. Everything is cut when
   * the signal aborts. Resolves to how many requests were cut.
   */
  drain(deadline: AbortSignal): Promise<number>;
}

export async function startServer({
  host,
  port,
  handler,
  timeouts,
  limits = {},
}: ServerOptions): Promise<RunningServer> {
  const times = { ...TIMEOUTS, ...timeouts };
  const { headersMs, requestMs, keepAliveMs, stallMs, graceMs } = times;
  const responses = new Set<ServerResponse>();
  /** Of each connection those that are not over, in the order of their requests. */
  const pending = new WeakMap<Duplex, Set<ServerResponse>>();
  let draining = false;
  let onIdle: (() => void) | undefined;

  function over(this: ServerResponse): void {
    responses.delete(this);
    pending.get(this.req.socket)?.delete(this);
    if (responses.size === 0) onIdle?.();
  }
  const server = createServer(
    {
      headersTimeout: headersMs,
      requestTimeout: requestMs,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: Math.min(1000, headersMs),
      // As with expectations: the application says why it refuses a request without one.
      requireHostHeader: false,
      noDelay: true,
    },
    take,
  );
  function take(request: IncomingMessage, response: ServerResponse): void {
    responses.add(response);
    const { socket } = request;
    const own = pending.get(socket) ?? new Set();
    pending.set(socket, own.add(response));
    response.once('close', over);
    if (draining) response.setHeader('connection', 'close');
    handler(request, response);
  }
  // The application refuses it in its own words; Node's own answer has none.
  server.on('checkExpectation', take);

  const answered = new WeakSet<Duplex>();
  function refuse(socket: Duplex, code: string | undefined): void {
    // What follows a fault is faulty, too.
    if (answered.has(socket)) return;
    answered.add(socket);
    const open = [...(pending.get(socket) ?? [])];
    const last = open.at(-1);
    if (code === 'ECONNRESET' || !socket.writable || open.some(({ headersSent }) => headersSent)) {
      socket.destroy();
      return;
    }
    if (last !== undefined && open.every(({ req }) => req.complete)) {
      // It comes after requests that are whole: they are answered, and nothing after them.
      last.setHeader('connection', 'close');
      last.once('close', () => socket.destroy());
      return;
    }
    socket.end(faultAnswer(code));
    const timer = setTimeout(() => socket.destroy(), graceMs).unref();
    socket.once('close', () => clearTimeout(timer));
  }
  server.on('clientError', (fault: { readonly code?: string | undefined }, socket) => {
    // Whoever asked to close the connection has sent more: nobody looks at it.
    if (fault.code !== 'HPE_CLOSED_CONNECTION') refuse(socket, fault.code);
  });
  server.on('connect', (_request, socket) => {
    socket.on('error', () => undefined);
    refuse(socket, 'CONNECT');
  });

  const sockets = new Map<Socket, Progress>();
  const { maxConnections, maxConnectionsPerSource = Infinity } = limits;
  if (maxConnections !== undefined) server.maxConnections = maxConnections;
  const sources = createSources(maxConnectionsPerSource);
  server.on('connection', (socket) => {
    const leave = sources.enter(socket.remoteAddress ?? '');
    if (leave === undefined) {
      socket.on('error', () => undefined);
      refuse(socket, 'CROWDED');
      // Nothing that it sends is looked at any more.
      socket.destroySoon();
      return;
    }
    sockets.set(socket, createProgress(socket));
    socket.once('close', () => {
      sockets.delete(socket);
      leave();
    });
  });

  /** Time-outs of Node's end with the request; these go on until the answer is taken. */
  function endStalled(): void {
    const nowMs = performance.now();
    for (const [socket, progress] of sockets) if (progress.isWritingStalled(nowMs, times)) socket.destroy();
    for (const { req: request, socket } of responses) {
      if (request.complete || socket === null) continue;
      if (sockets.get(socket)?.isReadingStalled(nowMs, stallMs) === true) refuse(socket, 'ERR_HTTP_REQUEST_TIMEOUT');
    }
  }
  const sweep = setInterval(endStalled, Math.min(1000, stallMs / 2)).unref();
  server.once('close', () => clearInterval(sweep));
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
    connections: () => sockets.size,
    drain,
  };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // Both families. Only where no host is named does Node take IPv4 alone on a machine that has no IPv6.
    const where = host === '::' ? {} : { host };
    server.listen({ ...where, port, backlog: 1024 }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

// Whether a connection still gets on: looked at from time to time, so that a request pays nothing for it.

interface Progress {
  isWritingStalled(nowMs: number, times: Pick<ServerTimeouts, 'stallMs' | 'minBytesPerSecond'>): boolean;
  /** To be asked while a body is awaited, and only then. */
  isReadingStalled(nowMs: number, stallMs: number): boolean;
}

function createProgress(socket: Socket): Progress {
  let writing: { readonly sinceMs: number; readonly from: number; lastMs: number; last: number } | undefined;
  let reading = { lastMs: -Infinity, last: -1 };
  return {
    isWritingStalled(nowMs, { stallMs, minBytesPerSecond }) {
      if (socket.writableLength === 0) {
        writing = undefined;
        return false;
      }
      // Handed to the system, which takes more only as the client does. Of what it has not taken whole nothing is known.
      const pending = socket.writableLength;
      const taken = socket.bytesWritten - pending;
      const patienceMs = stallMs + (pending / minBytesPerSecond) * 1000;
      writing ??= { sinceMs: nowMs, from: taken, lastMs: nowMs, last: taken };
      if (taken > writing.last) Object.assign(writing, { lastMs: nowMs, last: taken });
      const owed = (minBytesPerSecond * (nowMs - writing.sinceMs - patienceMs)) / 1000;
      return nowMs - writing.lastMs >= patienceMs || taken - writing.from < owed;
    },
    isReadingStalled(nowMs, stallMs) {
      // The head of a new request is progress, too.
      if (socket.bytesRead !== reading.last) reading = { lastMs: nowMs, last: socket.bytesRead };
      return nowMs - reading.lastMs >= stallMs;
    },
  };
}

// Connections by where they come from.

interface Sources {
  /** Returns what is to be called when the connection closes; undefined: there are too many from there. */
  enter(address: string): (() => void) | undefined;
}

function createSources(max: number): Sources {
  const open = new Map<string, number>();
  return {
    enter(address) {
      if (max === Infinity) return () => undefined;
      const source = sourceOf(address);
      const count = open.get(source) ?? 0;
      if (count >= max) return undefined;
      open.set(source, count + 1);
      return () => {
        const left = (open.get(source) ?? 1) - 1;
        if (left === 0) open.delete(source);
        else open.set(source, left);
      };
    },
  };
}

/** Whoever has one IPv6 address has a network of them. */
export function sourceOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined || !isIPv6(address)) return mapped ?? address;
  const [head = '', tail] = (address.split('%', 1)[0] ?? '').split('::');
  const groups = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - groups.length - after.length;
  return [...groups, ...Array<string>(Math.max(0, zeros)).fill('0'), ...after].slice(0, 4).join(':');
}

const BROKEN: Readonly<Record<string, OpenAIError>> = {
  HPE_HEADER_OVERFLOW: new OpenAIError('headers_too_large', 'The request headers are too large.'),
  ERR_HTTP_REQUEST_TIMEOUT: new OpenAIError('request_timeout', 'The request did not arrive in time.'),
  CONNECT: new OpenAIError('method_not_allowed', 'This server is no proxy: CONNECT is not allowed.'),
  CROWDED: new OpenAIError('rate_limit_exceeded', 'Too many connections are open from your address.', {
    retryAfterMs: 1000,
  }),
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
    ...Object.entries(error.headers).map(([name, value]) => `${name}: ${value}`),
    'connection: close',
  ];
  return `${head.join('\r\n')}\r\n\r\n${body}`;
}
