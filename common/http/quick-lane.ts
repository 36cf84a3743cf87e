// The quick lane of a listener: plain small POSTs are read and answered without Node's HTTP objects. All else is handed to Node.
import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import { createExchange, finishedExchange } from './exchange.ts';
import type { Exchange, FinishedExchange, RequestHead } from './exchange.ts';
import { recogniseHead } from './quick-head.ts';
import type { QuickHead, QuickLimits } from './quick-head.ts';
import { createQuickReply } from './quick-reply.ts';
import type { Reply } from './reply.ts';

export interface QuickCall extends RequestHead {
  readonly method: 'POST';
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface QuickService extends QuickLimits {
  /** Before the body is there. */
  readonly onOpen: (exchange: Exchange, call: RequestHead) => void;
  readonly serve: (call: QuickCall, reply: Reply) => void;
  readonly onFinish: (finished: FinishedExchange) => void;
}

export interface QuickLaneOptions {
  readonly service: QuickService;
  /** Takes a connection over, with the bytes that were read from it. */
  readonly handOver: (socket: Socket, bytes: Buffer) => void;
  /** Answers a request that did not arrive in time. */
  readonly onLate: (socket: Socket) => void;
  readonly now: () => number;
  readonly headersMs: number;
  readonly requestMs: number;
  readonly keepAliveMs: number;
  readonly isDraining: () => boolean;
  /** The last request that was being served is over. */
  readonly onIdle: () => void;
}

export interface QuickLane {
  readonly accept: (socket: Socket) => void;
  /** Requests being read or served. */
  readonly inFlight: () => number;
  /** Ends what took too long to arrive. To be called every second or so. */
  readonly sweep: () => void;
  readonly closeAll: () => void;
}

/** What a client may send ahead while its request is served. */
const MAX_AHEAD = 256 * 1024;

/** What a connection waits for, and for how long it may. */
interface Wait {
  readonly sinceMs: number;
  readonly mostMs: number;
  /** Nothing was begun that could be late. */
  readonly isIdle: boolean;
}

interface Open {
  readonly head: QuickHead;
  readonly exchange: Exchange;
  readonly request: RequestHead;
}

export const createQuickLane = (options: QuickLaneOptions): QuickLane => {
  const { service, now, isDraining } = options;
  const waits = new Map<Socket, Wait | undefined>();
  let inFlight = 0;

  const accept = (socket: Socket): void => {
    /** Bytes not used yet: the beginning of a body, or what came while a request was served. */
    let ahead: Buffer[] = [];
    let aheadBytes = 0;
    let open: Open | undefined;
    let isServing = false;

    const wait = (mostMs: number, isIdle = false): void => {
      waits.set(socket, { sinceMs: now(), mostMs, isIdle });
    };

    const close = (answered: number | undefined): void => {
      if (open === undefined) return;
      const { exchange, request } = open;
      open = undefined;
      isServing = false;
      inFlight -= 1;
      if (answered === undefined) exchange.abort();
      service.onFinish(finishedExchange(exchange, request, answered));
      if (inFlight === 0) options.onIdle();
    };

    const onDone = (status: number): void => {
      const bytes = takeAhead();
      const last = isDraining();
      close(status);
      if (last) {
        socket.end();
        return;
      }
      wait(options.keepAliveMs, true);
      if (socket.isPaused()) socket.resume();
      // Not at once: what came ahead may hold hundreds of requests, each answered within the call for the one before.
      if (bytes !== undefined) process.nextTick(onAhead, bytes);
    };

    const onAhead = (bytes: Buffer): void => {
      if (waits.has(socket)) onData(bytes);
    };

    const takeAhead = (): Buffer | undefined => {
      if (aheadBytes === 0) return undefined;
      const bytes = ahead.length === 1 ? ahead[0] : Buffer.concat(ahead, aheadBytes);
      ahead = [];
      aheadBytes = 0;
      return bytes;
    };

    const keep = (bytes: Buffer): void => {
      ahead.push(bytes);
      aheadBytes += bytes.byteLength;
    };

    const begin = (head: QuickHead): Open => {
      const request = { method: 'POST', url: head.path, headers: head.headers } as const;
      const exchange = createExchange(head.headers);
      exchange.route = head.path;
      inFlight += 1;
      service.onOpen(exchange, request);
      return { head, exchange, request };
    };

    const serve = ({ head, exchange }: Open, body: Buffer): void => {
      isServing = true;
      waits.set(socket, undefined);
      const keepAliveSeconds = Math.floor(options.keepAliveMs / 1000);
      const reply = createQuickReply({ socket, exchange, keepAliveSeconds, isClosing: isDraining, onDone });
      service.serve({ method: 'POST', url: head.path, headers: head.headers, body }, reply);
    };

    const leave = (bytes: Buffer): void => {
      waits.delete(socket);
      for (const [event, listener] of listeners) socket.off(event, listener);
      options.handOver(socket, bytes);
    };

    /** The body's part of what is there; the rest is another request's. */
    const readBody = (opened: Open, bytes: Buffer, from: number): void => {
      const end = from + opened.head.bodyBytes;
      if (bytes.byteLength < end) {
        keep(from === 0 ? bytes : bytes.subarray(from));
        wait(options.requestMs);
        return;
      }
      if (bytes.byteLength > end) keep(bytes.subarray(end));
      serve(opened, bytes.subarray(from, end));
    };

    const onData = (bytes: Buffer): void => {
      if (isServing) {
        keep(bytes);
        if (aheadBytes > MAX_AHEAD) socket.pause();
      } else if (open !== undefined) {
        keep(bytes);
        if (aheadBytes >= open.head.bodyBytes) readBody(open, takeAhead() ?? bytes, 0);
      } else {
        const head = recogniseHead(bytes, service);
        if (head === undefined) leave(bytes);
        else readBody((open = begin(head)), bytes, head.bodyAt);
      }
    };

    // A client that has ended its side gets no answer from Node either.
    const onEnd = (): void => {
      if (open === undefined) socket.end();
      else socket.destroy();
    };
    const onClose = (): void => {
      waits.delete(socket);
      close(undefined);
    };
    const onError = (): void => void socket.destroy();
    const listeners = [
      ['data', onData],
      ['end', onEnd],
      ['close', onClose],
      ['error', onError],
    ] as const;
    for (const [event, listener] of listeners) socket.on(event, listener);
    wait(options.headersMs);
  };

  const sweep = (): void => {
    const nowMs = now();
    for (const [socket, wait] of waits) {
      if (wait === undefined || nowMs - wait.sinceMs <= wait.mostMs) continue;
      // Once is enough, however long it takes to close.
      waits.set(socket, undefined);
      if (wait.isIdle) socket.end();
      else options.onLate(socket);
    }
  };

  return {
    accept,
    inFlight: () => inFlight,
    sweep,
    closeAll: () => {
      for (const socket of [...waits.keys()]) socket.destroy();
    },
  };
};
