// Samples of each family → what it reaches of bare sessions → Markdown. Pure.
import { table } from '../../tools/docs/markdown.ts';
import { list, met, times, whole } from '../report.ts';
import { cellName } from '../runtime/cells.ts';
import type { Cell } from '../runtime/cells.ts';
import type { Sample } from '../runtime/peer.ts';
import { median, pairedRatio, samplesOf, spreadOf } from '../statistics.ts';

export interface FamilyResult {
  /** What was measured, in words. */
  readonly shape: string;
  readonly samples: readonly Sample[];
  /** Of each peer, MB. */
  readonly peakRssMb: Readonly<Record<string, number>>;
}

export interface FamiliesReport {
  readonly results: readonly FamilyResult[];
  readonly cells: readonly Cell[];
  /** Names of other checkouts of kubembed among the peers. */
  readonly checkouts: readonly string[];
  readonly circumstances: readonly string[];
}

/** Of `PEERS`. */
export const OWN_PEERS: readonly string[] = ['limit', 'kubembed', 'bare'];

/** As above, for int8. */
export const INT8_PEERS: readonly string[] = ['kubembed', 'kubembed-int8'];

/** Of what bare sessions do with the same texts. */
export const MIN_SHARE = 0.85;

const tokensPerSecond = (sample: Sample): number => sample.tokensPerSecond;
const cpuPerMillion = (sample: Sample): number => sample.cpuPerMillion;

const share = (value: number): string => (Number.isNaN(value) ? '–' : value.toFixed(2));

interface Verdict {
  readonly cell: string;
  /** Of the tokens per second of bare sessions that are given as many texts as there are clients, in the same rounds. */
  readonly ofBare: number;
  readonly cpuToBare: number;
  /** Of those that are given as many as they can use. */
  readonly ofLimit: number;
}

export function familyVerdicts({ samples }: FamilyResult, cells: readonly Cell[]): Verdict[] {
  return cells.flatMap((one) => {
    const cell = cellName(one);
    const ofBare = pairedRatio(samples, { cell, of: 'kubembed', to: 'bare' }, tokensPerSecond);
    if (Number.isNaN(ofBare)) return [];
    const cpuToBare = pairedRatio(samples, { cell, of: 'kubembed', to: 'bare' }, cpuPerMillion);
    const ofLimit = pairedRatio(samples, { cell, of: 'kubembed', to: 'limit' }, tokensPerSecond);
    return [{ cell, ofBare, cpuToBare, ofLimit }];
  });
}

const HEAD = [
  ...['', 'cell', 'tokens per second', 'CPU-s per million tokens'],
  ...['of bare sessions', `≥ ${MIN_SHARE}`, 'CPU against theirs', 'of the limit line'],
];

function rowsOf(result: FamilyResult, cells: readonly Cell[]): string[][] {
  return familyVerdicts(result, cells).map(({ cell, ofBare, cpuToBare, ofLimit }) => {
    const own = samplesOf(result.samples, cell, 'kubembed');
    const [rate, cpu] = [tokensPerSecond, cpuPerMillion].map((read) => whole(median(own.map(read)))) as [
      string,
      string,
    ];
    return [result.shape, cell, rate, cpu, share(ofBare), met(ofBare >= MIN_SHARE), times(cpuToBare), share(ofLimit)];
  });
}

function against(checkout: string, { results, cells }: FamiliesReport): string[] {
  const rows = results.flatMap(({ shape, samples }) =>
    cells.map((one) => {
      const pair = { cell: cellName(one), of: 'kubembed', to: checkout };
      const reads = [tokensPerSecond, cpuPerMillion, ({ p50Ms }: Sample) => p50Ms];
      return [shape, pair.cell, ...reads.map((read) => times(pairedRatio(samples, pair, read)))];
    }),
  );
  return [`### Against ${checkout}`, table(['', 'cell', 'tokens per second', 'CPU per token', 'p50'], rows)];
}

function disturbance({ results }: FamiliesReport): string {
  const samples = results.flatMap((result) => result.samples);
  const { median: middle, max } = spreadOf(samples.map(({ foreignCores }) => foreignCores));
  const failed = samples.reduce((sum, { errors }) => sum + errors, 0);
  return `Foreign load: ${middle.toFixed(2)} cores in the middle, ${max.toFixed(2)} at most. Failed requests: ${failed}.`;
}

export function renderFamilies(report: FamiliesReport): string {
  const { results, cells, checkouts, circumstances } = report;
  return [
    list(circumstances),
    table(
      HEAD,
      results.flatMap((result) => rowsOf(result, cells)),
    ),
    disturbance(report),
    ...checkouts.flatMap((checkout) => against(checkout, report)),
  ].join('\n\n');
}

const INT8_HEAD = [
  ...['', 'cell', 'float32, tokens per second', 'int8', 'int8 against float32', 'goal'],
  ...['CPU per token', 'resident at most, MB: float32', 'int8'],
];

/** One client waits for one text after the other; several share the cores. */
const int8Goal = ({ concurrency }: Cell): number => (concurrency === 1 ? 1.5 : 2.5);

function int8Rows({ shape, samples, peakRssMb }: FamilyResult, cells: readonly Cell[]): string[][] {
  return cells.map((one) => {
    const pair = { cell: cellName(one), of: 'kubembed-int8', to: 'kubembed' };
    const rates = INT8_PEERS.map((peer) => whole(median(samplesOf(samples, pair.cell, peer).map(tokensPerSecond))));
    const ratio = pairedRatio(samples, pair, tokensPerSecond);
    const goal = int8Goal(one);
    const judged = [
      times(ratio),
      `≥ ${goal} ×: ${met(ratio >= goal)}`,
      times(pairedRatio(samples, pair, cpuPerMillion)),
    ];
    return [shape, pair.cell, ...rates, ...judged, ...INT8_PEERS.map((peer) => whole(peakRssMb[peer] ?? NaN))];
  });
}

export function renderInt8(report: FamiliesReport): string {
  const { results, cells, circumstances } = report;
  const rows = results.flatMap((result) => int8Rows(result, cells));
  return [list(circumstances), table(INT8_HEAD, rows), disturbance(report)].join('\n\n');
}
