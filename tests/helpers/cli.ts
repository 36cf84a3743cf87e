// The `kubembed` command as a person runs it: a process with arguments, standard input and an environment.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

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

export interface CliProcess {
  readonly process: ChildProcess;
  readonly out: () => string;
  readonly done: Promise<CliResult>;
}

/** Without the caller's own settings of endpoint, hub and colour. */
const UNSET = ['KUBEMBED_ENDPOINT', 'OPENAI_BASE_URL', 'OPENAI_API_KEY', 'FORCE_COLOR', 'KUBECONFIG', 'HF_HUB_OFFLINE'];

export function startCli(args: readonly string[], { input, env = {}, cwd }: CliOptions = {}): CliProcess {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !UNSET.includes(name)));
  const child = spawn(process.execPath, [BIN, ...args], {
    env: { ...inherited, ...env },
    ...(cwd === undefined ? {} : { cwd }),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let out = '';
  let error = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (error += chunk.toString()));
  child.stdin.on('error', () => undefined);
  child.stdin.end(input ?? '');
  const done = new Promise<CliResult>((resolve) => {
    child.once('close', (code) => resolve({ code: code ?? -1, out, error }));
  });
  return { process: child, out: () => out, done };
}

export const runCli = async (args: readonly string[], options?: CliOptions): Promise<CliResult> =>
  await startCli(args, options).done;
