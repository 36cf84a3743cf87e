// Results → Markdown. Pure.
import { memoryMib } from '../../tools/chart/memory.ts';
import { table } from '../../tools/docs/markdown.ts';
import { list, met, whole } from '../report.ts';
import type { Row } from '../report.ts';
import { quantile } from '../statistics.ts';
import type { spreadOf } from '../statistics.ts';

export type ProcessName = 'operator' | 'router';

export type Use = Readonly<Record<'rssMb' | 'peakMb' | 'cpuSeconds', number>>;
type ByProcess<T> = Readonly<Record<ProcessName, T>>;

export interface Latencies {
  readonly what: string;
  /** From the apply to the first answer through the router, one for each model. */
  readonly ms: readonly number[];
}

export interface Start {
  readonly process: ProcessName;
  readonly readySeconds: number;
  /** Until all there is was looked at once; the operator's alone. */
  readonly reconciledSeconds?: number;
  readonly writes?: number;
}

export interface ScaleResults {
  readonly models: number;
  readonly endpoints: number;
  readonly bulkSeconds: number;
  readonly latencies: readonly Latencies[];
  /** Calls of the operator for one model of the bulk, by method. */
  readonly calls: Readonly<Record<string, number>>;
  readonly bulkCpuSeconds: ByProcess<number>;
  readonly use: ByProcess<Use>;
  readonly starts: readonly Start[];
  readonly idle: {
    readonly seconds: number;
    readonly calls: number;
    readonly cpuSeconds: Readonly<Record<ProcessName | 'small', number>>;
  };
  /** CPU of a router for one request, of one that knows of a few models and of the one that knows of all. */
  readonly requestUs: {
    readonly models: number;
    readonly fewUs: number;
    readonly allUs: number;
    /** Of the two in one round, all ÷ few. */
    readonly ratio: ReturnType<typeof spreadOf>;
  };
  readonly circumstances: readonly string[];
}

/** @param text a page in Prometheus' text format */
export function sumOf(text: string, name: string, labels: readonly string[]): number {
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
    .filter((line) => labels.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

const MAX_P99_MS = 2000;
const MAX_START_SECONDS = 20;
const MAX_CALLS = 3;
/** With ten thousand models and fifty thousand endpoints. */
export const MAX_MEMORY_MB: Readonly<Record<ProcessName, number>> = { operator: 700, router: 500 };

const latencyRow = ({ what, ms }: Latencies): Row => {
  const [p50, p99, most] = [0.5, 0.99, 1].map((share) => quantile(ms, share)) as [number, number, number];
  return [what, whole(ms.length), whole(p50), whole(p99), whole(most), met(p99 < MAX_P99_MS)];
};

function startRow({ process, readySeconds, reconciledSeconds, writes }: Start): Row {
  const looked = reconciledSeconds?.toFixed(1) ?? '–';
  const isMet = (reconciledSeconds ?? readySeconds) <= MAX_START_SECONDS;
  return [process, readySeconds.toFixed(1), looked, writes === undefined ? '–' : whole(writes), met(isMet)];
}

/** Rounds differ by some per cent on a machine that does other things as well. */
const MAX_RATIO = 1.05;

const requestLine = ({ models, fewUs, allUs, ratio }: ScaleResults['requestUs']): string =>
  `CPU of a router for a request, asked in turn: ${whole(fewUs)} µs for one that knows of ${whole(models)} models, ${whole(allUs)} µs for the one ` +
  `that knows of all; all ÷ few within a round ${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)}; ` +
  `at most ${MAX_RATIO}: ${met(ratio.median <= MAX_RATIO)}). What each uses without requests is taken off.`;

export function renderScale(results: ScaleResults): string {
  const { models, endpoints, bulkSeconds, calls, use, idle, bulkCpuSeconds, requestUs } = results;
  const callsText = Object.entries(calls)
    .map(([method, count]) => `${count.toFixed(1)} ${method}`)
    .join(', ');
  const allCalls = Object.values(calls).reduce((sum, count) => sum + count, 0);
  return [
    list(results.circumstances),
    '### From apply to routable',
    `With ${whole(models)} models and ${whole(endpoints)} endpoints there already, one more every half second, in ms:`,
    table(['applied', 'times', 'p50', 'p99', 'max', 'p99 < 2 s'], results.latencies.map(latencyRow)),
    `All ${whole(models)} at once: the last was routable after ${bulkSeconds.toFixed(0)} s, the time of the API server and of what stands in ` +
      `for kubelets included. The operator used ${bulkCpuSeconds.operator.toFixed(1)} s of CPU for it, the router ` +
      `${bulkCpuSeconds.router.toFixed(1)} s. API calls of the operator for each model: ${callsText}, ${allCalls.toFixed(1)} in all ` +
      `(at most ${MAX_CALLS}: ${met(allCalls <= MAX_CALLS)}).`,
    requestLine(requestUs),
    '### Memory and idle CPU',
    table(
      ['process', 'RSS, MB', 'peak RSS, MB', 'at most', 'by the formula of the chart, MiB', 'CPU while idle, ms/s'],
      (['operator', 'router'] as const).map((name) => [
        name,
        whole(use[name].rssMb),
        whole(use[name].peakMb),
        `${MAX_MEMORY_MB[name]}: ${met(use[name].peakMb <= MAX_MEMORY_MB[name])}`,
        whole(memoryMib(name, { models, replicas: endpoints })),
        ((1000 * idle.cpuSeconds[name]) / idle.seconds).toFixed(1),
      ]),
    ),
    `In ${whole(idle.seconds)} s without a change the operator made ${whole(idle.calls)} calls.`,
    '### Start with all of it there',
    table(
      ['process', 'start to ready, s', 'start to all looked at, s', 'writes', `≤ ${MAX_START_SECONDS} s`],
      results.starts.map(startRow),
    ),
  ].join('\n\n');
}
