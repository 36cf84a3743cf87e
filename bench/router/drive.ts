// The load: connections that each send one request after the other.
import { once } from 'node:events';
import { connect } from 'node:net';
import { openConnection } from '../connection.ts';

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

export async function drive(port: number, request: Buffer, load: Load): Promise<Driven> {
  const { connections, seconds, pauseMs = 0 } = load;
  const times: number[] = [];
  const startedAt = performance.now();
  const end = startedAt + seconds * 1000;
  const loop = async (): Promise<void> => {
    const connection = await openConnection(port);
    for (let now = performance.now(); now < end;) {
      await connection.ask(request);
      const after = performance.now();
      times.push(after - now);
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
      now = performance.now();
    }
    connection.close();
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
