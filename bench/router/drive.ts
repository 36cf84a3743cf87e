// The load: connections that each send one request after the other. Over bare sockets, so that it takes little of the cores.
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';

export interface Driven {
  /** Milliseconds of each request. */
  readonly times: readonly number[];
  readonly seconds: number;
}

export interface Load {
  readonly connections: number;
  readonly seconds: number;
  /** Rest of a connection between two requests. */
  readonly pauseMs?: number;
}

export const requestOf = (body: string): Buffer => {
  const head = [
    'POST /v1/embeddings HTTP/1.1',
    'host: 127.0.0.1',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`);
};

/** Of an answer that is none: its head and what it says. */
const TOLD_BYTES = 1000;
const LENGTH = /content-length: (\d+)/i;

/** Resolves when the answer is whole. */
async function ask(socket: Socket, request: Buffer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  let left: number | undefined;
  const onData = (bytes: Buffer): void => {
    if (left === undefined) {
      const end = bytes.indexOf('\r\n\r\n');
      const head = bytes.toString('latin1', 0, end);
      if (!head.startsWith('HTTP/1.1 200')) reject(new Error(`answered ${bytes.toString('latin1', 0, TOLD_BYTES)}`));
      left = end + 4 + Number(LENGTH.exec(head)?.[1]);
    }
    left -= bytes.byteLength;
    if (left <= 0) resolve(undefined);
  };
  const onClose = (): void => reject(new Error('the connection was closed before the answer'));
  socket.on('data', onData).on('close', onClose);
  socket.write(request);
  try {
    await promise;
  } finally {
    socket.off('data', onData).off('close', onClose);
  }
}

export async function drive(port: number, request: Buffer, load: Load): Promise<Driven> {
  const { connections, seconds, pauseMs = 0 } = load;
  const times: number[] = [];
  const startedAt = performance.now();
  const end = startedAt + seconds * 1000;
  const loop = async (): Promise<void> => {
    const socket = connect(port, '127.0.0.1').setNoDelay(true);
    await once(socket, 'connect');
    // Its close tells it.
    socket.on('error', () => undefined);
    for (let now = performance.now(); now < end;) {
      await ask(socket, request);
      const after = performance.now();
      times.push(after - now);
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
      now = performance.now();
    }
    socket.destroy();
  };
  await Promise.all(Array.from({ length: connections }, loop));
  return { times, seconds: (performance.now() - startedAt) / 1000 };
}

const ACCEPTED_MS = 500;

/** One request on each of so many connections, all at once; the milliseconds of the first so many answers. */
export async function crowd(port: number, request: Buffer, connections: number, answers: number): Promise<number[]> {
  const sockets = Array.from({ length: connections }, () => connect(port, '127.0.0.1').setNoDelay(true));
  await Promise.all(sockets.map((socket) => once(socket, 'connect') as Promise<unknown>));
  // The kernel connects before the process accepts.
  await new Promise((resolve) => setTimeout(resolve, ACCEPTED_MS));
  const times: number[] = [];
  const { promise, resolve } = Promise.withResolvers<undefined>();
  for (const socket of sockets) {
    const startedAt = performance.now();
    socket.on('error', () => undefined);
    socket.once('data', () => {
      times.push(performance.now() - startedAt);
      if (times.length === answers) resolve(undefined);
    });
    socket.write(request);
  }
  await promise;
  for (const socket of sockets) socket.destroy();
  return times.slice(0, answers);
}
