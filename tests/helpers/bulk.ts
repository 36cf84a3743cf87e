// A bulk job as it fares on a bad day: `kubembed embed` killed again and again, its service restarted in between, and begun again.
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { readEnglish } from '../../cli/corpora.ts';
import { startCli } from './cli.ts';
import type { CliResult } from './cli.ts';
import { startLocalProcess } from './local-process.ts';
import type { LocalProcess } from './local-process.ts';
import { MINILM, testStore } from './minilm.ts';

/** all-MiniLM-L6-v2 in local mode, from the store of the tests. */
export const startBulkService = async (
  port: number,
  models: Readonly<Record<string, string>> = {},
): Promise<LocalProcess> =>
  await startLocalProcess({
    supportedModels: `${MINILM}\n`,
    models,
    env: { HF_HUB_OFFLINE: '1', KUBEMBED_STORE: testStore, KUBEMBED_LOG_LEVEL: 'warn' },
    port,
  });

/** By which the command finds it. */
export const bulkServiceEnv = (port: number): Record<string, string> => ({
  OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1`,
});

/** Rows whose vectors are on disk. */
const rowsOnDisk = async (output: string, dimensions: number): Promise<number> =>
  await stat(`${output}.partial/vectors.f32`).then(
    ({ size }) => Math.floor(size / (4 * dimensions)),
    () => 0,
  );

export interface BadDay {
  readonly args: readonly string[];
  readonly output: string;
  readonly dimensions: number;
  readonly env: Readonly<Record<string, string>>;
  /** What happens when so many rows are on disk, in this order. After a signal the job is begun again. */
  readonly troubles: readonly {
    readonly afterRows: number;
    readonly signal?: NodeJS.Signals;
    readonly then?: () => Promise<void>;
  }[];
}

/** @returns how each of the runs ended: the last one is whole */
export async function embedOnABadDay({
  args,
  output,
  dimensions,
  env,
  troubles,
}: BadDay): Promise<readonly CliResult[]> {
  const results: CliResult[] = [];
  let job = startCli(args, { env });
  for (const { afterRows, signal, then } of troubles) {
    while ((await rowsOnDisk(output, dimensions)) < afterRows) {
      if (job.process.exitCode !== null) throw new Error(`ended before its time: ${(await job.done).error}`);
      await sleep(5);
    }
    if (signal !== undefined) {
      job.process.kill(signal);
      results.push(await job.done);
    }
    await then?.();
    if (signal !== undefined) job = startCli(args, { env });
  }
  return [...results, await job.done];
}

/** Sentences of public-domain prose, no two alike. */
export async function sentences(count: number): Promise<string[]> {
  const text = (await readEnglish()).replace(/\s+/g, ' ');
  const all = [...new Set(text.match(/[^.!?]{20,300}[.!?]/g) ?? [])].map((sentence) => sentence.trim());
  if (all.length === 0) throw new Error('the corpus has no sentences');
  return Array.from({ length: count }, (_, at) => (at < all.length ? all[at]! : `${at}: ${all[at % all.length]!}`));
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export interface ReadOutput {
  readonly ids: readonly unknown[];
  readonly vectors: readonly Float32Array[];
}

export const floatsIn = (bytes: Buffer): Float32Array =>
  Float32Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(4 * at));

/** An array of NumPy's, and the ids beside it. */
export async function readNpy(file: string): Promise<ReadOutput> {
  const bytes = await readFile(file);
  const start = 10 + bytes.readUInt16LE(8);
  const [, rows, columns] = /\((\d+), (\d+)\)/.exec(bytes.toString('latin1', 10, start))!.map(Number);
  const ids = JSON.parse(await readFile(file.replace(/\.npy$/, '.ids.json'), 'utf8')) as unknown[];
  const at = (row: number): number => start + 4 * row * columns!;
  return { ids, vectors: Array.from({ length: rows! }, (_, row) => floatsIn(bytes.subarray(at(row), at(row + 1)))) };
}

/** Of each pair of vectors, by how much their most different numbers differ. */
export const differencesOf = (vectors: readonly Float32Array[], others: readonly Float32Array[]): number[] =>
  vectors.map((vector, at) => {
    const other = others[at]!;
    return vector.reduce((most, value, i) => Math.max(most, Math.abs(value - other[i]!)), 0);
  });
