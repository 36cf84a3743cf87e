// The `kubembed` command: picks the subcommand, wires streams and signals, turns errors into words and exit codes.
import { createInterface } from 'node:readline';
import { CommandError, UsageError } from './command.ts';
import type { CliIo, Command } from './command.ts';
import { benchCommand } from './commands/bench.ts';
import { embedCommand } from './commands/embed.ts';
import { modelsCommand } from './commands/models.ts';
import { startCommand } from './commands/start.ts';

const COMMANDS: Readonly<Record<string, Command>> = {
  start: startCommand,
  embed: embedCommand,
  bench: benchCommand,
  models: modelsCommand,
};

const help = (): string => {
  const lines = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(8)} ${summary}`);
  return `Usage: kubembed COMMAND [options]\n\n${lines.join('\n')}\n\n"kubembed COMMAND --help" tells more.\n`;
};

async function dispatch(argv: readonly string[], io: CliIo): Promise<number> {
  const [name, ...args] = argv;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    io.write(help());
    return 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) throw new UsageError(`There is no command "${name}".\n\n${help()}`);
  if (args.includes('--help') || args.includes('-h')) {
    io.write(`Usage: ${command.usage}\n`);
    return 0;
  }
  return await command.run(args, io);
}

const leaving = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => leaving.abort());
// A reader that has seen enough (`| head`) is no error.
process.stdout.on('error', () => process.exit(0));

const io: CliIo = {
  write: (text) => process.stdout.write(text),
  writeError: (text) => process.stderr.write(text),
  lines: () => createInterface({ input: process.stdin, crlfDelay: Infinity }),
  isTerminal: process.stderr.isTTY,
  env: process.env,
  now: () => performance.now(),
  signal: leaving.signal,
};

try {
  process.exitCode = await dispatch(process.argv.slice(2), io);
} catch (error) {
  if (leaving.signal.aborted) process.exit(130);
  if (!(error instanceof UsageError) && !(error instanceof CommandError)) throw error;
  io.writeError(`kubembed: ${error.message}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
