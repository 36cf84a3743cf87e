// Writes an answer straight to a connection, with the headers that Node's own responses have.
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { byteLength } from '../openai/response.ts';
import type { Exchange } from './exchange.ts';
import { REQUEST_ID } from './headers.ts';
import type { Reply, Sink } from './reply.ts';

export interface QuickReplyOptions {
  readonly socket: Socket;
  readonly exchange: Exchange;
  readonly keepAliveSeconds: number;
  /** Asked when the head is written: whether the connection lives on. */
  readonly isClosing: () => boolean;
  /** The answer is on its way to the last byte. Not called when the connection is lost before that. */
  readonly onDone: (status: number) => void;
}

/** Up to this size an answer goes out in one piece with its head. */
const JOINED_BYTES = 64 * 1024;
// eslint-disable-next-line no-control-regex -- control characters are what it is about
const UNFIT = /[\0-\x08\x0a-\x1f\x7f\u0100-\uffff]/;

let date = '';
let dateSecond = 0;

/** Printed once a second, as Node does. */
const dateNow = (): string => {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    date = new Date(second * 1000).toUTCString();
  }
  return date;
};

export const createQuickReply = (options: QuickReplyOptions): Reply => {
  const { socket, exchange } = options;
  let head = `${REQUEST_ID}: ${exchange.id}\r\n`;
  let sent = false;

  const setHeader = (name: string, value: string | number): void => {
    const text = String(value);
    if (UNFIT.test(text)) throw new TypeError(`The header ${name} cannot be sent`);
    head += `${name}: ${text}\r\n`;
  };

  const headOf = (status: number): string => {
    sent = true;
    const connection = options.isClosing()
      ? 'connection: close'
      : `connection: keep-alive\r\nkeep-alive: timeout=${options.keepAliveSeconds}`;
    return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${head}date: ${dateNow()}\r\n${connection}\r\n\r\n`;
  };

  /** `written` fails when the connection is lost, of which its close tells more. */
  const done =
    (status: number) =>
    (error?: Error | null): void => {
      if (!error) options.onDone(status);
    };

  const send: Reply['send'] = (status, pieces) => {
    const bytes = byteLength(pieces);
    setHeader('content-length', bytes);
    const text = headOf(status);
    if (bytes <= JOINED_BYTES) {
      const joined = Buffer.allocUnsafe(text.length + bytes);
      let at = joined.write(text, 0, 'latin1');
      for (const piece of pieces) {
        joined.set(piece, at);
        at += piece.byteLength;
      }
      socket.write(joined, done(status));
      return undefined;
    }
    const last = pieces.length - 1;
    socket.cork();
    socket.write(text, 'latin1');
    pieces.forEach((piece, at) => (at === last ? socket.write(piece, done(status)) : socket.write(piece)));
    socket.uncork();
    return undefined;
  };

  const stream = (status: number): Sink => {
    const off: (() => void)[] = [];
    socket.write(headOf(status), 'latin1');
    return {
      write: (bytes) => socket.write(bytes),
      end: () => {
        for (const remove of off) remove();
        socket.write('', done(status));
      },
      destroy: () => socket.destroy(),
      on: (event, listener) => {
        socket.on(event, listener);
        off.push(() => socket.off(event, listener));
      },
      once: (event, listener) => {
        socket.once(event, listener);
        off.push(() => socket.off(event, listener));
      },
    };
  };

  return {
    exchange,
    get headersSent() {
      return sent;
    },
    setHeader,
    send,
    stream,
    destroy: () => void socket.destroy(),
  };
};
