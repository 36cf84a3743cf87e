// What the GPU bench found → goals and tables in Markdown, model by model. Pure.
import { table } from '../../tools/docs/markdown.ts';
import { list, met, times, whole } from '../report.ts';
import { cellName } from '../runtime/cells.ts';
import type { Cell } from '../runtime/cells.ts';
import type { Sample } from '../runtime/peer.ts';
import { median, pairedRatio, samplesOf } from '../statistics.ts';
import { HOLDING_KERNEL } from './long.ts';
import type { LongUse } from './long.ts';
import type { PairResult } from './pair.ts';
import { ownName } from './peers.ts';
import type { Precision } from './names.ts';

export interface ModelReport {
  readonly title: string;
  readonly cells: readonly Cell[];
  /** Of kubembed, the first is judged. */
  readonly precisions: readonly Precision[];
  readonly peers: readonly { readonly name: string; readonly title: string }[];
  readonly samples: readonly Sample[];
  /** To sentence-transformers in float32, by the name of the peer. */
  readonly cosines: Readonly<Record<string, number>>;
  readonly long: readonly LongUse[];
  readonly notRun: readonly { readonly name: string; readonly reason: string }[];
  readonly circumstances: readonly string[];
}

export const GOALS = { busyShare: 0.6, busyClients: 64, cosine: { float16: 0.999, float32: 0.999_99 } } as const;

interface Goal {
  readonly what: string;
  readonly measured: string;
  readonly goal: string;
  /** In words where it could not be told. */
  readonly verdict: boolean | string;
}

const percent = (share: number): string => (Number.isNaN(share) ? '–' : `${Math.round(share * 100)} %`);
const medianOf = (samples: readonly Sample[], read: (sample: Sample) => number | undefined): number =>
  median(samples.map((sample) => read(sample) ?? NaN));

function busyGoals({ cells, samples, precisions: [precision = 'float32'] }: ModelReport): Goal[] {
  const crowded = cells.filter(({ concurrency }) => concurrency === GOALS.busyClients);
  return crowded.map((cell) => {
    const share = medianOf(samplesOf(samples, cellName(cell), ownName(precision)), ({ card }) => card?.busyShare);
    return {
      what: `card busy, ${cellName(cell)}, ${precision}`,
      measured: percent(share),
      goal: `≥ ${percent(GOALS.busyShare)}`,
      verdict: Number.isNaN(share) ? 'the card does not tell' : share >= GOALS.busyShare,
    };
  });
}

/** By the kernel; where that is not told, by memory, of which the allocator may take more than there is need for. */
function holdsNone({ kernels, memoryMb, scoresMb }: LongUse): boolean | string {
  if (kernels.length > 0) return !kernels.includes(HOLDING_KERNEL);
  return memoryMb < scoresMb || 'ONNX Runtime does not say';
}

const longGoals = ({ long }: ModelReport): Goal[] =>
  long.map((use) => ({
    what: `no scores of all pairs in the card's memory: a text of ${whole(use.tokens)} tokens, ${use.precision}`,
    measured: [...use.kernels, `${whole(use.memoryMb)} MiB more`].join(', '),
    goal: `no ${HOLDING_KERNEL}, which holds ${whole(use.scoresMb)} MiB two times`,
    verdict: holdsNone(use),
  }));

const cosineGoals = ({ cosines, precisions }: ModelReport): Goal[] =>
  precisions.map((precision) => {
    const cosine = cosines[ownName(precision)];
    const goal = GOALS.cosine[precision];
    return {
      what: `smallest cosine to sentence-transformers in float32, ${precision}`,
      measured: cosine === undefined ? '–' : cosine.toFixed(6),
      goal: `≥ ${goal}`,
      verdict: cosine === undefined ? 'not compared' : cosine >= goal,
    };
  });

export const goalsOf = (report: ModelReport): Goal[] => [
  ...busyGoals(report),
  ...longGoals(report),
  ...cosineGoals(report),
];

const goalRows = (goals: readonly Goal[]): string[][] =>
  goals.map(({ what, measured, goal, verdict }) => [
    what,
    measured,
    goal,
    typeof verdict === 'string' ? verdict : met(verdict),
  ]);

const number = (value: number, digits = 0): string =>
  Number.isNaN(value) ? '–' : digits === 0 ? whole(value) : value.toFixed(digits);

const HEAD = [
  ...['cell', '', 'tokens/s', 'requests/s', 'p50, ms', 'p99, ms'],
  ...['card busy', 'card memory, MiB', 'CPU-s per million tokens', 'kubembed against it'],
];

function rowsOf({ cells, peers, samples, precisions: [precision = 'float32'] }: ModelReport): string[][] {
  const own = ownName(precision);
  return cells.flatMap((one) => {
    const cell = cellName(one);
    return peers.flatMap(({ name, title }) => {
      const found = samplesOf(samples, cell, name);
      if (found.length === 0) return [];
      const ratio = pairedRatio(samples, { cell, of: own, to: name }, (sample) => sample.tokensPerSecond);
      return [
        [
          ...[cell, title, whole(medianOf(found, ({ tokensPerSecond }) => tokensPerSecond))],
          number(
            medianOf(found, ({ requests = NaN, seconds }) => requests / seconds),
            1,
          ),
          number(
            medianOf(found, ({ p50Ms }) => p50Ms),
            1,
          ),
          number(
            medianOf(found, ({ p99Ms }) => p99Ms),
            1,
          ),
          percent(medianOf(found, ({ card }) => card?.busyShare)),
          number(Math.max(...found.map(({ card }) => card?.memoryMb ?? NaN))),
          number(
            medianOf(found, ({ cpuPerMillion }) => cpuPerMillion),
            1,
          ),
          name === own ? '' : times(ratio),
        ],
      ];
    });
  });
}

function cosineLine({ cosines, peers }: ModelReport): string[] {
  const told = peers.flatMap(({ name, title }) =>
    cosines[name] === undefined ? [] : [`${title} ${cosines[name].toFixed(6)}`],
  );
  return told.length === 0 ? [] : [`Smallest cosines to sentence-transformers in float32: ${told.join('; ')}.`];
}

export function renderModel(report: ModelReport): string {
  const failed = report.samples.reduce((sum, { errors }) => sum + errors, 0);
  const missing = report.notRun.map(({ name, reason }) => `${name}: ${reason}`);
  return [
    list(report.circumstances),
    table(['goal', 'measured', 'wanted', 'verdict'], goalRows(goalsOf(report))),
    table(HEAD, rowsOf(report)),
    ...cosineLine(report),
    `Failed requests: ${failed}.`,
    ...(missing.length === 0 ? [] : [`Left out: ${missing.join('; ')}.`]),
  ].join('\n\n');
}

/** Rounding of float16 hangs on which texts are in a run. */
const SAME = { float16: 0.9999, float32: 0.999_99 } as const;

export function renderPair({ models, busyShare, memoryMb }: PairResult, circumstances: readonly string[]): string {
  const rows = models.map((model) => [
    `${model.title}, ${model.precision}`,
    whole(model.aloneTokensPerSecond),
    whole(model.togetherTokensPerSecond),
    times(model.togetherTokensPerSecond / model.aloneTokensPerSecond),
    String(model.errors),
    `${model.smallestCosine.toFixed(7)} (≥ ${SAME[model.precision]}: ${met(model.smallestCosine >= SAME[model.precision])})`,
  ]);
  const head = [
    ...['', 'tokens/s alone', 'together', 'of alone', 'failed requests'],
    'smallest cosine to its vectors when idle',
  ];
  return [
    list(circumstances),
    table(head, rows),
    `Sentences, ${GOALS.busyClients} clients each. Card busy ${percent(busyShare)}; both took ${number(memoryMb)} MiB of its memory.`,
  ].join('\n\n');
}
