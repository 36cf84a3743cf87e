// What a command is, and what it may touch: streams, environment and arguments come in; an exit code goes out.
import type { ParseArgsConfig } from 'node:util';
import { parseArgs } from 'node:util';
import { suggestion } from '../common/util/text.ts';

export interface CliIo {
  readonly write: (text: string) => void;
  /** Resolves when its reader has taken it: for what may be long. */
  readonly print: (text: string) => Promise<void>;
  readonly writeError: (text: string) => void;
  /** Standard input. */
  readonly input: () => AsyncIterable<Uint8Array>;
  /** Standard error goes to a person: progress may be drawn there. */
  readonly isTerminal: boolean;
  readonly output: {
    readonly isTerminal: boolean;
    readonly colour: boolean;
    /** Width in characters; Infinity when no terminal cuts lines. */
    readonly columns: () => number;
  };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What the person types to run this command. */
  readonly program: string;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Milliseconds since the epoch. */
  readonly date: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  readonly signal: AbortSignal;
}

/** How hints name this command: they are given before it is known how the person has it. See `sayCommand`. */
export const SELF = '{kubembed}';

/** The hint with the words that this person can type. */
export const sayCommand = (text: string, program: string): string => text.replaceAll(SELF, program);

export interface Invocation {
  /** The script as it was called. */
  readonly script: string;
  readonly path: string;
  /** What npm runs, where it runs this. */
  readonly npmCommand: string | undefined;
  readonly packageName: string;
}

/** What a person types to get here again: `kubembed` only where the shell finds it. */
export function programName({ script, path, npmCommand, packageName }: Invocation): string {
  const [, folder = '', name = ''] = /^(.*)\/([^/]*)$/.exec(script) ?? [];
  const isFound = name === 'kubembed' && path.split(':').includes(folder);
  return isFound && npmCommand !== 'exec' ? 'kubembed' : `npx ${packageName}`;
}

/** A question asked anew each time: it changes while others wait. */
export const isAborted = ({ signal }: CliIo): boolean => signal.aborted;

export type Options = NonNullable<ParseArgsConfig['options']>;

export interface Command {
  readonly summary: string;
  /** Printed by `--help`; the first line is the synopsis. */
  readonly usage: string;
  readonly options: Options;
  /** Values that an option or, under the empty name, an argument may take: for completion. */
  readonly choices?: Readonly<Record<string, readonly string[]>>;
  readonly run: (args: readonly string[], io: CliIo) => Promise<number>;
}

/** A command of commands. */
export interface Group {
  readonly summary: string;
  readonly commands: Readonly<Record<string, Command>>;
  /** Which one is meant when none is named. */
  readonly preset?: string;
}

export type Commands = Readonly<Record<string, Command | Group>>;

export const isGroup = (entry: Command | Group): entry is Group => 'commands' in entry;

/** The command line is wrong: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** It cannot be done; the message says what to do about it. Exit code 1. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  /** A condition reason, where there is one. */
  readonly reason: string | undefined;

  constructor(message: string, reason?: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

export interface Parsed {
  readonly positionals: readonly string[];
  readonly text: (option: string) => string | undefined;
  /** Of an option that may be given more than once. */
  readonly texts: (option: string) => readonly string[];
  readonly flag: (option: string) => boolean;
  /** A whole number within bounds; `fallback` when absent. */
  readonly count: (option: string, fallback: number, min?: number) => number;
  /** One of the words; undefined when absent. */
  readonly choice: <T extends string>(option: string, words: readonly T[]) => T | undefined;
}

/** Node's own words are about its parser; these are about the command line. */
function explain(error: unknown, options: Options): string {
  const { code, message } = error as { code?: string; message: string };
  const [, given = ''] = /'(-[^' ]*)/.exec(message) ?? [];
  if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') {
    return `There is no option ${given}.${suggestion(given.replace(/^-+/, ''), Object.keys(options), '--')}`;
  }
  return message.split('\n', 1)[0] ?? message;
}

/** @throws UsageError naming the option */
export function parse(args: readonly string[], options: Options): Parsed {
  let values: Readonly<Record<string, unknown>>;
  let positionals: readonly string[];
  try {
    ({ values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true }));
  } catch (error) {
    throw new UsageError(explain(error, options));
  }
  const text = (option: string): string | undefined => {
    const value = values[option];
    return typeof value === 'string' ? value : undefined;
  };
  return {
    positionals,
    text,
    texts: (option) => (values[option] as readonly string[] | undefined) ?? [],
    flag: (option) => values[option] === true,
    count(option, fallback, min = 1) {
      const given = text(option);
      if (given === undefined) return fallback;
      const number = Number(given);
      if (!Number.isInteger(number) || number < min)
        throw new UsageError(`--${option}: expected a whole number from ${min}, got "${given}"`);
      return number;
    },
    choice(option, words) {
      const given = text(option);
      const found = words.find((word) => word === given);
      if (given === undefined || found !== undefined) return found;
      throw new UsageError(`--${option}: expected one of ${words.join(', ')}, got "${given}"`);
    },
  };
}
