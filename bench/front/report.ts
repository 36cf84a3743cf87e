// Results of the front bench → Markdown. Pure.
import { table } from '../../tools/docs/markdown.ts';
import { list, times, whole } from '../report.ts';
import { median } from '../statistics.ts';

/** One window of one target. */
export interface FrontWindow {
  readonly fronts: number;
  readonly perSecond: number;
  /** CPU time of a request: of all threads, of the one that has most, and of the main one. */
  readonly serverMicroseconds: number;
  readonly busiestMicroseconds: number;
  readonly mainMicroseconds: number;
  /** That the load generator took. */
  readonly clientCores: number;
}

type Measure = Exclude<keyof FrontWindow, 'fronts'>;

const medianOf = (windows: readonly FrontWindow[], measure: Measure): number =>
  median(windows.map(({ [measure]: value }) => value));

/** Requests a second that a thread allows which has a core for itself. */
const perCore = (microseconds: number): number => 1e6 / microseconds;

export function renderFront(windows: readonly FrontWindow[], circumstances: readonly string[]): string {
  const byFronts = Map.groupBy(windows, ({ fronts }) => fronts);
  const [first = []] = byFronts.values();
  const rounds = first.length;
  const ratios = (own: readonly FrontWindow[], measure: Measure): number[] =>
    own.map(({ [measure]: value }, round) => value / (first[round]?.[measure] ?? Number.NaN));
  const rows = [...byFronts].map(([fronts, own]) => {
    const gain = (gains: readonly number[]): string => {
      const spread = ` (${times(Math.min(...gains))} to ${times(Math.max(...gains))})`;
      return `${times(median(gains))}${fronts === first[0]?.fronts ? '' : spread}`;
    };
    const allowed = ratios(own, 'busiestMicroseconds').map((more) => 1 / more);
    return [
      String(fronts),
      whole(medianOf(own, 'perSecond')),
      gain(ratios(own, 'perSecond')),
      medianOf(own, 'serverMicroseconds').toFixed(0),
      medianOf(own, 'mainMicroseconds').toFixed(0),
      medianOf(own, 'busiestMicroseconds').toFixed(0),
      whole(perCore(medianOf(own, 'busiestMicroseconds'))),
      gain(allowed),
      medianOf(own, 'clientCores').toFixed(2),
    ];
  });
  const head = [
    'front threads',
    'requests/s',
    'against the first',
    'CPU µs a request',
    'of the main thread',
    'of the busiest thread',
    'requests/s with a core for each thread',
    'against the first',
    'cores of the load generator',
  ];
  return [list([...circumstances, `${rounds} rounds, medians`]), table(head, rows)].join('\n\n');
}
