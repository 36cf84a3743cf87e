// Two models on one card: each alone, then both under load at once, and whether their vectors stay what they were.
import type { Card } from '../card.ts';
import type { Timing } from '../options.ts';
import type { BenchContext, RunningPeer } from '../runtime/peer.ts';
import { smallestCosine } from '../vectors.ts';
import type { Reference } from '../../tests/helpers/references.ts';
import { kubembed } from './peers.ts';
import type { Precision } from './names.ts';
import { textsToCompare } from './references.ts';

export interface Placed {
  readonly title: string;
  readonly precision: Precision;
  readonly context: BenchContext;
}

export interface PairedModel {
  readonly title: string;
  readonly precision: Precision;
  readonly aloneTokensPerSecond: number;
  readonly togetherTokensPerSecond: number;
  readonly errors: number;
  /** Of vectors under load of both to those that it gave when it was idle and alone on the card. */
  readonly smallestCosine: number;
}

export interface PairResult {
  readonly models: readonly PairedModel[];
  readonly busyShare: number;
  /** Of both, at most. */
  readonly memoryMb: number;
}

interface Running {
  readonly title: string;
  readonly precision: Precision;
  readonly process: RunningPeer;
  readonly references: readonly Reference[];
}

const CELL = { corpus: 'A', concurrency: 64 } as const;

async function vectorsOf(process: RunningPeer, texts: readonly string[]): Promise<Reference[]> {
  const vectors = (await process.embed?.(texts)) ?? [];
  return texts.map((text, index) => ({ text, vector: Float32Array.from(vectors[index] ?? []) }));
}

export interface PairOptions {
  readonly device: 'cpu' | 'gpu';
  readonly timing: Timing;
  readonly card: Pick<Card, 'memoryMb' | 'watch'>;
  readonly logFile: (title: string) => string;
}

export async function measurePair(placed: readonly Placed[], options: PairOptions): Promise<PairResult> {
  const { device, timing, card, logFile } = options;
  const window = { cell: CELL, round: 0, timing };
  const idleMb = await card.memoryMb();
  const running: Running[] = [];
  try {
    const alone: number[] = [];
    for (const { title, precision, context } of placed) {
      const process = await kubembed(device, precision).start(context, logFile(title));
      running.push({
        title,
        precision,
        process,
        references: await vectorsOf(process, textsToCompare(context.corpora)),
      });
      alone.push((await process.measure(window)).tokensPerSecond);
    }
    const stop = card.watch();
    const loaded = Promise.all(running.map(({ process }) => process.measure(window)));
    const compared = await Promise.all(
      running.map(({ process, references }) => smallestCosine((texts) => process.embed!(texts), references)),
    );
    const found = await loaded;
    const { busyShare, memoryMb } = stop();
    const models = running.map(({ title, precision }, index) => ({
      title,
      precision,
      aloneTokensPerSecond: alone[index] ?? NaN,
      togetherTokensPerSecond: found[index]?.tokensPerSecond ?? NaN,
      errors: found[index]?.errors ?? 0,
      smallestCosine: compared[index] ?? NaN,
    }));
    return { models, busyShare, memoryMb: memoryMb - idleMb };
  } finally {
    await Promise.all(running.map(({ process }) => process.stop()));
  }
}
