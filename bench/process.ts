// Processes of the bench: started, spoken to in lines, waited for, and never left behind.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface Child {
  readonly pid: number;
  readonly startedMs: number;
  /** Rejects when the process ends before it was told to. */
  readonly died: Promise<never>;
  send(order: unknown): void;
  /** The next line of standard output that is a JSON object or a number. */
  receive(): Promise<unknown>;
  /** Resolves when `ask` does so with true; asks every 20 ms. Rejects when the process ends first, or after five minutes. */
  until(ask: () => Promise<boolean>): Promise<void>;
  stop(): Promise<void>;
}

const KILL_AFTER_MS = 5000;
const WAIT_MS = 300_000;

/** Standard error, and what is printed that is no answer, goes into `logFile`. */
export function startChild({ file, args, env }: Command, logFile: string): Child {
  const startedMs = performance.now();
  const child = spawn(file, args, {
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
  const { pid = 0 } = child;
  const log = createWriteStream(logFile, { flags: 'a' });
  child.stderr.pipe(log);
  // Whoever ends before it has read its orders.
  child.stdin.on('error', () => undefined);
  const lines: unknown[] = [];
  const waiting: ((line: unknown) => void)[] = [];
  createInterface({ input: child.stdout }).on('line', (text) => {
    if (!/^(\{.*|\d+)$/.test(text)) {
      log.write(`${text}\n`);
      return;
    }
    const line: unknown = JSON.parse(text);
    const taker = waiting.shift();
    if (taker === undefined) lines.push(line);
    else taker(line);
  });
  let stopping = false;
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(`exit ${code ?? signal ?? '?'}`));
  });
  const died = ended.then((how) => {
    if (stopping) return new Promise<never>(() => undefined);
    throw new Error(`${file} ${args[0] ?? ''} ended: ${how}; see ${logFile}`);
  });
  died.catch(() => undefined);
  const kill = (signal: NodeJS.Signals): void => {
    try {
      // The whole group: some peers start helpers that outlive them.
      process.kill(-pid, signal);
    } catch {
      // Already gone.
    }
  };
  const killAtExit = (): void => kill('SIGKILL');
  process.once('exit', killAtExit);
  return {
    pid,
    startedMs,
    died,
    send: (order) => void child.stdin.write(`${JSON.stringify(order)}\n`),
    receive: () => {
      const line = lines.shift();
      const next =
        line === undefined ? new Promise<unknown>((resolve) => waiting.push(resolve)) : Promise.resolve(line);
      return Promise.race([next, died]);
    },
    until: async (ask) => {
      while (performance.now() < startedMs + WAIT_MS) {
        if (await Promise.race([ask().catch(() => false), died])) return;
        await sleep(20);
      }
      throw new Error(`${file} ${args[0] ?? ''} was not ready in time; see ${logFile}`);
    },
    stop: async () => {
      stopping = true;
      kill('SIGTERM');
      const timer = setTimeout(() => kill('SIGKILL'), KILL_AFTER_MS);
      await ended;
      clearTimeout(timer);
      process.removeListener('exit', killAtExit);
    },
  };
}

/** Children are ended by the exit of this process; a signal alone would leave them running. */
export function exitOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
