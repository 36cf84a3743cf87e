// What a long text takes of the card's memory: a process of its own that has seen no other, and the arithmetic of what scores of all pairs would take.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Card } from '../card.ts';
import type { BenchContext } from '../runtime/peer.ts';
import { kubembed } from './peers.ts';
import type { Precision } from './names.ts';
import type { GpuModel } from './models.ts';

export interface LongUse {
  readonly precision: Precision;
  readonly tokens: number;
  /** By which the card's memory grew. */
  readonly memoryMb: number;
  /** Of one layer, once. */
  readonly scoresMb: number;
}

const BYTES: Readonly<Record<Precision, number>> = { float16: 2, float32: 4 };

/** Of all pairs of tokens of one text, for each head. As nvidia-smi counts. */
export const scoresMb = (heads: number, tokens: number, precision: Precision): number =>
  (heads * tokens ** 2 * BYTES[precision]) / 2 ** 20;

/** Each worker computes one, or one more. */
const TEXTS = 4;
/** Of what a run took nothing is given back, so a reading behind it sees all. */
const READING_MS = 300;

export interface LongOptions {
  readonly device: 'cpu' | 'gpu';
  readonly precision: Precision;
  readonly card: Pick<Card, 'memoryMb' | 'watch'>;
  readonly logFile: string;
}

export async function measureLong(
  { heads, longTokens }: Pick<GpuModel, 'heads' | 'longTokens'>,
  context: BenchContext,
  { device, precision, card, logFile }: LongOptions,
): Promise<LongUse> {
  const running = await kubembed(device, precision).start(context, logFile);
  try {
    const beforeMb = await card.memoryMb();
    const stop = card.watch();
    for (const { text } of context.corpora.L.texts.slice(0, TEXTS)) await running.embed?.([text]);
    await sleep(READING_MS);
    const memoryMb = Math.max(0, stop().memoryMb - beforeMb);
    return { precision, tokens: longTokens, memoryMb, scoresMb: scoresMb(heads, longTokens, precision) };
  } finally {
    await running.stop();
  }
}
