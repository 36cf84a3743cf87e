// What is measured, cell by cell, and what kubembed must reach in each.
import type { CorpusName } from './corpora.ts';

export interface Cell {
  readonly corpus: CorpusName;
  readonly concurrency: number;
}

export interface JudgedCell extends Cell {
  /** Least share of the limit line. */
  readonly target: number;
  /** What text-embeddings-inference 1.9.3 with ONNX Runtime reached of the limit on such a machine, in an earlier run. */
  readonly tei?: number;
}

export const CELLS: readonly JudgedCell[] = [
  { corpus: 'A', concurrency: 1, target: 0.52, tei: 0.5 },
  { corpus: 'A', concurrency: 8, target: 0.86, tei: 0.56 },
  { corpus: 'A', concurrency: 64, target: 0.92, tei: 0.68 },
  { corpus: 'B', concurrency: 1, target: 0.91, tei: 0.92 },
  { corpus: 'B', concurrency: 8, target: 0.94, tei: 0.92 },
  { corpus: 'B', concurrency: 64, target: 0.94, tei: 0.87 },
  { corpus: 'C', concurrency: 1, target: 0.75, tei: 0.73 },
  { corpus: 'C', concurrency: 8, target: 0.86, tei: 0.48 },
  { corpus: 'C', concurrency: 64, target: 0.92, tei: 0.4 },
  { corpus: 'C32', concurrency: 1, target: 0.9, tei: 0.41 },
  { corpus: 'C32', concurrency: 8, target: 0.92, tei: 0.48 },
  { corpus: 'C32', concurrency: 64, target: 0.92 },
  { corpus: 'D', concurrency: 1, target: 0.92, tei: 0.38 },
];

export const QUICK_CELLS: readonly string[] = ['A:8', 'B:8', 'C:1', 'C:8', 'C:64'];

export const cellName = ({ corpus, concurrency }: Cell): string => `${corpus}:${concurrency}`;

/** CPU seconds per token against the limit's, where requests compete. */
export const CPU_TARGET = { atMost: 1.15, fromConcurrency: 8 } as const;
export const MAX_PEAK_RSS_MB = 320;
/** Start: this many times the bare session's load, and so many seconds on top. */
export const START_TARGET = { loads: 1.5, seconds: 0.5 } as const;
export const INT8_TARGETS = { avx2: 1.4, vnni: 2.5 } as const;
