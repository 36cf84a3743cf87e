// The `kubembed` command: wires streams and signals, turns errors into words and exit codes.
import { packageFacts } from '../common/util/process.ts';
import { CommandError, programName, sayCommand, UsageError } from './command.ts';
import type { CliIo } from './command.ts';
import { COMMANDS, dispatch } from './dispatch.ts';

const leaving = new AbortController();
// Ctrl-C may come twice, from the terminal and from the bin: the second must not end what still stops in good order.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => leaving.abort());
process.on('disconnect', () => leaving.abort());
process.channel?.unref();
// A reader that has seen enough (`| head`) is no error.
process.stdout.on('error', () => process.exit(0));

const { env, stdout } = process;
const wantsColour = env['FORCE_COLOR'] !== undefined && env['FORCE_COLOR'] !== '0';
const refusesColour = (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb';

const argv = process.argv.slice(2);
// The bin of a clone runs this in a process of its own, and says there how it was called itself.
const script = /(^|\/)node$/.test(process.argv0) ? (process.argv[1] ?? '') : process.argv0;
const { name: packageName, version } = packageFacts();
const program = programName({ script, path: env['PATH'] ?? '', npmCommand: env['npm_command'], packageName });

const io: CliIo = {
  write: (text) => stdout.write(text),
  print: async (text) => await new Promise((resolve) => stdout.write(text, () => resolve())),
  writeError: (text) => process.stderr.write(text),
  input: () => process.stdin,
  isTerminal: process.stderr.isTTY,
  output: {
    isTerminal: stdout.isTTY,
    colour: wantsColour || (stdout.isTTY && !refusesColour),
    columns: () => (stdout.isTTY ? stdout.columns : Infinity),
  },
  env,
  program,
  now: () => performance.now(),
  date: Date.now,
  random: Math.random,
  signal: leaving.signal,
};

function tell(error: UsageError | CommandError): void {
  const reason = error instanceof CommandError ? error.reason : undefined;
  const message = sayCommand(error.message, program);
  if (argv.includes('--json')) {
    io.writeError(`${JSON.stringify({ error: { message, reason } })}\n`);
    return;
  }
  const [command] = argv;
  const isKnown = command !== undefined && Object.hasOwn(COMMANDS, command);
  const help = error instanceof UsageError ? `\nSee: ${program} ${isKnown ? `${command} ` : ''}--help` : '';
  io.writeError(`kubembed: ${reason === undefined ? '' : `${reason}: `}${message}${help}\n`);
}

try {
  process.exitCode = await dispatch({ commands: COMMANDS, version }, argv, io);
} catch (error) {
  if (leaving.signal.aborted) process.exit(130);
  if (!(error instanceof UsageError) && !(error instanceof CommandError)) throw error;
  tell(error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
