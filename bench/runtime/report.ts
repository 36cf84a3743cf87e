// Samples → which targets were met → Markdown. Pure.
import { table } from '../../tools/docs/markdown.ts';
import { list, met, times, whole } from '../report.ts';
import { median, pairedRatio, pairedRatios, samplesOf, spreadOf } from '../statistics.ts';
import { CPU_TARGET, INT8_TARGETS, MAX_PEAK_RSS_MB, START_TARGET, cellName } from './cells.ts';
import type { JudgedCell } from './cells.ts';
import type { Sample } from './peer.ts';
import type { SessionResults } from './session.ts';

export interface Results extends Omit<SessionResults, 'failed'> {
  readonly cells: readonly JudgedCell[];
  readonly hasVnni: boolean;
}

export interface Report extends Results {
  readonly peers: readonly { readonly name: string; readonly title: string }[];
  /** Names of other checkouts of kubembed among the peers. */
  readonly checkouts: readonly string[];
  readonly notRun: readonly { readonly name: string; readonly reason: string }[];
  /** Lines on the machine and the versions. */
  readonly circumstances: readonly string[];
}

const tokensPerSecond = (sample: Sample): number => sample.tokensPerSecond;
const cpuPerMillion = (sample: Sample): number => sample.cpuPerMillion;

// Targets.

export interface CellVerdict {
  readonly cell: JudgedCell;
  /** Of the limit line's tokens per second, in the same rounds. */
  readonly share: number;
  /** The least and the most of all rounds. */
  readonly shares: { readonly min: number; readonly max: number };
  readonly shareMet: boolean;
  /** CPU time per token against the limit line's. */
  readonly cpu: number;
  /** Undefined where CPU time is not asked about. */
  readonly cpuMet: boolean | undefined;
}

export function cellVerdicts({ cells, samples }: Results): CellVerdict[] {
  return cells.flatMap((cell) => {
    const pair = { cell: cellName(cell), of: 'kubembed', to: 'limit' };
    const shares = spreadOf(pairedRatios(samples, pair, tokensPerSecond));
    const share = shares.median;
    if (Number.isNaN(share)) return [];
    const cpu = pairedRatio(samples, pair, cpuPerMillion);
    const cpuMet = cell.concurrency < CPU_TARGET.fromConcurrency ? undefined : cpu <= CPU_TARGET.atMost;
    return [{ cell, share, shares, shareMet: share >= cell.target, cpu, cpuMet }];
  });
}

export interface Verdict {
  readonly what: string;
  readonly measured: string;
  readonly target: string;
  readonly met: boolean;
}

function below(what: string, value: number | undefined, limit: number, unit: string): Verdict[] {
  if (value === undefined) return [];
  const show = (number: number): string => `${number.toFixed(limit < 10 ? 2 : 0)} ${unit}`;
  return [{ what, measured: show(value), target: `≤ ${show(limit)}`, met: value <= limit }];
}

function startVerdict({ startUps }: Results): Verdict[] {
  const loads = startUps['limit']?.flatMap(({ sessionLoadSeconds }) => sessionLoadSeconds ?? []) ?? [];
  const ready = startUps['kubembed']?.map(({ readySeconds }) => readySeconds) ?? [];
  if (loads.length === 0 || ready.length === 0) return [];
  const limit = START_TARGET.loads * median(loads) + START_TARGET.seconds;
  return below('process to ready', median(ready), limit, 's');
}

function int8Verdicts({ cells, samples, hasVnni }: Results): Verdict[] {
  const target = hasVnni ? INT8_TARGETS.vnni : INT8_TARGETS.avx2;
  return cells.flatMap((cell) => {
    const pair = { cell: cellName(cell), of: 'kubembed-int8', to: 'kubembed' };
    const ratio = pairedRatio(samples, pair, tokensPerSecond);
    if (Number.isNaN(ratio)) return [];
    const what = `int8 against float32, ${pair.cell}`;
    return [{ what, measured: times(ratio), target: `≥ ${target} ×`, met: ratio >= target }];
  });
}

export function processVerdicts(results: Results): Verdict[] {
  return [
    ...below('peak RSS over all cells', results.peakRssMb['kubembed'], MAX_PEAK_RSS_MB, 'MB'),
    ...startVerdict(results),
    ...int8Verdicts(results),
  ];
}

function targets(report: Report): string[] {
  const rows = cellVerdicts(report).map(({ cell, share, shares, shareMet, cpu, cpuMet }) => [
    cellName(cell),
    share.toFixed(2),
    `${shares.min.toFixed(2)}–${shares.max.toFixed(2)}`,
    `≥ ${cell.target.toFixed(2)}`,
    cell.tei?.toFixed(2) ?? '–',
    met(shareMet),
    times(cpu),
    cpuMet === undefined ? '–' : met(cpuMet),
  ]);
  const others = processVerdicts(report).map((one) => [one.what, one.measured, one.target, met(one.met)]);
  const cpu = ['CPU against the limit', 'at most 1.15 ×'];
  const head = ['cell', 'of the limit', 'rounds', 'target', 'TEI, earlier', 'verdict', ...cpu];
  return [
    '### Targets',
    ...(rows.length > 0 ? [table(head, rows)] : ['Not computed: that takes kubembed and the limit line in one run.']),
    ...(others.length > 0 ? [table(['what', 'measured', 'target', 'verdict'], others)] : []),
  ];
}

// Tables.

/** kubembed's numbers as shares of another checkout's, in the same rounds. */
function against(checkout: string, { cells, samples, peakRssMb, startUps }: Report): string[] {
  const rows = cells.map((cell) => {
    const pair = { cell: cellName(cell), of: 'kubembed', to: checkout };
    const reads = [tokensPerSecond, cpuPerMillion, ({ p50Ms }: Sample) => p50Ms, ({ p99Ms }: Sample) => p99Ms];
    return [pair.cell, ...reads.map((read) => times(pairedRatio(samples, pair, read)))];
  });
  const ratio = (read: (name: string) => number): string => times(read('kubembed') / read(checkout));
  const ready = (name: string): number => median((startUps[name] ?? []).map(({ readySeconds }) => readySeconds));
  const peak = ratio((name) => peakRssMb[name] ?? Number.NaN);
  return [
    `### Against ${checkout}`,
    table(['cell', 'tokens per second', 'CPU per token', 'p50', 'p99'], rows),
    `Peak RSS ${peak}, start to ready ${ratio(ready)}.`,
  ];
}

function spread(samples: readonly Sample[], read: (sample: Sample) => number): string {
  if (samples.length === 0) return '–';
  const values = spreadOf(samples.map(read));
  return samples.length === 1
    ? whole(values.median)
    : `${whole(values.median)} (${whole(values.min)}–${whole(values.max)})`;
}

/** Two significant digits, as far as milliseconds deserve them. */
const milliseconds = (value: number): string => (value < 100 ? value.toPrecision(2) : whole(value));

function latency(samples: readonly Sample[]): string {
  const read = (pick: (sample: Sample) => number | undefined): number =>
    median(samples.map(pick).filter((value) => value !== undefined));
  const p50 = read(({ p50Ms }) => p50Ms);
  return Number.isNaN(p50) ? '–' : `${milliseconds(p50)} / ${milliseconds(read(({ p99Ms }) => p99Ms))}`;
}

function byCell(report: Report, title: string, show: (samples: readonly Sample[]) => string): string[] {
  const { peers, cells, samples } = report;
  const rows = cells.map((cell) => [
    cellName(cell),
    ...peers.map(({ name }) => show(samplesOf(samples, cellName(cell), name))),
  ]);
  return [`### ${title}`, table(['cell', ...peers.map((peer) => peer.title)], rows)];
}

function processes({ peers, startUps, peakRssMb, smallestCosine }: Report): string[] {
  const rows = peers.map(({ name, title }) => {
    const starts = startUps[name] ?? [];
    return [
      title,
      median(starts.map(({ readySeconds }) => readySeconds)).toFixed(2),
      median(starts.map(({ readyCpuSeconds }) => readyCpuSeconds)).toFixed(2),
      whole(peakRssMb[name] ?? Number.NaN),
      smallestCosine[name]?.toFixed(6) ?? '–',
    ];
  });
  const head = ['', 'start to ready, s', 'CPU until ready, s', 'peak RSS, MB', 'smallest cosine to the reference'];
  return ['### Start, memory, vectors', table(head, rows)];
}

function disturbances({ cells, samples, peers }: Report): string[] {
  const rows = cells.map((cell) => {
    const measured = samples.filter((sample) => sample.cell === cellName(cell));
    const cores = [({ foreignCores }: Sample) => foreignCores, ({ clientCores }: Sample) => clientCores].map((read) => {
      const { median: middle, max } = spreadOf(measured.map(read));
      return `${middle.toFixed(2)} / ${max.toFixed(2)}`;
    });
    const failed = peers.flatMap(({ name }) => {
      const errors = samplesOf(measured, cellName(cell), name).reduce((sum, sample) => sum + sample.errors, 0);
      return errors === 0 ? [] : [`${name} ${errors}`];
    });
    return [cellName(cell), ...cores, failed.join(', ') || '0'];
  });
  const cores = ['foreign load', 'load generator'].map((what) => `${what}, cores (median / max)`);
  return ['### Disturbances', table(['cell', ...cores, 'failed requests'], rows)];
}

export function renderReport(report: Report): string {
  const { circumstances, notRun, checkouts } = report;
  return [
    list(circumstances),
    ...targets(report),
    ...checkouts.flatMap((checkout) => against(checkout, report)),
    ...byCell(report, 'Tokens per second', (samples) => spread(samples, tokensPerSecond)),
    ...byCell(report, 'CPU seconds per million tokens', (samples) => spread(samples, cpuPerMillion)),
    ...byCell(report, 'Latency p50 / p99, ms', latency),
    ...processes(report),
    ...disturbances(report),
    ...(notRun.length === 0 ? [] : ['### Not run', list(notRun.map(({ name, reason }) => `${name}: ${reason}`))]),
  ].join('\n\n');
}
