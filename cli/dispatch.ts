// Every command by its name, and from arguments to one of them: `--help`, `--version`, and what was meant by a name that is none.
import { suggestion } from '../common/util/text.ts';
import { isGroup, sayCommand, SELF, UsageError } from './command.ts';
import type { CliIo, Command, Commands, Group } from './command.ts';
import { benchCommand } from './commands/bench.ts';
import { completionCommand } from './commands/completion.ts';
import { embedCommand } from './commands/embed.ts';
import { modelsGroup } from './commands/models.ts';
import { sizeCommand } from './commands/size.ts';
import { startCommand } from './commands/start.ts';
import { statusCommand } from './commands/status.ts';

export const COMMANDS: Commands = {
  start: startCommand,
  status: statusCommand,
  embed: embedCommand,
  bench: benchCommand,
  size: sizeCommand,
  models: modelsGroup,
  // It completes itself as well.
  completion: completionCommand(() => COMMANDS),
};

const HELP: ReadonlySet<string | undefined> = new Set(['--help', '-h', 'help']);

const listOf = (commands: Commands): string => {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  return Object.entries(commands)
    .map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}\n`)
    .join('');
};

const overview = (commands: Commands): string =>
  `Usage: ${SELF} COMMAND [options]\n\n${listOf(commands)}\n"${SELF} COMMAND --help" tells more; "${SELF} --version" the version.\n`;

const groupHelp = (name: string, group: Group): string =>
  `Usage: ${SELF} ${name} COMMAND [options]\n\n${listOf(group.commands)}\n"${SELF} ${name} COMMAND --help" tells more.\n`;

const unknown = (name: string, commands: Commands, of: string): UsageError => {
  const known = Object.keys(commands);
  const hint = suggestion(name, known) || ` There are ${known.join(', ')}.`;
  return new UsageError(`There is no command "${of}${name}".${hint}`);
};

/** Synopses are written with the plain name. */
const usageFor = ({ usage }: Command, program: string): string =>
  sayCommand(usage.replace(/^( *)kubembed /gm, `$1${program} `), program);

const runCommand = async (command: Command, args: readonly string[], io: CliIo): Promise<number> => {
  // What follows `--` is data, even if it looks like an option.
  const end = args.indexOf('--');
  if ((end === -1 ? args : args.slice(0, end)).some((arg) => arg === '--help' || arg === '-h')) {
    io.write(`Usage: ${usageFor(command, io.program)}\n`);
    return 0;
  }
  return await command.run(args, io);
};

async function runGroup(name: string, group: Group, args: readonly string[], io: CliIo): Promise<number> {
  const [first, ...rest] = args;
  if (HELP.has(first)) {
    io.write(sayCommand(groupHelp(name, group), io.program));
    return 0;
  }
  const isNamed = first !== undefined && !first.startsWith('-');
  const chosen = isNamed ? first : group.preset;
  const command = chosen !== undefined && Object.hasOwn(group.commands, chosen) ? group.commands[chosen] : undefined;
  if (command === undefined) throw unknown(chosen ?? '', group.commands, `${name} `);
  return await runCommand(command, isNamed ? rest : args, io);
}

export interface Program {
  readonly commands: Commands;
  readonly version: string;
}

/** @throws UsageError, CommandError */
export async function dispatch({ commands, version }: Program, argv: readonly string[], io: CliIo): Promise<number> {
  const [name, ...args] = argv;
  if (name === undefined || HELP.has(name)) {
    io.write(sayCommand(overview(commands), io.program));
    return 0;
  }
  if (name === '--version' || name === '-v') {
    io.write(`${version}\n`);
    return 0;
  }
  const entry = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (entry === undefined) throw unknown(name, commands, '');
  return isGroup(entry) ? await runGroup(name, entry, args, io) : await runCommand(entry, args, io);
}
