// FaultProxy: stands before a real API server and makes the network as bad as a test wants it.
import { Agent, createServer, request as requestUpstream } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { ControlPlane } from './control-plane.ts';

export interface ApiCall {
  readonly method: string;
  /** With its query string. */
  readonly path: string;
  readonly watch: boolean;
  /** Anything but GET. */
  readonly write: boolean;
  readonly userAgent: string;
  /** Counts from 1, over all calls since the proxy started. */
  readonly number: number;
}

export type Fault =
  /** The server never saw it. */
  | { readonly kind: 'cut' }
  /** The server acted, its answer is lost. */
  | { readonly kind: 'cutAnswer' }
  | { readonly kind: 'answer'; readonly status: number; readonly reason?: string; readonly retryAfterSeconds?: number }
  | { readonly kind: 'delay'; readonly ms: number }
  /** Never answered, never closed. */
  | { readonly kind: 'silence' };

export interface FaultProxy {
  readonly server: string;
  readonly calls: readonly ApiCall[];
  /** Asked for every call; undefined lets it pass. */
  setRule(rule: Rule | undefined): void;
  /** Ends every open watch: between events, in the middle of a line, or with an event of code 410. */
  endWatches(how: 'close' | 'cut' | 'cutInLine' | 'gone'): void;
  /** From now on nothing passes in either direction, and nobody is told. */
  pause(): void;
  resume(): void;
  openWatches(): number;
  /** How many were ever accepted. */
  connections(): number;
  close(): Promise<void>;
}

interface Exchange {
  readonly call: ApiCall;
  readonly response: ServerResponse;
  upstream?: IncomingMessage;
  /** `endWatches` has dealt with it. */
  over?: boolean;
}

export type Rule = (call: ApiCall) => Fault | undefined;

/** A client that dies between two of its writes: the first `count` pass, every later call meets the fault. */
export function afterWrites(count: number, fault: Fault): Rule {
  let writes = 0;
  return ({ write }) => {
    if (writes >= count) return fault;
    if (write) writes += 1;
    return undefined;
  };
}

/** A client that dies at one write, counted from 0: that one meets the fault, and nothing after it gets through. */
export function diesAtWrite(count: number, fault: Fault, died: () => void): Rule {
  let writes = 0;
  let dead = false;
  return ({ write }) => {
    if (dead) return { kind: 'cut' };
    if (!write) return undefined;
    writes += 1;
    if (writes <= count) return undefined;
    dead = true;
    died();
    return fault;
  };
}

const GONE = {
  type: 'ERROR',
  object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' },
};

/** Clients are let in without a certificate; upstream they are all the administrator. */
export async function startFaultProxy(
  plane: Pick<ControlPlane, 'connection' | 'port' | 'serverPair'>,
): Promise<FaultProxy> {
  const calls: ApiCall[] = [];
  const open = new Set<Exchange>();
  const sockets = new Set<Socket>();
  const agent = new Agent({ ...plane.connection.tls, keepAlive: true });
  let rule: Rule | undefined;
  let gate = Promise.withResolvers<undefined>();
  gate.resolve(undefined);
  let paused = false;
  let accepted = 0;

  const watches = (): Exchange[] => [...open].filter(({ call }) => call.watch);

  function describeCall({ method = '', url: path = '', headers }: IncomingMessage): ApiCall {
    const call: ApiCall = {
      method,
      path,
      watch: /[?&]watch=(true|1)/.test(path),
      write: method !== 'GET',
      userAgent: headers['user-agent'] ?? '',
      number: calls.length + 1,
    };
    calls.push(call);
    return call;
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const exchange: Exchange = { call: describeCall(request), response };
    open.add(exchange);
    response.on('close', () => {
      open.delete(exchange);
      exchange.upstream?.destroy();
    });
    const fault = rule?.(exchange.call);
    if (fault?.kind === 'delay') await new Promise((resolve) => setTimeout(resolve, fault.ms));
    await gate.promise;
    if (exchange.over === true) return;
    if (fault?.kind === 'cut') response.destroy();
    else if (fault?.kind === 'answer') refuse(response, fault);
    else if (fault?.kind !== 'silence') forward(request, exchange, fault?.kind === 'cutAnswer');
  }

  function refuse(response: ServerResponse, { status, reason, retryAfterSeconds }: Fault & { kind: 'answer' }): void {
    const headers = retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) };
    const body = { kind: 'Status', code: status, reason: reason ?? 'Injected', message: `injected ${status}` };
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
  }

  function forward(request: IncomingMessage, exchange: Exchange, loseAnswer: boolean): void {
    const { response } = exchange;
    const target = {
      host: '127.0.0.1',
      port: plane.port,
      method: request.method,
      path: request.url,
      headers: request.headers,
    };
    const upstream = requestUpstream({ ...target, agent }, (answer) => {
      exchange.upstream = answer;
      if (loseAnswer) {
        answer.resume().on('end', () => response.destroy());
        return;
      }
      void gate.promise.then(() => {
        if (exchange.over === true || response.destroyed) {
          answer.destroy();
          return;
        }
        response.writeHead(answer.statusCode ?? 502, answer.headers).flushHeaders();
        answer.on('data', (chunk: Buffer) => response.write(chunk));
        answer.on('end', () => void gate.promise.then(() => exchange.over ?? response.end()));
        answer.on('error', () => response.destroy());
      });
    });
    upstream.on('error', () => response.destroy());
    request.pipe(upstream);
  }

  const { cert, key } = plane.serverPair;
  const server = createServer({ cert, key }, (request, response) => void handle(request, response));
  server.on('connection', (socket: Socket) => {
    accepted += 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const endings = {
    close: (response: ServerResponse) => response.end(),
    cut: (response: ServerResponse) => response.destroy(),
    cutInLine: (response: ServerResponse) =>
      response.write('{"type":"MODIFIED","object":{"kind":', () => response.destroy()),
    gone: (response: ServerResponse) => response.end(`${JSON.stringify(GONE)}\n`),
  };

  return {
    server: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    setRule: (next) => (rule = next),
    endWatches(how) {
      for (const exchange of watches()) {
        exchange.over = true;
        exchange.upstream?.removeAllListeners('data');
        endings[how](exchange.response);
      }
    },
    pause() {
      if (paused) return;
      paused = true;
      gate = Promise.withResolvers();
      for (const { upstream } of open) upstream?.pause();
    },
    resume() {
      if (!paused) return;
      paused = false;
      gate.resolve(undefined);
      for (const { upstream } of open) upstream?.resume();
    },
    openWatches: () => watches().length,
    connections: () => accepted,
    async close() {
      gate.resolve(undefined);
      agent.destroy();
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
