// Writes an answer straight to a connection, with the headers that Node's own responses have.
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { byteLength } from '../openai/response.ts';
import { shortLived } from '../util/slab.ts';
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

/** A class, because there is one per request: its methods are made once. */
class QuickReply implements Reply {
  readonly exchange: Exchange;
  readonly #options: QuickReplyOptions;
  #head: string;
  #sent = false;

  constructor(options: QuickReplyOptions) {
    this.exchange = options.exchange;
    this.#options = options;
    this.#head = `${REQUEST_ID}: ${options.exchange.id}\r\n`;
  }

  get headersSent(): boolean {
    return this.#sent;
  }

  setHeader(name: string, value: string | number): void {
    const text = String(value);
    if (UNFIT.test(text)) throw new TypeError(`The header ${name} cannot be sent`);
    this.#head += `${name}: ${text}\r\n`;
  }

  send(status: number, pieces: readonly Uint8Array[]): undefined {
    const { socket } = this.#options;
    const bytes = byteLength(pieces);
    const head = this.#headOf(status, `content-length: ${bytes}\r\n`);
    if (bytes <= JOINED_BYTES) {
      const joined = shortLived(head.length + bytes);
      let at = joined.write(head, 0, 'latin1');
      for (const piece of pieces) {
        joined.set(piece, at);
        at += piece.byteLength;
      }
      socket.write(joined);
    } else {
      socket.cork();
      socket.write(head, 'latin1');
      for (const piece of pieces) socket.write(piece);
      socket.uncork();
    }
    this.#finish(status);
  }

  stream(status: number): Sink {
    const { socket } = this.#options;
    const off: (() => void)[] = [];
    socket.write(this.#headOf(status, ''), 'latin1');
    return {
      write: (bytes) => socket.write(bytes),
      end: () => {
        for (const remove of off) remove();
        socket.write('', (error) => !error && this.#options.onDone(status));
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
  }

  destroy(): void {
    this.#options.socket.destroy();
  }

  #headOf(status: number, length: string): string {
    this.#sent = true;
    const { isClosing, keepAliveSeconds } = this.#options;
    const connection = isClosing()
      ? 'connection: close'
      : `connection: keep-alive\r\nkeep-alive: timeout=${keepAliveSeconds}`;
    return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${this.#head}${length}date: ${dateNow()}\r\n${connection}\r\n\r\n`;
  }

  /** Mostly the kernel has taken it all by now. When the connection is lost instead, its close tells more. */
  #finish(status: number): void {
    const { socket, onDone } = this.#options;
    if (socket.destroyed) return;
    if (socket.writableLength === 0) onDone(status);
    else socket.write('', (error) => !error && onDone(status));
  }
}

export const createQuickReply = (options: QuickReplyOptions): Reply => new QuickReply(options);
