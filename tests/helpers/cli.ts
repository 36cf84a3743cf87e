// The `kubembed` command as a person runs it: a process with arguments, standard input and an environment, or on a terminal.
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { giveInput } from './standard-input.ts';

const BIN = fileURLToPath(new URL('../../cli/kubembed.mjs', import.meta.url));

export interface CliResult {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

export interface CliOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface Screen {
  /** Everything drawn so far, with its colours. */
  readonly shown: () => string;
  /** Keys pressed, as in `\u0003` for Ctrl-C. */
  readonly press: (keys: string) => void;
  readonly exit: Promise<number>;
}

export interface CliProcess {
  readonly process: ChildProcess;
  readonly out: () => string;
  readonly done: Promise<CliResult>;
}

/** Without the caller's own settings of endpoint, hub and colour. */
const UNSET = ['KUBEMBED_ENDPOINT', 'OPENAI_BASE_URL', 'OPENAI_API_KEY', 'FORCE_COLOR', 'KUBECONFIG', 'HF_HUB_OFFLINE'];

function environment(env: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !UNSET.includes(name)));
  return { ...inherited, ...env };
}

export function startCli(args: readonly string[], { input, env = {}, cwd }: CliOptions = {}): CliProcess {
  const child = spawn(process.execPath, [BIN, ...args], {
    env: environment(env),
    ...(cwd === undefined ? {} : { cwd }),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let out = '';
  let error = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (error += chunk.toString()));
  giveInput(child, input);
  const done = new Promise<CliResult>((resolve) => {
    child.once('close', (code) => resolve({ code: code ?? -1, out, error }));
  });
  return { process: child, out: () => out, done };
}

export const runCli = async (args: readonly string[], options?: CliOptions): Promise<CliResult> =>
  await startCli(args, options).done;

const quoted = (word: string): string => `'${word.replaceAll("'", String.raw`'\''`)}'`;

/** On a terminal of its own, which util-linux's `script` makes. */
export function startOnTerminal(args: readonly string[], env: Readonly<Record<string, string>> = {}): Screen {
  const command = `stty cols 100; exec ${[process.execPath, BIN, ...args].map(quoted).join(' ')}`;
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    env: environment({ TERM: 'xterm', ...env }),
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let shown = '';
  child.stdout.on('data', (chunk: Buffer) => (shown += chunk.toString()));
  return {
    shown: () => shown,
    press: (keys) => void child.stdin.write(keys),
    exit: new Promise((resolve) => child.once('close', (code) => resolve(code ?? -1))),
  };
}

/** What bash offers after this line, with the completion script that the command prints. */
export async function completeInBash(line: string): Promise<readonly string[]> {
  const { out: script } = await runCli(['completion', 'bash']);
  const words = line.split(' ');
  const ask = `COMP_WORDS=(${words.map(quoted).join(' ')}); COMP_CWORD=${words.length - 1}; _kubembed; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = await promisify(execFile)('bash', ['-c', `${script}\n${ask}`]);
  return stdout.split('\n').filter((word) => word !== '');
}
