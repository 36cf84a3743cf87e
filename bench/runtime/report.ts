// Results → Markdown. Pure.
import { cellName } from './cells.ts';
import type { Cell } from './cells.ts';
import { median, samplesOf, spreadOf } from './statistics.ts';
import type { Sample } from './statistics.ts';
import { cellVerdicts, processVerdicts } from './verdicts.ts';
import type { Results } from './verdicts.ts';

export interface Report extends Results {
  readonly peers: readonly { readonly name: string; readonly title: string }[];
  readonly notRun: readonly { readonly name: string; readonly reason: string }[];
  /** Lines on the machine and the versions. */
  readonly circumstances: readonly string[];
}

type Row = readonly string[];

const table = (head: Row, rows: readonly Row[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

const whole = (value: number): string => Math.round(value).toLocaleString('en-US');
const met = (value: boolean): string => (value ? 'met' : '**missed**');

function spread(samples: readonly Sample[], read: (sample: Sample) => number): string {
  if (samples.length === 0) return '–';
  const values = spreadOf(samples.map(read));
  return samples.length === 1
    ? whole(values.median)
    : `${whole(values.median)} (${whole(values.min)}–${whole(values.max)})`;
}

/** Three significant digits, as far as milliseconds deserve them. */
const milliseconds = (value: number): string => (value < 100 ? value.toPrecision(2) : whole(value));

function latency(samples: readonly Sample[]): string {
  const read = (pick: (sample: Sample) => number | undefined): number =>
    median(samples.map(pick).filter((value) => value !== undefined));
  const p50 = read(({ p50Ms }) => p50Ms);
  return Number.isNaN(p50) ? '–' : `${milliseconds(p50)} / ${milliseconds(read(({ p99Ms }) => p99Ms))}`;
}

function targets(report: Report): string[] {
  const rows = cellVerdicts(report).map(({ cell, share, shareMet, cpu, cpuMet }) => [
    cellName(cell),
    share.toFixed(2),
    `≥ ${cell.target.toFixed(2)}`,
    cell.tei?.toFixed(2) ?? '–',
    met(shareMet),
    `${cpu.toFixed(2)} ×`,
    cpuMet === undefined ? '–' : met(cpuMet),
  ]);
  const others = processVerdicts(report).map(({ what, measured, target, met: reached }) => [
    what,
    measured,
    target,
    met(reached),
  ]);
  const head = ['cell', 'of the limit', 'target', 'TEI, earlier', 'verdict', 'CPU against the limit', 'at most 1.15 ×'];
  return [
    '### Targets',
    ...(rows.length > 0 ? [table(head, rows)] : ['Not computed: that takes kubembed and the limit line in one run.']),
    ...(others.length > 0 ? [table(['what', 'measured', 'target', 'verdict'], others)] : []),
  ];
}

function byCell(report: Report, title: string, show: (samples: readonly Sample[], cell: Cell) => string): string[] {
  const { peers, cells, samples } = report;
  const rows = cells.map((cell) => [
    cellName(cell),
    ...peers.map(({ name }) => show(samplesOf(samples, cellName(cell), name), cell)),
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
    const own = samples.filter((sample) => sample.cell === cellName(cell));
    const foreign = spreadOf(own.map(({ foreignCores }) => foreignCores));
    const client = spreadOf(own.map(({ clientCores }) => clientCores));
    const roundTrip = spreadOf(own.map(({ roundTripNs }) => roundTripNs));
    const failed = peers.flatMap(({ name }) => {
      const errors = samplesOf(own, cellName(cell), name).reduce((sum, sample) => sum + sample.errors, 0);
      return errors === 0 ? [] : [`${name} ${errors}`];
    });
    return [
      cellName(cell),
      `${foreign.median.toFixed(2)} / ${foreign.max.toFixed(2)}`,
      `${client.median.toFixed(2)} / ${client.max.toFixed(2)}`,
      `${whole(roundTrip.median)} / ${whole(roundTrip.max)}`,
      failed.join(', ') || '0',
    ];
  });
  const head = [
    'cell',
    'foreign load, cores (median / max)',
    'load generator, cores (median / max)',
    'between cores and back, ns (median / max)',
    'failed requests',
  ];
  return ['### Disturbances', table(head, rows)];
}

export function renderReport(report: Report): string {
  const { circumstances, notRun } = report;
  return [
    circumstances.map((line) => `- ${line}`).join('\n'),
    ...targets(report),
    ...byCell(report, 'Tokens per second', (samples) => spread(samples, ({ tokensPerSecond }) => tokensPerSecond)),
    ...byCell(report, 'CPU seconds per million tokens', (samples) =>
      spread(samples, ({ cpuPerMillion }) => cpuPerMillion),
    ),
    ...byCell(report, 'Latency p50 / p99, ms', latency),
    ...processes(report),
    ...disturbances(report),
    ...(notRun.length === 0
      ? []
      : ['### Not run', notRun.map(({ name, reason }) => `- ${name}: ${reason}`).join('\n')]),
  ].join('\n\n');
}
