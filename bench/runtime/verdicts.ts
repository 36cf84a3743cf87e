// Samples → which targets were met. Pure.
import { AWAKE_TARGET, CPU_TARGET, INT8_TARGETS, PEAK_RSS_TARGET_MB, START_TARGET, cellName } from './cells.ts';
import type { Cell } from './cells.ts';
import type { StartUp } from './peer.ts';
import { median, pairedRatio, samplesOf } from './statistics.ts';
import type { Sample } from './statistics.ts';

export interface Results {
  readonly cells: readonly Cell[];
  readonly samples: readonly Sample[];
  readonly startUps: Readonly<Record<string, readonly StartUp[]>>;
  readonly peakRssMb: Readonly<Record<string, number>>;
  /** Smallest cosine to sentence-transformers' vectors. */
  readonly smallestCosine: Readonly<Record<string, number>>;
  readonly hasVnni: boolean;
}

export interface CellVerdict {
  readonly cell: Cell;
  /** Of the limit line's tokens per second, in the same rounds. */
  readonly share: number;
  /** CPU time per token against the limit line's. */
  readonly cpu: number;
  /** Undefined where CPU time is not asked about. */
  readonly cpuMet?: boolean;
  readonly shareMet: boolean;
}

export function cellVerdicts({ cells, samples }: Results, peer = 'kubembed'): CellVerdict[] {
  return cells.flatMap((cell) => {
    const pair = { cell: cellName(cell), of: peer, to: 'limit' };
    const share = pairedRatio(samples, pair, ({ tokensPerSecond }) => tokensPerSecond);
    if (Number.isNaN(share)) return [];
    const cpu = pairedRatio(samples, pair, ({ cpuPerMillion }) => cpuPerMillion);
    const cpuMet = cell.concurrency < CPU_TARGET.fromConcurrency ? undefined : cpu <= CPU_TARGET.atMost;
    return [{ cell, share, cpu, shareMet: share >= cell.target, ...(cpuMet !== undefined && { cpuMet }) }];
  });
}

export interface Verdict {
  readonly what: string;
  readonly measured: string;
  readonly target: string;
  readonly met: boolean;
}

const worst = (values: readonly (number | undefined)[]): number | undefined => {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : Math.max(...known);
};

function below(what: string, value: number | undefined, limit: number, unit: string): Verdict[] {
  if (value === undefined) return [];
  const digits = limit < 10 ? 2 : 0;
  const show = (number: number): string => `${number.toFixed(digits)} ${unit}`;
  return [{ what, measured: show(value), target: `≤ ${show(limit)}`, met: value <= limit }];
}

function startVerdict({ startUps }: Results): Verdict[] {
  const loads = startUps['limit']?.flatMap(({ sessionLoadSeconds }) => sessionLoadSeconds ?? []) ?? [];
  const ready = startUps['kubembed']?.map(({ readySeconds }) => readySeconds) ?? [];
  if (loads.length === 0 || ready.length === 0) return [];
  const limit = START_TARGET.loads * median(loads) + START_TARGET.seconds;
  return below('process to ready', median(ready), limit, 's');
}

function int8Verdict({ cells, samples, hasVnni }: Results): Verdict[] {
  const target = hasVnni ? INT8_TARGETS.vnni : INT8_TARGETS.avx2;
  return cells.flatMap((cell) => {
    const pair = { cell: cellName(cell), of: 'kubembed-int8', to: 'kubembed' };
    const ratio = pairedRatio(samples, pair, ({ tokensPerSecond }) => tokensPerSecond);
    if (Number.isNaN(ratio)) return [];
    return [
      {
        what: `int8 against float32, ${pair.cell}`,
        measured: `${ratio.toFixed(2)} ×`,
        target: `≥ ${target} ×`,
        met: ratio >= target,
      },
    ];
  });
}

export function processVerdicts(results: Results): Verdict[] {
  const busy = results.cells
    .filter(({ concurrency }) => concurrency === AWAKE_TARGET.concurrency)
    .flatMap((cell) => samplesOf(results.samples, cellName(cell), 'kubembed'));
  return [
    ...below('peak RSS over all cells', results.peakRssMb['kubembed'], PEAK_RSS_TARGET_MB, 'MB'),
    ...startVerdict(results),
    ...below(
      '/healthz p99, 64 clients',
      worst(busy.map(({ healthP99Ms }) => healthP99Ms)),
      AWAKE_TARGET.healthMs,
      'ms',
    ),
    ...below(
      'event-loop delay p99, 64 clients',
      worst(busy.map(({ eventLoopP99Ms }) => eventLoopP99Ms)),
      AWAKE_TARGET.eventLoopMs,
      'ms',
    ),
    ...int8Verdict(results),
  ];
}
