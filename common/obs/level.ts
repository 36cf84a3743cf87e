// The log level of a running process: a signal turns debug lines on and off, without a restart.
import type { EventEmitter } from 'node:events';
import type { Log, LogLevel } from './log.ts';

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
