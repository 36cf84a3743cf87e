// The real runtime process, on a real but tiny model: what it prints, answers, and how it ends.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { cp, mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { letterTokenizer } from './tiny-model.ts';

const MAIN = new URL('../../runtime/main.ts', import.meta.url).pathname;
const FIXTURE = new URL('../fixtures/architectures/bert', import.meta.url).pathname;

export const TINY_MODEL = 'test/tiny-bert';
export const TINY_REVISION = 'a'.repeat(40);
export const TINY_DIMENSIONS = 32;
/** The fixture has 144 positions and 120 words. */
export const TINY_MAX_TOKENS = 144;
export const TINY_VOCABULARY = 120;

export interface TinyStore extends AsyncDisposable {
  readonly store: string;
  /** The snapshot's folder: tests break files in it. */
  readonly snapshot: string;
}

/** A store as `fetch` leaves it, with one snapshot: random weights, letters as tokens. */
export async function createTinyStore(): Promise<TinyStore> {
  const store = await mkdtemp(join(tmpdir(), 'kubembed-store-'));
  const folder = join(store, `models--${TINY_MODEL.replace('/', '--')}`);
  const snapshot = join(folder, 'snapshots', TINY_REVISION);
  await mkdir(join(folder, 'refs'), { recursive: true });
  await cp(FIXTURE, snapshot, { recursive: true });
  await writeFile(join(folder, 'refs', 'main'), TINY_REVISION);
  await writeFile(join(snapshot, 'tokenizer.json'), JSON.stringify(letterTokenizer));
  await mkdir(join(snapshot, '1_Pooling'), { recursive: true });
  await writeFile(join(snapshot, '1_Pooling', 'config.json'), JSON.stringify({ pooling_mode_mean_tokens: true }));
  await writeFile(
    join(snapshot, 'modules.json'),
    JSON.stringify([
      { idx: 0, name: '0', path: '', type: 'sentence_transformers.models.Transformer' },
      { idx: 1, name: '1', path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
    ]),
  );
  return { store, snapshot, [Symbol.asyncDispose]: () => rm(store, { recursive: true, force: true }) };
}

export interface RuntimeProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  /** Of the listener; resolves once it listens. */
  readonly url: Promise<string>;
  /** Exit code, or the signal's name. */
  readonly exited: Promise<number | NodeJS.Signals>;
  /** Everything printed so far. */
  output(): string;
  /** The first log line that holds this text, once there is one. */
  line(text: string): Promise<Record<string, unknown>>;
  terminationMessage(): Promise<Record<string, unknown>>;
  ready(): Promise<string>;
}

export interface RuntimeSettings {
  readonly command?: 'serve' | 'fetch';
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts `runtime/main.ts` with this environment and nothing else of the test's. */
export function startRuntime(store: string, { command = 'serve', env = {} }: RuntimeSettings = {}): RuntimeProcess {
  const terminationMessage = join(store, `termination-${process.hrtime.bigint()}`);
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, command], {
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: store,
      KUBEMBED_MODEL: TINY_MODEL,
      KUBEMBED_STORE: store,
      KUBEMBED_HOST: '127.0.0.1',
      KUBEMBED_PORT: '0',
      KUBEMBED_THREADS: '1',
      KUBEMBED_TERMINATION_LOG: terminationMessage,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exited = new Promise<number | NodeJS.Signals>((resolve) =>
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'SIGKILL')),
  );
  const url = until(
    () => /"url":"([^"]+)"/.exec(output)?.[1],
    exited,
    () => output,
  );
  url.catch(() => undefined);
  return {
    child,
    url,
    exited,
    output: () => output,
    line: async (text) => {
      const find = () => output.split('\n').find((line) => line.includes(text) && line.endsWith('}'));
      return JSON.parse(await until(find, exited, () => output)) as Record<string, unknown>;
    },
    terminationMessage: async () => JSON.parse(await readFile(terminationMessage, 'utf8')) as Record<string, unknown>,
    ready: async () => {
      await until(
        () => (output.includes('"message":"Ready"') ? 'ready' : undefined),
        exited,
        () => output,
      );
      return await url;
    },
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

async function until(read: () => string | undefined, exited: Promise<unknown>, output: () => string): Promise<string> {
  const over = exited.then(() => 'over' as const);
  for (;;) {
    const value = read();
    if (value !== undefined) return value;
    if ((await Promise.race([over, sleep(20)])) === 'over') throw new Error(`The runtime ended:\n${output()}`);
  }
}
