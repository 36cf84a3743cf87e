// Samples of the bulk bench → Markdown. Pure.
import { table } from '../../tools/docs/markdown.ts';
import { list, met, whole } from '../report.ts';
import { median, pairedRatio, samplesOf } from '../statistics.ts';
import type { Measured } from '../statistics.ts';

export type Side = 'bench' | 'bulk';

/** One window of the bench, or one whole job; its cell is the kind of text. */
export interface BulkSample extends Measured {
  readonly peer: Side;
  readonly tokensPerSecond: number;
  /** Seconds for a million tokens: of the runtime, and of whoever asks it. */
  readonly serverCpu: number;
  readonly clientCpu: number;
  readonly foreignCores: number;
}

export interface BulkReport {
  readonly samples: readonly BulkSample[];
  readonly kinds: readonly { readonly name: string; readonly rows: number }[];
  readonly circumstances: readonly string[];
}

const TARGET = 0.9;

function rowOf({ samples }: BulkReport, { name, rows }: BulkReport['kinds'][number]): string[] {
  const of = (side: Side, read: (sample: BulkSample) => number): number =>
    median(samplesOf(samples, name, side).map(read));
  const pair = { cell: name, of: 'bulk', to: 'bench' };
  const ratio = pairedRatio(samples, pair, (sample) => sample.tokensPerSecond);
  const cpuShare = 1 / pairedRatio(samples, pair, ({ serverCpu, clientCpu }) => serverCpu + clientCpu);
  return [
    name,
    whole(rows),
    whole(of('bench', (sample) => sample.tokensPerSecond)),
    whole(of('bulk', (sample) => sample.tokensPerSecond)),
    ratio.toFixed(2),
    met(ratio >= TARGET),
    cpuShare.toFixed(2),
    whole(of('bench', (sample) => sample.serverCpu)),
    whole(of('bulk', (sample) => sample.serverCpu)),
    of('bulk', (sample) => sample.clientCpu).toFixed(1),
    Math.max(...samples.filter(({ cell }) => cell === name).map(({ foreignCores }) => foreignCores)).toFixed(2),
  ];
}

export function renderBulk(report: BulkReport): string {
  const head = [
    'texts',
    'rows of the job',
    'bench, tokens/s',
    'job, tokens/s',
    'job ÷ bench',
    `≥ ${TARGET.toFixed(2)}`,
    'the same by CPU time of both sides',
    'runtime, CPU s per million tokens: bench',
    'runtime: job',
    'command: job',
    'other load, cores at most',
  ];
  return [
    list(report.circumstances),
    table(
      head,
      report.kinds.map((kind) => rowOf(report, kind)),
    ),
  ].join('\n\n');
}
