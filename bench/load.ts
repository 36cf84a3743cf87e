// Closed-loop load on one HTTP endpoint, as many clients as asked for, and what they saw. It shares the cores with what is measured.
import { once } from 'node:events';
import { connect as connectSocket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'undici';
import type { Dispatcher } from 'undici';
import { startMeter } from './machine.ts';
import type { Usage } from './machine.ts';
import { tokensWithin } from './statistics.ts';
import type { Timed } from './statistics.ts';

export interface Request {
  readonly path: string;
  /** JSON; without it the request is a GET. */
  readonly body?: Buffer;
}

export interface Call extends Request {
  readonly tokens: number;
}

export interface Target {
  readonly port: number;
  readonly pid: number;
}

/** Of an answer that is an error. */
const MAX_TOLD_BYTES = 1000;
const HEADERS = { 'content-type': 'application/json' };

/** Reads an answer to its end and parses none of it. */
class Reading implements Dispatcher.DispatchHandler {
  readonly #settle: (error?: Error) => void;
  #status = 0;
  #told = '';

  constructor(settle: (error?: Error) => void) {
    this.#settle = settle;
  }

  onRequestStart(): void {
    // Nothing to do, and undici insists.
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    this.#status = status;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#status !== 200) this.#told += chunk.toString('utf8', 0, MAX_TOLD_BYTES);
  }

  onResponseEnd(): void {
    this.#settle(this.#status === 200 ? undefined : new Error(`answered ${this.#status}: ${this.#told}`));
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#settle(error);
  }
}

/** One keep-alive connection. */
export interface Connection {
  /** Resolves when the answer has come whole. Any other status than 200 is an error. */
  ask(request: Request): Promise<void>;
  close(): void;
}

export function connect(port: number): Connection {
  const client = new Client(`http://127.0.0.1:${port}`, { pipelining: 1, headersTimeout: 0, bodyTimeout: 0 });
  return {
    ask: ({ path, body }) =>
      new Promise((resolve, reject) => {
        const handler = new Reading((error) => (error === undefined ? resolve() : reject(error)));
        client.dispatch(
          body === undefined ? { method: 'GET', path } : { method: 'POST', path, headers: HEADERS, body },
          handler,
        );
      }),
    close: () => void client.destroy(),
  };
}

export interface Load {
  readonly calls: readonly Call[];
  /** Where in `calls` to begin: everyone begins a round at the same place. */
  readonly from: number;
  readonly concurrency: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  /** Rest of a client between two requests. */
  readonly pauseMs?: number;
}

export interface LoadReport {
  readonly usage: Usage;
  readonly tokens: number;
  readonly latenciesMs: readonly number[];
  readonly errors: number;
}

/** Nobody waits longer for the slowest client's first answer. */
const MAX_WARM_UP_MS = 60_000;
const PAUSE_AFTER_ERROR_MS = 20;

async function call(connection: Connection, request: Call): Promise<Timed> {
  const startMs = performance.now();
  await connection.ask(request);
  return { startMs, endMs: performance.now(), tokens: request.tokens };
}

/** The load of one window. */
export async function drive(target: Target, load: Load): Promise<LoadReport> {
  const { calls, concurrency, warmUpSeconds, seconds, pauseMs = 0 } = load;
  const done: Timed[] = [];
  const answered = new Set<number>();
  let errors = 0;
  let next = load.from;
  let over = false;
  const client = async (id: number): Promise<void> => {
    const connection = connect(target.port);
    while (!over) {
      try {
        done.push(await call(connection, calls[next++ % calls.length]!));
        if (pauseMs > 0) await sleep(pauseMs);
      } catch (error) {
        if (errors++ === 0) process.stderr.write(`    ${String(error)}\n`);
        await sleep(PAUSE_AFTER_ERROR_MS);
      }
      answered.add(id);
    }
    connection.close();
  };
  const clients = Array.from({ length: concurrency }, (_, id) => client(id));
  try {
    const startedMs = performance.now();
    const warm = (): boolean => {
      const elapsed = performance.now() - startedMs;
      // Before each client has had an answer, the queue is not the one of a closed loop yet.
      return elapsed >= warmUpSeconds * 1000 && (answered.size === concurrency || elapsed > MAX_WARM_UP_MS);
    };
    while (!warm()) await sleep(10);
    errors = 0;
    const fromMs = performance.now();
    const stop = startMeter(target.pid);
    await sleep(seconds * 1000);
    const usage = stop();
    const toMs = performance.now();
    const failed = errors;
    over = true;
    // What is in flight is waited for, because its share inside the window counts.
    await Promise.all(clients);
    const inside = done.filter(({ endMs }) => endMs > fromMs && endMs <= toMs);
    // Of requests that take longer than a window perhaps none ends in it; those under way then speak for it.
    const seen = inside.length > 0 ? inside : done.filter(({ startMs, endMs }) => startMs < toMs && endMs > fromMs);
    const latenciesMs = seen.map(({ startMs, endMs }) => endMs - startMs);
    return { usage, tokens: tokensWithin(done, fromMs, toMs), latenciesMs, errors: failed };
  } finally {
    over = true;
    await Promise.all(clients);
  }
}

/** Some calls one after the other, once: for requests that are a window of their own. */
export async function driveOnce(target: Target, warmUp: Call, calls: readonly Call[]): Promise<LoadReport> {
  const connection = connect(target.port);
  try {
    await call(connection, warmUp);
    const stop = startMeter(target.pid);
    const done: Timed[] = [];
    for (const one of calls) done.push(await call(connection, one));
    const usage = stop();
    const tokens = done.reduce((sum, one) => sum + one.tokens, 0);
    return { usage, tokens, latenciesMs: [done.at(-1)!.endMs - done[0]!.startMs], errors: 0 };
  } finally {
    connection.close();
  }
}

const ACCEPTED_MS = 500;

/**
 * One request on each of so many connections, all at once; the milliseconds to the first byte of the first so many answers. Bare
 * sockets: a thousand HTTP clients would be what is measured.
 */
export async function crowd(
  port: number,
  { path, body = Buffer.alloc(0) }: Request,
  connections: number,
  answers: number,
): Promise<number[]> {
  const head = `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${body.byteLength}\r\n\r\n`;
  const bytes = Buffer.concat([Buffer.from(head), body]);
  const sockets = Array.from({ length: connections }, () => connectSocket(port, '127.0.0.1').setNoDelay(true));
  await Promise.all(sockets.map((socket) => once(socket, 'connect') as Promise<unknown>));
  // The kernel connects before the process accepts.
  await sleep(ACCEPTED_MS);
  const times: number[] = [];
  const { promise, resolve } = Promise.withResolvers<undefined>();
  for (const socket of sockets) {
    const startedAt = performance.now();
    socket.on('error', () => undefined);
    socket.once('data', () => {
      times.push(performance.now() - startedAt);
      if (times.length === answers) resolve(undefined);
    });
    socket.write(bytes);
  }
  await promise;
  for (const socket of sockets) socket.destroy();
  return times.slice(0, answers);
}
