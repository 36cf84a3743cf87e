// One keep-alive connection over a bare socket that sends requests made beforehand: it shares the cores with what is measured.
import { once } from 'node:events';
import { connect } from 'node:net';

export interface Connection {
  /** Resolves when the answer has come whole, unread by anyone. Any other status than 200 is an error, after which the connection is closed. */
  ask(request: Buffer): Promise<void>;
  close(): void;
}

/** The bytes of a POST of some JSON. */
export function requestOf(path: string, json: string): Buffer {
  const head = [
    `POST ${path} HTTP/1.1`,
    'host: 127.0.0.1',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(json)}`,
  ];
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${json}`);
}

export const pageRequest = (path: string): Buffer => Buffer.from(`GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`);

/** Of an answer that is an error. */
const TOLD_BYTES = 1000;
const STATUS = 'HTTP/1.1 200 ';
const LENGTH = /\r\ncontent-length: *(\d+)/i;
const HEAD_END = '\r\n\r\n';

/** Bytes of an answer that begins so; undefined while its head is not whole. */
function answerBytes(begun: Buffer): number | undefined {
  const end = begun.indexOf(HEAD_END);
  if (end < 0) return undefined;
  const head = begun.toString('latin1', 0, end);
  const length = LENGTH.exec(head)?.[1];
  if (!head.startsWith(STATUS) || length === undefined) {
    throw new Error(`answered ${begun.toString('utf8', 0, TOLD_BYTES)}`);
  }
  return end + HEAD_END.length + Number(length);
}

export async function openConnection(port: number): Promise<Connection> {
  const socket = connect(port, '127.0.0.1').setNoDelay(true);
  await once(socket, 'connect');
  let waiting: PromiseWithResolvers<void> | undefined;
  let begun: Buffer | undefined;
  let left: number | undefined;

  const settle = (error?: Error): void => {
    const settled = waiting;
    waiting = begun = left = undefined;
    if (error === undefined) settled?.resolve();
    else settled?.reject(error);
  };
  socket.on('data', (bytes: Buffer) => {
    try {
      if (left === undefined) {
        begun = begun === undefined ? bytes : Buffer.concat([begun, bytes]);
        left = answerBytes(begun);
        if (left !== undefined) left -= begun.byteLength;
      } else {
        left -= bytes.byteLength;
      }
      if (left !== undefined && left <= 0) settle();
    } catch (error) {
      settle(error as Error);
      socket.destroy();
    }
  });
  // Its close tells it.
  socket.on('error', () => undefined);
  socket.on('close', () => settle(new Error('the connection was closed before the answer')));

  return {
    ask(request) {
      if (socket.destroyed) return Promise.reject(new Error('the connection was closed'));
      waiting = Promise.withResolvers();
      socket.write(request);
      return waiting.promise;
    },
    close: () => void socket.destroy(),
  };
}
