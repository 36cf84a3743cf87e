// What a long text takes of the card's memory, and by which kernel: a process of its own that has seen no other, and the arithmetic of what scores of all pairs would take.
import { readFile, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Card } from '../card.ts';
import type { BenchContext } from '../runtime/peer.ts';
import { kubembed } from './peers.ts';
import type { Precision } from './names.ts';
import type { GpuModel } from './models.ts';

export interface LongUse {
  readonly precision: Precision;
  readonly tokens: number;
  /** Of attention, as ONNX Runtime names them; none where it does not say. */
  readonly kernels: readonly string[];
  /** By which the card's memory grew. */
  readonly memoryMb: number;
  /** Of one layer, once. */
  readonly scoresMb: number;
}

const BYTES: Readonly<Record<Precision, number>> = { float16: 2, float32: 4 };

/** Of all pairs of tokens of one text, for each head. As nvidia-smi counts. */
export const scoresMb = (heads: number, tokens: number, precision: Precision): number =>
  (heads * tokens ** 2 * BYTES[precision]) / 2 ** 20;

/** That which holds them; the others go by pieces. */
export const HOLDING_KERNEL = 'MATH';

/** For each operator of each run ONNX Runtime prints a line about the kernel that it takes. */
const SAYING_KERNELS = { ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO: '1' } as const;

/** @param text of those lines, and others */
export const kernelsIn = (text: string): readonly string[] => [
  ...new Set([...text.matchAll(/\bSdpaKernel=(\w+)/g)].map(([, kernel = '']) => kernel)),
];

/** Each worker computes one, or one more. */
const TEXTS = 4;
/** Of what a run took nothing is given back, so a reading behind it sees all; and the log is written. */
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
  const running = await kubembed(device, precision, SAYING_KERNELS).start(context, logFile);
  try {
    const said = (await stat(logFile)).size;
    const beforeMb = await card.memoryMb();
    const stop = card.watch();
    for (const { text } of context.corpora.L.texts.slice(0, TEXTS)) await running.embed?.([text]);
    await sleep(READING_MS);
    const memoryMb = Math.max(0, stop().memoryMb - beforeMb);
    const kernels = kernelsIn((await readFile(logFile)).toString('utf8', said));
    return { precision, tokens: longTokens, kernels, memoryMb, scoresMb: scoresMb(heads, longTokens, precision) };
  } finally {
    await running.stop();
  }
}
