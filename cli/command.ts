// What a command is, and what it may touch: streams, environment and arguments come in; an exit code goes out.
import type { ParseArgsConfig } from 'node:util';
import { parseArgs } from 'node:util';

export interface CliIo {
  readonly write: (text: string) => void;
  readonly writeError: (text: string) => void;
  /** Lines of standard input. */
  readonly lines: () => AsyncIterable<string>;
  readonly isTerminal: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly now: () => number;
  readonly signal: AbortSignal;
}

export interface Command {
  readonly summary: string;
  /** Printed by `--help`; the first line is the synopsis. */
  readonly usage: string;
  /** Long options, for completion. */
  readonly options: NonNullable<ParseArgsConfig['options']>;
  readonly run: (args: readonly string[], io: CliIo) => Promise<number>;
}

/** The command line is wrong: told with the usage, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** It cannot be done; the message says what to do about it. Exit code 1. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

export interface Parsed {
  readonly positionals: readonly string[];
  readonly text: (option: string) => string | undefined;
  readonly flag: (option: string) => boolean;
  /** A whole number within bounds; `fallback` when absent. */
  readonly count: (option: string, fallback: number, min?: number) => number;
}

/** @throws UsageError naming the option */
export function parse(args: readonly string[], options: NonNullable<ParseArgsConfig['options']>): Parsed {
  let values: Readonly<Record<string, unknown>>;
  let positionals: readonly string[];
  try {
    ({ values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true }));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  const text = (option: string): string | undefined => {
    const value = values[option];
    return typeof value === 'string' ? value : undefined;
  };
  return {
    positionals,
    text,
    flag: (option) => values[option] === true,
    count(option, fallback, min = 1) {
      const given = text(option);
      if (given === undefined) return fallback;
      const number = Number(given);
      if (!Number.isInteger(number) || number < min)
        throw new UsageError(`--${option}: expected a whole number from ${min}, got "${given}"`);
      return number;
    },
  };
}
