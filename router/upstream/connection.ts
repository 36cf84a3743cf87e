// One connection to an endpoint: HTTP/1.1, one request at a time, no copies but the one out of the socket.
import type { IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { patientTimeout } from '../../common/util/patient-timer.ts';
import { createResponseReader } from './response-reader.ts';

export interface ConnectionRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

/** What becomes of a request. After `onEnd` or `onError` nothing more comes. */
export interface ResponseHandler {
  /** There is a connection: the request is on its way. */
  onSent(): void;
  onHead(status: number, headers: IncomingHttpHeaders, length: number | undefined): void;
  /** A view that is valid during the call alone. */
  onBody(bytes: Buffer): void;
  onEnd(): void;
  onError(cause: Error): void;
}

export interface Connection {
  readonly send: (request: ConnectionRequest, handler: ResponseHandler) => void;
  readonly pause: () => void;
  readonly resume: () => void;
  /** The request on it fails with this cause. */
  readonly destroy: (cause?: Error) => void;
  /** When it last became idle. */
  idleSinceMs: number;
}

export interface ConnectionOptions {
  readonly host: string;
  readonly port: number;
  /** For the Host header. */
  readonly authority: string;
  readonly connectMs: number;
  readonly onIdle: (connection: Connection) => void;
  readonly onClosed: (connection: Connection) => void;
}

/** Reads are handed on before the next one is made, so all connections can share the bytes. */
const READ = Buffer.allocUnsafeSlow(64 * 1024);
/** A body up to this size goes out in one piece with its head. */
const JOINED_BYTES = 16 * 1024;
const TCP_PROBES_MS = 60_000;
/** A value with a line break in it would be a header of its own. */
const UNFIT = /[^\t\x20-\x7e\x80-\xff]/;

const headOf = ({ method, path, headers, body }: ConnectionRequest, authority: string): string => {
  let text = `${method} ${path} HTTP/1.1\r\nhost: ${authority}\r\nconnection: keep-alive\r\n`;
  for (const name in headers) {
    const value = headers[name] ?? '';
    if (UNFIT.test(value)) throw new TypeError(`The header ${name} cannot be sent`);
    text += `${name}: ${value}\r\n`;
  }
  return body === undefined ? `${text}\r\n` : `${text}content-length: ${body.byteLength}\r\n\r\n`;
};

export const openConnection = (options: ConnectionOptions): Connection => {
  let handler: ResponseHandler | undefined;
  let connected = false;
  let failure: Error | undefined;

  const finish = (mayReuse: boolean): void => {
    const done = handler;
    handler = undefined;
    if (socket.isPaused()) socket.resume();
    // An answer that came before the request was out leaves the connection in the middle of it.
    if (mayReuse && socket.writableLength === 0) options.onIdle(self);
    else socket.destroy();
    done?.onEnd();
  };

  const reader = createResponseReader({
    onHead: (status, headers, length) => handler?.onHead(status, headers, length),
    onBody: (bytes) => handler?.onBody(bytes),
    onEnd: finish,
  });

  const onRead = (bytes: number): boolean => {
    try {
      reader.push(READ.subarray(0, bytes));
    } catch (error) {
      socket.destroy(error as Error);
    }
    return true;
  };

  const socket = connect({
    host: options.host,
    port: options.port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: TCP_PROBES_MS,
    onread: { buffer: READ, callback: onRead },
  });
  const giveUp = (): void => void socket.destroy(new Error(`No connection within ${options.connectMs} ms`));
  const inTime = patientTimeout(giveUp, options.connectMs);
  socket.once('connect', () => {
    inTime();
    connected = true;
    handler?.onSent();
  });
  socket.once('end', () => {
    reader.close();
    socket.destroy();
  });
  socket.on('error', (error) => (failure ??= error));
  socket.once('close', () => {
    inTime();
    const lost = handler;
    handler = undefined;
    options.onClosed(self);
    lost?.onError(failure ?? new Error('The connection was closed'));
  });
  // Without a reader of the stream its end is not noticed.
  socket.resume();

  const self: Connection = {
    idleSinceMs: 0,
    send: (request, on) => {
      const { body } = request;
      const head = headOf(request, options.authority);
      handler = on;
      if (connected) on.onSent();
      reader.expect();
      if (body === undefined) socket.write(head, 'latin1');
      else if (body.byteLength <= JOINED_BYTES) {
        const joined = Buffer.allocUnsafe(head.length + body.byteLength);
        joined.write(head, 0, 'latin1');
        body.copy(joined, head.length);
        socket.write(joined);
      } else {
        socket.cork();
        socket.write(head, 'latin1');
        socket.write(body);
        socket.uncork();
      }
    },
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    destroy: (cause) => {
      failure ??= cause;
      socket.destroy();
    },
  };
  return self;
};
