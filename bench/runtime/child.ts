// Processes of the bench: started, spoken to in JSON lines, and never left behind.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';

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
  /** The next line of standard output that is JSON. */
  receive(): Promise<unknown>;
  stop(): Promise<void>;
}

const KILL_AFTER_MS = 5000;

/** Standard error, and what is printed that is not JSON, goes into `logFile`. */
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
  const lines: unknown[] = [];
  const waiting: ((line: unknown) => void)[] = [];
  createInterface({ input: child.stdout }).on('line', (text) => {
    if (!text.startsWith('{')) {
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

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
