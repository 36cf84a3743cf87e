// The logger of a process: JSON lines for machines, one readable line each on a terminal.
import type { EventEmitter } from 'node:events';
import pino from 'pino';
import type { DestinationStream, Logger } from 'pino';
import type { LogLevel } from './log-level.ts';
import { withSourceLines } from './source-lines.ts';

export type Log = Pick<
  Logger,
  'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'child' | 'level' | 'isLevelEnabled'
>;

export interface LogOptions {
  readonly name: string;
  readonly level: LogLevel;
  /** True when a person reads: one short line each instead of JSON. */
  readonly readable: boolean;
  /** A stream, or a file's path; stdout when absent. */
  readonly destination?: DestinationStream | string;
}

/** A log and how to write out what it still holds, for the last moment of a process. */
export interface LogHandle {
  readonly log: Logger;
  flush(): void;
}

export function createLog({ name, level, readable, destination }: LogOptions): LogHandle {
  const { target, flush, hurry } =
    typeof destination === 'object'
      ? { target: destination, flush: () => undefined, hurry: () => undefined }
      : openOutput(destination ?? STDOUT);
  const stream: DestinationStream = readable ? { write: (line) => target.write(readableLine(line)) } : target;
  const log = pino(
    {
      name,
      level,
      base: { name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: 'message',
      errorKey: 'error',
      serializers: { error: serializeError },
      hooks: {
        logMethod(args, write, severity) {
          write.apply(this, args);
          // Who acts on a warning, or looks for why a process was killed, must not wait for a full block.
          if (severity >= WARN) hurry();
        },
      },
    },
    stream,
  );
  return { log, flush };
}

function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const serialized = pino.stdSerializers.err(error);
  // Whoever throws may have deleted it.
  const stack = serialized.stack as string | undefined;
  return stack === undefined ? serialized : { ...serialized, stack: withSourceLines(stack) };
}

const STDOUT = 1;
const WARN = pino.levels.values['warn'] ?? 0;

interface Output {
  readonly target: DestinationStream;
  /** Writes what is held before it returns. */
  readonly flush: () => void;
  /** Writes what is held soon, and returns at once. */
  readonly hurry: () => void;
}

/** Gathers lines: each write wakes a thread, which is dear next to a line. */
function openOutput(dest: string | number): Output {
  // Not synchronous: a reader that stops reading the pipe must not stop the event loop.
  const target = pino.destination({ dest, sync: false, minLength: 12_288, periodicFlush: 200 });
  return { target, flush: () => target.flushSync(), hurry: () => target.flush() };
}

const SHOWN_ELSEWHERE = new Set(['time', 'level', 'name', 'message', 'error']);

/** `12:00:00 INFO  runtime Request answered status=200 tokens=12` */
export function readableLine(line: string): string {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return line;
  }
  const pairs = Object.entries(entry)
    .filter(([key]) => !SHOWN_ELSEWHERE.has(key))
    .map(([key, value]) => ` ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const text = (key: string) => (typeof entry[key] === 'string' ? entry[key] : '');
  const error = entry['error'] as { readonly stack?: string; readonly message?: string } | undefined;
  const trace = error === undefined ? '' : `\n  ${(error.stack ?? error.message ?? '').replaceAll('\n', '\n  ')}`;
  return `${text('time').slice(11, 19)} ${text('level').toUpperCase().padEnd(5)} ${text('name')} ${text('message')}${pairs.join('')}${trace}\n`;
}

export const LEVEL_SIGNAL = 'SIGUSR2';

/** Who runs at debug or below anyway is turned down to info, so that every signal shows. */
export function switchLevelOnSignal(
  signals: Pick<EventEmitter, 'on'>,
  log: Pick<Log, 'level' | 'warn'>,
  configured: LogLevel,
): void {
  const other = configured === 'debug' || configured === 'trace' ? 'info' : 'debug';
  signals.on(LEVEL_SIGNAL, () => {
    log.level = log.level === configured ? other : configured;
    log.warn({ logLevel: log.level }, 'Log level changed');
  });
}
