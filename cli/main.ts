// The `kubembed` command: wires streams and signals, turns errors into words and exit codes.
import { createInterface } from 'node:readline';
import { packageVersion } from '../common/util/process.ts';
import { CommandError, UsageError } from './command.ts';
import type { CliIo } from './command.ts';
import { COMMANDS, dispatch } from './dispatch.ts';

const leaving = new AbortController();
// Ctrl-C may come twice, from the terminal and from the bin: the second must not end what still stops in good order.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => leaving.abort());
// A reader that has seen enough (`| head`) is no error.
process.stdout.on('error', () => process.exit(0));

const { env, stdout } = process;
const wantsColour = env['FORCE_COLOR'] !== undefined && env['FORCE_COLOR'] !== '0';
const refusesColour = (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb';

const io: CliIo = {
  write: (text) => stdout.write(text),
  writeError: (text) => process.stderr.write(text),
  lines: () => createInterface({ input: process.stdin, crlfDelay: Infinity }),
  isTerminal: process.stderr.isTTY,
  output: {
    isTerminal: stdout.isTTY,
    colour: wantsColour || (stdout.isTTY && !refusesColour),
    columns: () => (stdout.isTTY ? stdout.columns : Infinity),
  },
  env,
  now: () => performance.now(),
  date: Date.now,
  signal: leaving.signal,
};

const argv = process.argv.slice(2);

function tell(error: UsageError | CommandError): void {
  const reason = error instanceof CommandError ? error.reason : undefined;
  if (argv.includes('--json')) {
    io.writeError(`${JSON.stringify({ error: { message: error.message, reason } })}
`);
    return;
  }
  const [command] = argv;
  const isKnown = command !== undefined && Object.hasOwn(COMMANDS, command);
  const help = error instanceof UsageError ? `\nSee: kubembed ${isKnown ? `${command} ` : ''}--help` : '';
  io.writeError(`kubembed: ${reason === undefined ? '' : `${reason}: `}${error.message}${help}\n`);
}

try {
  process.exitCode = await dispatch({ commands: COMMANDS, version: packageVersion() }, argv, io);
} catch (error) {
  if (leaving.signal.aborted) process.exit(130);
  if (!(error instanceof UsageError) && !(error instanceof CommandError)) throw error;
  tell(error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
