// A bulk job as it fares on a bad day: `kubembed embed` killed again and again, its service restarted in between, and begun again.
import { readFile } from 'node:fs/promises';
import { brotliDecompressSync } from 'node:zlib';
import { setTimeout as sleep } from 'node:timers/promises';
import { startCli } from './cli.ts';
import type { CliResult } from './cli.ts';

/** Batches on disk: lines of the journal, less the first. */
const batchesOf = async (output: string): Promise<number> =>
  await readFile(`${output}.partial/rows.jsonl`, 'utf8').then(
    (text) => text.split('\n').length - 2,
    () => 0,
  );

export interface BadDay {
  readonly args: readonly string[];
  readonly output: string;
  readonly env: Readonly<Record<string, string>>;
  /** What happens when so many batches are on disk, in this order. The job is to be begun again after those that end it. */
  readonly troubles: readonly {
    readonly afterBatches: number;
    readonly signal?: NodeJS.Signals;
    readonly then?: () => Promise<void>;
  }[];
}

/** @returns how each of the runs ended: the last one is whole */
export async function embedOnABadDay({ args, output, env, troubles }: BadDay): Promise<readonly CliResult[]> {
  const results: CliResult[] = [];
  let job = startCli(args, { env });
  for (const { afterBatches, signal, then } of troubles) {
    while ((await batchesOf(output)) < afterBatches) {
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
  const packed = await readFile(new URL('../../bench/runtime/corpus/english.txt.br', import.meta.url));
  const text = brotliDecompressSync(packed).toString().replace(/\s+/g, ' ');
  const all = [...new Set(text.match(/[^.!?]{20,300}[.!?]/g) ?? [])].map((sentence) => sentence.trim());
  if (all.length === 0) throw new Error('the corpus has no sentences');
  return Array.from({ length: count }, (_, at) => (at < all.length ? all[at]! : `${at}: ${all[at % all.length]!}`));
}
