// Local mode as a person starts it: a process with its own port, data folder and files; stopped with everything under it.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtemp, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../local/main.ts', import.meta.url));
const START_LIMIT_MS = 120_000;

export interface LocalProcess {
  readonly url: string;
  readonly process: ChildProcess;
  readonly supportedModels: string;
  readonly modelsDir: string;
  readonly dataDir: string;
  /** Everything it printed so far. */
  readonly output: () => string;
  readonly embed: (body: object, signal?: AbortSignal) => Promise<Response>;
  readonly listModels: () => Promise<string[]>;
  /** Ctrl-C; resolves with the exit code. Also removes the folder. */
  readonly stop: () => Promise<number>;
}

export interface LocalProcessOptions {
  readonly supportedModels: string;
  /** YAML files by name, there from the start. */
  readonly models?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Default: one that is free. */
  readonly port?: number;
}

export async function startLocalProcess(options: LocalProcessOptions): Promise<LocalProcess> {
  const dir = await mkdtemp(join(tmpdir(), 'kubembed-local-'));
  const supportedModels = join(dir, 'supported_models.txt');
  const modelsDir = join(dir, 'models');
  const dataDir = join(dir, 'data');
  await writeFile(supportedModels, options.supportedModels);
  await mkdir(modelsDir);
  for (const [name, text] of Object.entries(options.models ?? {})) await writeFile(join(modelsDir, name), text);

  const args = [
    '--port',
    String(options.port ?? 0),
    '--supported-models',
    supportedModels,
    '--models',
    modelsDir,
    '--data',
    dataDir,
  ];
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exited = new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? -1)));

  const deadline = Date.now() + START_LIMIT_MS;
  let url: string | undefined;
  while (url === undefined) {
    url = /kubembed is ready at (http:\S+)\/v1/.exec(output)?.[1];
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`local mode did not start:\n${output}`);
    await sleep(20);
  }
  const base = url;
  return {
    url: base,
    process: child,
    supportedModels,
    modelsDir,
    dataDir,
    output: () => output,
    embed: async (body, signal) =>
      await fetch(`${base}/v1/embeddings`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        ...(signal === undefined ? {} : { signal }),
      }),
    async listModels() {
      const response = await fetch(`${base}/v1/models`);
      const list = (await response.json()) as { data: { id: string }[] };
      return list.data.map(({ id }) => id).sort();
    },
    async stop() {
      child.kill('SIGINT');
      const code = await exited;
      await rm(dir, { recursive: true, force: true });
      return code;
    },
  };
}

/** Ids of living processes whose environment holds each of the texts. */
export async function processesWith(...texts: readonly string[]): Promise<number[]> {
  const found: number[] = [];
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const [command, state] = await Promise.all([
      readFile(`/proc/${entry}/environ`, 'utf8').catch(() => ''),
      readFile(`/proc/${entry}/stat`, 'utf8').catch(() => ''),
    ]);
    if (texts.every((text) => command.includes(text)) && !/\) [ZX] /.test(state)) found.push(Number(entry));
  }
  return found;
}

/** Asks again until it holds; fails with the last answer. */
export async function eventually<T>(
  ask: () => Promise<T>,
  holds: (answer: T) => boolean,
  limitMs = 60_000,
): Promise<T> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (holds(answer)) return answer;
    if (Date.now() > deadline) throw new Error(`still not so: ${JSON.stringify(answer)}`);
    await sleep(50);
  }
}
